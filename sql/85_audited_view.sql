-- Audited views: each statement that reads one leaves an access event.
--
-- The view's body calls authz_audited, which the planner replaces by true. Planning the call loads the library into a backend
-- that did not have it, and lets it watch for statements that read the view (src/pg/executor.rs). The call names the view by
-- an id of its own, because OIDs do not survive a dump; what the id stands for is a row of this table.

CREATE TABLE authz.audited_view (
    surface_id uuid NOT NULL DEFAULT gen_random_uuid(),
    target regclass NOT NULL,
    on_failure text COLLATE "C" NOT NULL DEFAULT 'error',
    created_by name NOT NULL DEFAULT session_user,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT audited_view_pkey PRIMARY KEY (surface_id),
    CONSTRAINT audited_view_target_key UNIQUE (target),
    CONSTRAINT audited_view_on_failure_check CHECK (on_failure IN ('error', 'log'))
);
COMMENT ON TABLE authz.audited_view IS
    'Views of which each read leaves an access event. Written by authz_create_audited_view; DROP VIEW takes the row away.';
COMMENT ON COLUMN authz.audited_view.surface_id IS 'What the view''s body names in its call of authz_audited.';
COMMENT ON COLUMN authz.audited_view.target IS 'The view.';
COMMENT ON COLUMN authz.audited_view.on_failure IS
    'What becomes of a read whose event cannot be written. error: it fails; log: the event goes to the background workers, or to the server''s log.';
COMMENT ON COLUMN authz.audited_view.created_by IS 'The role that had logged in.';
COMMENT ON COLUMN authz.audited_view.created_at IS 'When it was made, or restored.';
SELECT pg_catalog.pg_extension_config_dump('authz.audited_view'::pg_catalog.regclass, '');

-- Plans that read the view are made anew: without its row they fail.
CREATE TRIGGER invalidate AFTER INSERT OR UPDATE OR DELETE ON authz.audited_view
    FOR EACH ROW EXECUTE FUNCTION authz.authority_changed('relation', 'target');
ALTER TABLE authz.audited_view ENABLE ALWAYS TRIGGER invalidate;
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON authz.audited_view
    FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_delete('Drop the views; each takes its row along.');
ALTER TABLE authz.audited_view ENABLE ALWAYS TRIGGER guard_truncate;
-- Who made reads go on without their event, or dropped the view, is on record.
SELECT authz.track_changes('authz.audited_view');

ALTER FUNCTION authz_audited(uuid) SUPPORT authz.audited_support;

-- Tables that a view reads past their row security, because it reads them as a role that is outside of it.
CREATE FUNCTION authz.read_past_row_security(target regclass) RETURNS SETOF regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE relation AS (
        SELECT c.oid, c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.relowner,
               EXISTS (SELECT FROM pg_options_to_table(c.reloptions) AS o
                       WHERE o.option_name = 'security_invoker' AND o.option_value::boolean) AS as_invoker
        FROM pg_class AS c WHERE c.relkind IN ('v', 'r', 'p')),
    -- reader: NULL is whoever reads the view.
    reads (oid, reader) AS (
        SELECT r.oid, CASE WHEN r.as_invoker THEN NULL ELSE r.relowner END FROM relation AS r WHERE r.oid = target AND r.relkind = 'v'
        UNION
        SELECT r.oid, CASE WHEN r.relkind = 'v' AND NOT r.as_invoker THEN r.relowner ELSE v.reader END
        FROM reads AS v
        JOIN pg_rewrite AS w ON w.ev_class = v.oid AND w.rulename = '_RETURN'
        JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass
        JOIN relation AS r ON r.oid = d.refobjid AND r.oid <> v.oid)
    SELECT DISTINCT r.oid::regclass
    FROM reads AS v JOIN relation AS r USING (oid) JOIN pg_roles AS o ON o.oid = v.reader
    WHERE r.relkind <> 'v' AND r.relrowsecurity
      AND (o.rolsuper OR o.rolbypassrls
           OR NOT r.relforcerowsecurity AND pg_has_role(v.reader, r.relowner, 'USAGE'))
