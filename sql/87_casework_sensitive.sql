-- What is sensitive in the reference domain, and the views through which it is read (R41, R42): with the generic tools alone
-- (authz_classify, authz_mask, authz_create_safe_view, authz_create_audited_view, authz_define_export).

-- Called by authz_install_casework. A class that was given before is the database owner's, and stays.
CREATE FUNCTION casework.classify() RETURNS TABLE (step text, detail text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c record;
BEGIN
    step := 'classified';
    FOR c IN
        WITH class (target, column_name, class, mask, options) AS (VALUES
            ('case_record', 'title', 'confidential', 'fixed', '{"value": "(hidden)"}'),
            ('case_sensitive_detail', 'complainant_name', 'pii', 'partial', '{"first": 1}'),
            ('case_sensitive_detail', 'complainant_identifier', 'sensitive_pii', 'null', '{}'),
            ('case_sensitive_detail', 'restricted_notes', 'sensitive_pii', 'fixed', '{"value": "(hidden)"}'),
            ('case_document', 'storage_object_id', 'secret', 'null', '{}'),
            ('case_decision', 'outcome', 'confidential', 'fixed', '{"value": "(hidden)"}'),
            ('case_decision_transition', 'reason', 'confidential', 'fixed', '{"value": "(hidden)"}'),
            ('case_ownership_history', 'reason_code', 'confidential', 'fixed', '{"value": "(hidden)"}'))
        SELECT t.oid::regclass AS target, a.attname AS column_name, coalesce(k.class, 'internal') AS class, k.mask,
               k.options::jsonb AS options
        FROM pg_class AS t
        JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN class AS k ON k.target = t.relname AND k.column_name = a.attname
        WHERE t.relnamespace = 'casework'::regnamespace AND t.relkind = 'r'
          AND NOT EXISTS (SELECT FROM authz.data_classification AS d
                          WHERE d.target = t.oid AND d.attnum = a.attnum AND d.dropped_at IS NULL)
        ORDER BY t.relname, a.attnum
    LOOP
        PERFORM @extschema@.authz_classify(c.target, c.column_name::text, c.class, 'reference domain'::text, NULL::text);
        IF c.mask IS NOT NULL THEN
            PERFORM @extschema@.authz_mask(c.target, c.column_name::text, c.mask, c.options);
        END IF;
        detail := format('%s.%I: %s', c.target, c.column_name, c.class);
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION casework.classify() IS 'Classifies the columns of the reference domain that nobody has classified.';
REVOKE ALL ON FUNCTION casework.classify() FROM PUBLIC;

-- The views belong to a role of their own, since those who own the tables may be outside of row security.
CREATE FUNCTION authz_install_casework_views(prefix text DEFAULT 'authz_') RETURNS TABLE (step text, detail text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    owner  CONSTANT name := prefix || 'casework_views';
    former CONSTANT text := current_setting('role');
    given  record;
BEGIN
    IF to_regrole(quote_ident(prefix || 'runtime')) IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('role %I does not exist', coalesce(prefix, '') || 'runtime'),
            HINT = format('Call authz_install_roles(%L) first.', prefix);
    END IF;
    IF to_regrole(quote_ident(owner)) IS NULL THEN
        EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION', owner);
        EXECUTE format('COMMENT ON ROLE %I IS %L', owner, 'Owns the views of schema casework_views. Made by authz_install_casework_views.');
        step := 'role'; detail := owner; RETURN NEXT;
    ELSIF EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = owner AND (r.rolsuper OR r.rolbypassrls OR r.rolcanlogin)) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('role %I exists and cannot be used', owner),
            DETAIL = 'It is superuser, has BYPASSRLS, or can log in.',
            HINT = 'Take that from it, or choose another prefix.';
    END IF;
    IF to_regnamespace('casework_views') IS NULL THEN
        CREATE SCHEMA casework_views;
        COMMENT ON SCHEMA casework_views IS 'Safe and audited views of the reference domain.';
    ELSIF NOT EXISTS (SELECT FROM pg_namespace AS n JOIN pg_roles AS r ON r.oid = n.nspowner
                      WHERE n.nspname = 'casework_views' AND (r.rolsuper OR r.rolname = current_user)) THEN
        -- Who owns a schema can put another view in the place of one.
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = 'schema casework_views exists and belongs to somebody else',
            HINT = 'Drop it, or give it to a superuser (ALTER SCHEMA ... OWNER TO).';
    END IF;
    EXECUTE format('GRANT USAGE, CREATE ON SCHEMA casework_views TO %I', owner);
    EXECUTE format('GRANT USAGE ON SCHEMA @extschema@, authz, casework TO %I', owner);

    FOR given IN
        SELECT * FROM (VALUES
            ('case_overview', 'case_record',
             '{tenant_id,case_id,owning_org_id,owning_team_id,case_number,title,confidentiality_level,status,created_at,updated_at}'::text[]),
            ('sensitive_detail', 'case_sensitive_detail', NULL)) AS v (name, target, columns)
    LOOP
        detail := @extschema@.authz_create_safe_view(
            format('casework_views.%I', given.name), format('casework.%I', given.target)::regclass, 'internal'::text, false,
            given.columns, '{}'::jsonb, owner, true)::text;
        step := 'safe view'; RETURN NEXT;
    END LOOP;

    IF to_regclass('casework_views.case_report') IS NULL THEN
        EXECUTE format('GRANT SELECT (tenant_id, case_id, owning_org_id, owning_team_id, confidentiality_level, status, created_at)
                            ON casework.case_record TO %I', owner);
        -- An audited view is made by who will own it; the right to make one is lent.
        EXECUTE format('GRANT %I TO %I', prefix || 'migration', owner);
        EXECUTE format('SET LOCAL ROLE %I', owner);
        PERFORM @extschema@.authz_create_audited_view('casework_views.case_report'::text,
            'SELECT c.tenant_id, c.owning_org_id, c.owning_team_id, c.status, c.confidentiality_level,
                    date_trunc(''month'', c.created_at AT TIME ZONE ''UTC'')::date AS opened_in, count(*) AS cases
             FROM casework.case_record AS c GROUP BY 1, 2, 3, 4, 5, 6'::text, 'error'::text, false);
        EXECUTE format('SET LOCAL ROLE %s', CASE former WHEN 'none' THEN former ELSE quote_ident(former) END);
        EXECUTE format('REVOKE %I FROM %I', prefix || 'migration', owner);
        COMMENT ON VIEW casework_views.case_report IS 'Cases by team, status and month; each read leaves an access event.';
        step := 'audited view'; detail := 'casework_views.case_report'; RETURN NEXT;
    ELSIF NOT EXISTS (SELECT FROM authz.audited_view AS a WHERE a.target = 'casework_views.case_report'::regclass) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'duplicate_table',
            MESSAGE = 'casework_views.case_report exists, and is no audited view',
            HINT = 'Drop it, or give it another name.';
    END IF;
    PERFORM @extschema@.authz_define_export('case_list'::text, 'casework.case_record'::regclass,
        '{tenant_id,case_id,owning_org_id,owning_team_id,case_number,title,confidentiality_level,status,created_at,updated_at}'::name[],
        'case.view'::text, 'internal'::text, 1000000::bigint, 10, interval '1 hour', interval '24 hours', 'Cases'::text);
    PERFORM @extschema@.authz_define_export('case_details'::text, 'casework.case_sensitive_detail'::regclass,
        '{tenant_id,case_id,complainant_name,complainant_identifier,restricted_notes}'::name[],
        'sensitive_detail.view'::text, 'internal'::text, 100000::bigint, 10, interval '1 hour', interval '24 hours',
        'Details of cases'::text);
    step := 'exports'; detail := 'case_list, case_details'; RETURN NEXT;
    EXECUTE format('REVOKE CREATE ON SCHEMA casework_views FROM %I', owner);

    FOR given IN
        SELECT r.role, v.view FROM (VALUES
            ('runtime', '{sensitive_detail,case_report}'::text[]),
            ('readonly', '{case_report}'),
            ('analytics_export', '{case_report}'),
            ('support_tool', '{case_overview,sensitive_detail}'),
            ('break_glass', '{sensitive_detail}')) AS r (role, views), unnest(r.views) AS v (view)
    LOOP
        EXECUTE format('GRANT USAGE ON SCHEMA casework_views TO %I', prefix || given.role);
        EXECUTE format('GRANT SELECT ON casework_views.%I TO %I', given.view, prefix || given.role);
        step := 'granted'; detail := format('%s to %s', given.view, prefix || given.role); RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION authz_install_casework_views(text) IS
    'Makes schema casework_views with the safe views case_overview and sensitive_detail and the audited view case_report, owned by a role of their own, grants them to the roles of authz_install_roles, and defines the exports case_list and case_details. Idempotent; for a superuser, after authz_install_roles and authz_install_casework.';
REVOKE ALL ON FUNCTION authz_install_casework_views(text) FROM PUBLIC;
