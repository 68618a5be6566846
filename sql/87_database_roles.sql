-- Database roles with least privilege (R23). They cannot log in: the DBA grants them to the roles that do. None owns
-- anything, none is outside of row security; what they may read is still decided row by row, by the session. Only runtime
-- and worker, which act for many, may say who the session is; the others come with a token (authz_set_session_token).

-- What each role may do, beyond what PUBLIC may. Columns: NULL, all of them.
CREATE FUNCTION authz.role_privileges()
RETURNS TABLE (role text, privilege text, schema_name name, object name, columns text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH visible (object, columns) AS (VALUES
        -- Cases without what people wrote in them, and never where a document's content is stored.
        ('case_record', 'tenant_id, case_id, owning_org_id, owning_team_id, case_number, confidentiality_level, status, created_by, created_at, updated_at, deleted_at'),
        ('case_document', 'tenant_id, document_id, case_id, document_type, confidentiality_level, uploaded_by, uploaded_at'),
        ('case_decision', 'tenant_id, decision_id, case_id, status, drafted_by, drafted_at, submitted_by, submitted_at, decided_by, decided_at'))
    SELECT r.role, t.privilege, 'casework', t.object, t.columns
    FROM unnest('{runtime,readonly,break_glass}'::text[]) AS r (role),
         (VALUES ('SELECT', 'case_record', NULL), ('SELECT', 'case_assignment', NULL), ('SELECT', 'case_ownership_history', NULL),
                 ('SELECT', 'case_decision', NULL), ('SELECT', 'case_decision_transition', NULL),
                 ('SELECT', 'case_document', (SELECT v.columns FROM visible AS v WHERE v.object = 'case_document'))
         ) AS t (privilege, object, columns)
    UNION ALL
    SELECT 'support_tool', 'SELECT', 'casework', v.object, v.columns FROM visible AS v
    UNION ALL
    SELECT t.role, t.privilege, 'casework', t.object, t.columns
    FROM (VALUES
        ('runtime', 'INSERT', 'case_record', 'tenant_id, owning_org_id, owning_team_id, case_number, title, confidentiality_level'),
        ('runtime', 'UPDATE', 'case_record', 'title'),
        -- The rest is read through casework_views.sensitive_detail, which masks it for whoever may not see it.
        ('runtime', 'SELECT', 'case_sensitive_detail', 'tenant_id, case_id'),
        ('runtime', 'INSERT', 'case_sensitive_detail', 'tenant_id, case_id, complainant_name, complainant_identifier, restricted_notes'),
        ('runtime', 'UPDATE', 'case_sensitive_detail', 'complainant_name, complainant_identifier, restricted_notes'),
        ('runtime', 'INSERT', 'case_document', 'tenant_id, case_id, document_type, confidentiality_level, storage_object_id'),
        ('runtime', 'UPDATE', 'case_document', 'document_type'),
        ('runtime', 'INSERT', 'case_decision', 'tenant_id, case_id, outcome'),
        ('runtime', 'UPDATE', 'case_decision', 'outcome'),
        ('worker', 'SELECT', 'case_record', NULL),
        ('worker', 'SELECT', 'case_assignment', NULL),
        ('analytics_export', 'SELECT', 'case_record', 'tenant_id, case_id, owning_org_id, owning_team_id, confidentiality_level, status, created_at, updated_at')
    ) AS t (role, privilege, object, columns)
    UNION ALL
    -- Row security leaves everybody the own profile, and the names of the tenants that one is a member of.
    SELECT 'runtime', t.privilege, 'authz', t.object, t.columns
    FROM (VALUES ('SELECT', 'profile', NULL), ('UPDATE', 'profile', 'full_name, phone, avatar_file_id, metadata'),
                 ('SELECT', 'tenant_principal_profile', NULL)) AS t (privilege, object, columns)
    UNION ALL
    -- The views show each session what its principal may audit.
    SELECT r.role, 'SELECT', 'authz', v.object, NULL
    FROM unnest('{runtime,readonly}'::text[]) AS r (role),
         unnest('{binding_evidence,access_while_held,current_access,binding_use,stale_grant,expiring_grant,mfa_evidence,
                  privilege_separation_evidence,access_trail,denied_attempt,change_trail,privileged_session_evidence,
                  privileged_session_awaiting_review,workload,export_evidence}'::name[]) AS v (object)
    UNION ALL
    SELECT 'migration', t.privilege, 'authz', t.object, NULL
    FROM (VALUES ('SELECT, INSERT, UPDATE, DELETE', 'resource_type'), ('SELECT, INSERT, UPDATE', 'resource_history'),
                 ('SELECT, INSERT', 'permission_definition'), ('SELECT', 'protected_table'),
                 ('SELECT', 'data_classification'), ('SELECT', 'column_classification'), ('SELECT', 'unclassified_column'),
                 ('SELECT, INSERT, UPDATE', 'safe_view'), ('SELECT', 'safe_view_state'),
                 ('SELECT', 'audited_surface'),
                 ('SELECT, INSERT, UPDATE', 'export_definition'), ('SELECT, INSERT, UPDATE, DELETE', 'feed'),
                 ('SELECT, INSERT, UPDATE, DELETE', 'feed_copy'), ('SELECT', 'feed_problem')) AS t (privilege, object)
    UNION ALL
    SELECT f.role, 'EXECUTE', f.schema_name, f.object, NULL
    FROM (VALUES
        ('migration', 'authz', 'children'), ('migration', 'authz', 'missing_indexes'), ('migration', 'authz', 'policy_mark'),
        ('migration', 'authz', 'exact_arguments'), ('migration', 'authz', 'class_rank'), ('migration', 'authz', 'class_of'),
        ('migration', 'authz', 'classifiable_column'), ('migration', 'authz', 'mask_type'), ('migration', 'authz', 'mask_number'),
        ('migration', 'authz', 'mask_sql'), ('migration', 'authz', 'refuse_mask'), ('migration', 'authz', 'masked_column_sql'),
        ('migration', 'authz', 'safe_view_sql'), ('migration', 'authz', 'safe_view_problems'),
        ('migration', 'authz', 'is_outside_row_security'), ('migration', 'authz', 'refuse_safe_view'),
        ('migration', 'authz', 'session_principal'),
        ('migration', 'authz', 'one_select'), ('migration', 'authz', 'register_audited_view'),
        ('migration', 'authz', 'alter_audited_view'), ('migration', 'authz', 'audited_view_problems'),
        ('migration', 'authz', 'read_past_row_security'),
        ('migration', 'authz', 'check_export_source'), ('migration', 'authz', 'export_class'),
        ('migration', 'authz', 'make_view_anew'), ('migration', 'authz', 'lost_boundary'), ('migration', 'authz', 'boundary_columns')
    ) AS f (role, schema_name, object)
    UNION ALL
    SELECT f.role, 'EXECUTE', '@extschema@', o.object, NULL
    FROM (VALUES
        ('runtime', '{authz_set_session,authz_resources,authz_request_access,authz_approve_access,authz_reject_access,authz_review_access,
                      authz_start_privileged_session,authz_end_privileged_session,
                      submit_case_decision,approve_case_decision,reject_case_decision,withdraw_case_decision,
                      transfer_case_ownership,assign_case,unassign_case,seal_case,delete_case,restore_case,
                      download_case_document,authz_reveal,
                      authz_request_export,authz_approve_export,authz_run_export,authz_download_export,authz_end_export,authz_exports}'::text[]),
        ('worker', '{authz_set_session,authz_resources,authz_route_work,authz_release_work,authz_runnable_exports,authz_run_export}'),
        ('migration', '{authz_protect,authz_unprotect,authz_classify,authz_mask,authz_create_safe_view,
                        authz_create_audited_view,authz_alter_audited_view,
                         authz_define_export,authz_create_feed,authz_register_copy}'),
        ('analytics_export', '{authz_request_export,authz_run_export,authz_download_export,authz_end_export,authz_exports}'),
        ('support_tool', '{authz_request_access,authz_start_privileged_session,authz_end_privileged_session}'),
        ('break_glass', '{authz_break_glass,authz_end_privileged_session,download_case_document}')
    ) AS f (role, objects), unnest(f.objects) AS o (object)
$$;
COMMENT ON FUNCTION authz.role_privileges() IS
    'What authz_install_roles grants to each role, beyond what PUBLIC may: tables with their columns (NULL: all), and functions.';
REVOKE ALL ON FUNCTION authz.role_privileges() FROM PUBLIC;

CREATE FUNCTION authz_install_roles(prefix text DEFAULT 'authz_') RETURNS TABLE (role_name name, step text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part   record;
    given  record;
    wrong  text;
BEGIN
    IF prefix IS NULL OR prefix !~ '^[a-z_][a-z0-9_]{0,39}$' OR prefix ~ '^pg_' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%L cannot begin the names of roles', prefix),
            HINT = 'Use lower-case letters, digits and underscores, at most 40, not beginning with a digit or with pg_.';
    END IF;
    FOR part IN
        SELECT v.role, (prefix || v.role)::name AS name, v.about FROM (VALUES
            ('runtime', 'The application: acts for whoever is logged in to it.'),
            ('worker', 'Background jobs, which act for service principals.'),
            ('readonly', 'Reads what the session may see, except sensitive details.'),
            ('migration', 'Protects tables, which it may act as the owner of, and defines permissions.'),
            ('analytics_export', 'Reads what a copy for reports may contain.'),
            ('support_tool', 'Support: asks for sessions, and sees what people did, not what they wrote.'),
            ('break_glass', 'Emergencies: begins a break-glass session, and reads.')) AS v (role, about)
    LOOP
        role_name := part.name;
        step := 'exists';
        IF NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = part.name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION', part.name);
            EXECUTE format('COMMENT ON ROLE %I IS %L', part.name, part.about || ' Made by authz_install_roles.');
            step := 'created';
        END IF;
        -- One that is there already may not be more than these roles are meant to be, by itself or through others.
        SELECT string_agg(w.what, ', ') INTO wrong FROM (
            SELECT DISTINCT CASE WHEN r.rolsuper THEN 'is superuser' WHEN r.rolbypassrls THEN 'has BYPASSRLS'
                        WHEN r.rolcreaterole THEN 'has CREATEROLE' WHEN r.rolcreatedb THEN 'has CREATEDB'
                        WHEN r.rolreplication THEN 'has REPLICATION'
                        WHEN r.rolname ~ '^pg_' THEN 'is a member of ' || r.rolname END
            FROM pg_roles AS r
            WHERE CASE WHEN r.rolname = part.name THEN true
                       ELSE (SELECT NOT p.rolsuper FROM pg_roles AS p WHERE p.rolname = part.name)
                            AND pg_has_role(part.name, r.oid, 'MEMBER') END
            UNION ALL
            SELECT 'owns ' || c.oid::regclass FROM pg_class AS c JOIN pg_roles AS r ON r.oid = c.relowner
            WHERE r.rolname = part.name) AS w (what)
        WHERE w.what IS NOT NULL;
        IF wrong IS NOT NULL THEN
            RAISE EXCEPTION USING
                ERRCODE = 'object_not_in_prerequisite_state',
                MESSAGE = format('role %I exists and cannot be used', part.name),
                DETAIL = format('It %s.', wrong),
                HINT = 'Take that from it, or choose another prefix.';
        END IF;
        RETURN NEXT;

        -- What it has after this is what stands above: nothing that was granted on these objects in between stays.
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA authz, casework FROM %I', part.name);
        EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA authz, casework FROM %I', part.name);
        EXECUTE format('REVOKE ALL ON SCHEMA authz, casework, @extschema@ FROM %I', part.name);
        EXECUTE (SELECT format('REVOKE ALL ON FUNCTION %s FROM %I', string_agg(d.objid::regprocedure::text, ', '), part.name)
                 FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'authz_ext'
                 WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e');
        EXECUTE format('GRANT USAGE ON SCHEMA @extschema@ TO %I', part.name);
        FOR given IN
            SELECT DISTINCT p.schema_name AS name FROM authz.role_privileges() AS p
            WHERE p.role = part.role AND p.schema_name <> '@extschema@'
        LOOP
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', given.name, part.name);
        END LOOP;
        FOR given IN SELECT * FROM authz.role_privileges() AS p WHERE p.role = part.role LOOP
            IF given.privilege <> 'EXECUTE' THEN
                EXECUTE format('GRANT %s ON %I.%I TO %I',
                               given.privilege || coalesce(' (' || given.columns || ')', ''),
                               given.schema_name, given.object, part.name);
                CONTINUE;
            END IF;
            -- All forms of the extension's own function, and nothing of the same name that somebody else made.
            EXECUTE (SELECT format('GRANT EXECUTE ON FUNCTION %s TO %I', string_agg(f.oid::regprocedure::text, ', '), part.name)
                     FROM pg_proc AS f
                     JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = f.oid
                          AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
                     JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'authz_ext'
                     WHERE f.proname = given.object AND f.pronamespace = given.schema_name::text::regnamespace);
        END LOOP;
    END LOOP;
END
$$;
COMMENT ON FUNCTION authz_install_roles(text) IS
    'Makes the roles runtime, worker, readonly, migration, analytics_export, support_tool and break_glass, their names beginning with the prefix, and gives them exactly what authz.role_privileges says. Idempotent; for a superuser.';
REVOKE ALL ON FUNCTION authz_install_roles(text) FROM PUBLIC;