$$;
COMMENT ON FUNCTION authz.read_past_row_security(regclass) IS
    'The tables under row security that a view reads as a role to which it does not apply.';
REVOKE ALL ON FUNCTION authz.read_past_row_security(regclass) FROM PUBLIC;

-- Reads authz.audited_view, which whoever creates a view may not.
CREATE FUNCTION authz.audited_view_problems(target regclass) RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT array_remove(ARRAY[
        CASE WHEN authz.surface_of_view(c.oid, '@extschema@.authz_audited(uuid)'::regprocedure) IS DISTINCT FROM a.surface_id
        THEN format('not every row has to pass WHERE authz_audited(%L)', a.surface_id) END,
        CASE WHEN NOT EXISTS (SELECT FROM pg_options_to_table(c.reloptions) AS o
                              WHERE o.option_name = 'security_barrier' AND o.option_value::boolean)
        THEN 'it is no security_barrier view' END,
        (SELECT 'it reads as a role that is outside of row security: ' || string_agg(t::text, ', ' ORDER BY t::text)
         FROM authz.read_past_row_security(c.oid) AS t)], NULL)
    FROM authz.audited_view AS a JOIN pg_class AS c ON c.oid = a.target
    WHERE a.target = audited_view_problems.target
$$;
COMMENT ON FUNCTION authz.audited_view_problems(regclass) IS 'What is wrong with an audited view; an empty array: nothing. NULL: it is none.';
REVOKE ALL ON FUNCTION authz.audited_view_problems(regclass) FROM PUBLIC;

CREATE VIEW authz.audited_surface AS
    SELECT a.target, pg_catalog.pg_get_userbyid(c.relowner) AS owner, a.on_failure, a.surface_id, a.created_by, a.created_at,
           authz.audited_view_problems(a.target) AS problems
    FROM authz.audited_view AS a
    LEFT JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) a.target;
COMMENT ON VIEW authz.audited_surface IS 'Each audited view, and what is wrong with it.';
COMMENT ON COLUMN authz.audited_surface.target IS 'The view.';
COMMENT ON COLUMN authz.audited_surface.owner IS 'Its owner, as whom it reads unless it is security_invoker.';
COMMENT ON COLUMN authz.audited_surface.on_failure IS 'What becomes of a read whose event cannot be written: error or log.';
COMMENT ON COLUMN authz.audited_surface.surface_id IS 'What its body names in its call of authz_audited.';
COMMENT ON COLUMN authz.audited_surface.created_by IS 'The role that had logged in.';
COMMENT ON COLUMN authz.audited_surface.created_at IS 'When it was made, or restored.';
COMMENT ON COLUMN authz.audited_surface.problems IS
    'What keeps reads from being recorded, or lets them see too much; empty: nothing. NULL: the view is gone.';

-- Without a search_path of its own, because the query is the caller's: everything else is qualified.
CREATE FUNCTION authz_create_audited_view(
    name text,
    query text,
    on_failure text DEFAULT 'error',
    security_invoker boolean DEFAULT false
) RETURNS regclass
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    surface   pg_catalog.uuid := pg_catalog.gen_random_uuid();
    parts     pg_catalog.text[];
    namespace pg_catalog.text;
    made      pg_catalog.regclass;
    problems  pg_catalog.text[];
BEGIN
    IF name IS NULL OR query IS NULL OR on_failure IS NULL OR security_invoker IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'name, query (or target), on_failure and security_invoker must be given',
            HINT = 'Such as: SELECT authz_create_audited_view(''reports.open_cases'', ''SELECT case_id, title FROM cases'');';
    END IF;
    BEGIN
        parts := pg_catalog.parse_ident(name);
    EXCEPTION WHEN invalid_parameter_value THEN
        parts := '{}';
    END;
    IF pg_catalog.cardinality(parts) OPERATOR(pg_catalog.<>) ALL (ARRAY[1, 2]) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_name',
            MESSAGE = pg_catalog.format('%L is no name of a view', name),
            HINT = 'Write it as in SQL: reports.open_cases.';
    END IF;
    namespace := CASE WHEN parts[2] IS NULL THEN pg_catalog.current_schema() ELSE parts[1] END;
    IF namespace IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_schema_name',
            MESSAGE = 'no schema has been selected to create the view in',
            HINT = 'Give schema.name, or set search_path.';
    END IF;
    IF namespace OPERATOR(pg_catalog.~) '^pg_(temp|toast)' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_table_definition',
            MESSAGE = 'an audited view cannot be temporary',
            HINT = 'Create it in a schema that stays.';
    END IF;
    -- A literal is a text, also where it is the name of a table. No SELECT looks like one.
    IF query OPERATOR(pg_catalog.~) '^[[:space:]]*("[^"]+"|[[:alpha:]_][[:alnum:]_$]*)([.]("[^"]+"|[[:alpha:]_][[:alnum:]_$]*))?[[:space:]]*$'
        AND pg_catalog.to_regclass(query) IS NOT NULL THEN
        RETURN @extschema@.authz_create_audited_view(name, pg_catalog.to_regclass(query), on_failure, security_invoker);
    END IF;
    query := authz.one_select(query);
    -- The line feed ends a comment that the query may end with. A view that selects from a query cannot be written to.
    EXECUTE pg_catalog.format(
        E'CREATE VIEW %I.%I WITH (security_barrier = true, security_invoker = %s) AS
          SELECT q.* FROM (%s\n) AS q WHERE @extschema@.authz_audited(%L::pg_catalog.uuid)',
        namespace, parts[pg_catalog.cardinality(parts)], security_invoker, query, surface);
    made := pg_catalog.to_regclass(pg_catalog.format('%I.%I', namespace, parts[pg_catalog.cardinality(parts)]));
    PERFORM authz.register_audited_view(made::pg_catalog.oid, surface, on_failure);
    problems := authz.audited_view_problems(made);
    IF pg_catalog.cardinality(problems) OPERATOR(pg_catalog.>) 0 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = pg_catalog.format('%s cannot be an audited view', made),
            DETAIL = pg_catalog.array_to_string(problems, '; '),
            HINT = 'Create it as a role that row security applies to (SET ROLE): no superuser, no BYPASSRLS, no owner of a table without FORCE ROW LEVEL SECURITY; or pass security_invoker => true, and then its readers must be allowed to read its tables themselves.';
    END IF;
    -- What the owner may not read fails here, and not when somebody reads the view.
    EXECUTE pg_catalog.format('EXPLAIN SELECT * FROM %s', made);
    RETURN made;
END
$$;
COMMENT ON FUNCTION authz_create_audited_view(text, text, text, boolean) IS
    'Creates a view of the query, of which each statement that reads it leaves one access event. It reads as the caller, who owns it.';
REVOKE ALL ON FUNCTION authz_create_audited_view(text, text, text, boolean) FROM PUBLIC;

CREATE FUNCTION authz_create_audited_view(
    name text,
    target regclass,
    on_failure text DEFAULT 'error',
    security_invoker boolean DEFAULT false
) RETURNS regclass
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    query pg_catalog.text;
BEGIN
    SELECT pg_catalog.format('SELECT * FROM %I.%I', n.nspname, c.relname) INTO query
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE c.oid OPERATOR(pg_catalog.=) target;
    IF query IS NULL AND target IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_table',
            MESSAGE = pg_catalog.format('relation %s does not exist', target),
            HINT = 'Name a table or view.';
    END IF;
    RETURN @extschema@.authz_create_audited_view(name, query, on_failure, security_invoker);
END
$$;
COMMENT ON FUNCTION authz_create_audited_view(text, regclass, text, boolean) IS
    'The same with all columns that a table or view has now.';
REVOKE ALL ON FUNCTION authz_create_audited_view(text, regclass, text, boolean) FROM PUBLIC;

CREATE FUNCTION authz_alter_audited_view(target regclass, on_failure text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
    IF target IS NULL OR on_failure IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'target and on_failure must be given',
            HINT = 'Such as: SELECT authz_alter_audited_view(''reports.open_cases'', on_failure => ''log'');';
    END IF;
    PERFORM authz.alter_audited_view(target::oid, on_failure);
END
$$;
COMMENT ON FUNCTION authz_alter_audited_view(regclass, text) IS
    'Changes what becomes of reads of an audited view whose event cannot be written: error (they fail) or log. For its owner.';
REVOKE ALL ON FUNCTION authz_alter_audited_view(regclass, text) FROM PUBLIC;

-- An audited view stays what it is, or is dropped. The triggers read and write authz.audited_view, which whoever runs the
-- DDL may not.
CREATE FUNCTION authz.guard_audited_views() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed oid[] := ARRAY(SELECT d.objid FROM pg_event_trigger_ddl_commands() AS d WHERE d.classid = 'pg_class'::regclass);
    view    record;
BEGIN
    FOR view IN
        SELECT a.target, authz.audited_view_problems(a.target) AS problems
        FROM authz.audited_view AS a
        WHERE a.target IN (
            SELECT unnest(changed)
            UNION ALL
            SELECT w.ev_class FROM pg_event_trigger_ddl_commands() AS d
            JOIN pg_rewrite AS w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid)
    LOOP
        IF cardinality(view.problems) > 0 THEN
            RAISE EXCEPTION USING
                ERRCODE = 'object_not_in_prerequisite_state',
                MESSAGE = format('%s is refused on audited view %s', tg_tag, view.target),
                DETAIL = array_to_string(view.problems, '; '),
                HINT = 'Its body must go on calling authz_audited, WITH (security_barrier = true), as a role that row security applies to. Whoever does not want it audited drops it and creates another one.';
        END IF;
    END LOOP;
    -- A table that comes under row security is not refused, as that hides rows from others; but it does not hide them here.
    IF EXISTS (SELECT FROM pg_class AS c WHERE c.oid = ANY (changed) AND c.relrowsecurity) THEN
        FOR view IN
            SELECT a.target, t.past FROM authz.audited_view AS a
            CROSS JOIN LATERAL authz.read_past_row_security(a.target) AS t (past)
            WHERE t.past = ANY (changed)
        LOOP
            RAISE WARNING USING
                MESSAGE = format('audited view %s shows all rows of %s', view.target, view.past),
                DETAIL = 'Row security does not apply to its owner.',
                HINT = 'Give the view to another role, or force row security for the owner of the table.';
        END LOOP;
    END IF;
END
$$;
COMMENT ON FUNCTION authz.guard_audited_views() IS
    'Event trigger: refuses what would let an audited view be read without an event, or past row security (SQLSTATE 55000); warns where a table comes under row security that such a view reads past it.';
REVOKE ALL ON FUNCTION authz.guard_audited_views() FROM PUBLIC;

CREATE EVENT TRIGGER authz_guard_audited_views ON ddl_command_end
    WHEN TAG IN ('CREATE VIEW', 'ALTER VIEW', 'ALTER TABLE', 'CREATE RULE', 'ALTER RULE')
    EXECUTE FUNCTION authz.guard_audited_views();
ALTER EVENT TRIGGER authz_guard_audited_views ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER authz_guard_audited_views IS 'Keeps audited views audited.';

CREATE FUNCTION authz.forget_audited_views() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    view   record;
    former text;
BEGIN
    FOR view IN
        SELECT a.surface_id, d.object_identity AS name
        FROM authz.audited_view AS a
        JOIN pg_event_trigger_dropped_objects() AS d
          ON d.classid = 'pg_class'::regclass AND d.objsubid = 0 AND a.target = d.objid
    LOOP
        -- Its name is gone from the catalogs, so the event says it here.
        former := authz.set_reason(concat_ws(': ', format('%s %s', tg_tag, view.name), authz.change_reason()));
        DELETE FROM authz.audited_view AS a WHERE a.surface_id = view.surface_id;
        PERFORM authz.set_reason(former);
    END LOOP;
END
$$;
COMMENT ON FUNCTION authz.forget_audited_views() IS 'Event trigger: a view that is dropped is not audited any more.';
REVOKE ALL ON FUNCTION authz.forget_audited_views() FROM PUBLIC;

CREATE EVENT TRIGGER authz_forget_audited_views ON sql_drop EXECUTE FUNCTION authz.forget_audited_views();
ALTER EVENT TRIGGER authz_forget_audited_views ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER authz_forget_audited_views IS 'Forgets audited views that are dropped.';
