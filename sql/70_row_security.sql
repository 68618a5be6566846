-- Row security: what the planner is told of the functions that policies call, and the functions that make policies.

-- What is asked for every row of a scan is called in C's way, without the guard that pgrx puts around functions
-- (src/pg/bare.rs).
CREATE FUNCTION authz.still(moment bigint, of_table oid) RETURNS boolean
LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'authz_still';
CREATE FUNCTION authz.row_exact(
    permission text, key uuid, tenant uuid, organization uuid, team uuid, project uuid, owner uuid, confidentiality text,
    deleted boolean, parent text, stored boolean, by_principal boolean)
RETURNS boolean LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'authz_row_exact_uuid';
CREATE FUNCTION authz.row_exact(
    permission text, key bigint, tenant uuid, organization uuid, team uuid, project uuid, owner uuid, confidentiality text,
    deleted boolean, parent text, stored boolean, by_principal boolean)
RETURNS boolean LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'authz_row_exact_int';
CREATE FUNCTION authz.row_exact(
    permission text, key text, tenant uuid, organization uuid, team uuid, project uuid, owner uuid, confidentiality text,
    deleted boolean, parent text, stored boolean, by_principal boolean)
RETURNS boolean LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'authz_row_exact_text';
CREATE FUNCTION authz.via(permission text, place text, value uuid)
RETURNS boolean LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'authz_via_uuid';

ALTER FUNCTION authz_row(text, uuid, uuid, uuid, uuid, uuid, uuid, text, boolean, text) SUPPORT authz.call_support COST 100;
ALTER FUNCTION authz_row(text, bigint, uuid, uuid, uuid, uuid, uuid, text, boolean, text) SUPPORT authz.call_support COST 100;
ALTER FUNCTION authz_row(text, text, uuid, uuid, uuid, uuid, uuid, text, boolean, text) SUPPORT authz.call_support COST 100;
ALTER FUNCTION authz_can(text, uuid) SUPPORT authz.call_support COST 200;
ALTER FUNCTION authz_can(uuid, text, uuid, uuid, jsonb) SUPPORT authz.call_support COST 200;
ALTER FUNCTION authz_can(text, bigint) SUPPORT authz.call_support COST 200;
ALTER FUNCTION authz_can(uuid, text, bigint, uuid, jsonb) SUPPORT authz.call_support COST 200;
ALTER FUNCTION authz_can(text, text) SUPPORT authz.call_support COST 200;
ALTER FUNCTION authz_can(uuid, text, text, uuid, jsonb) SUPPORT authz.call_support COST 200;
ALTER FUNCTION authz.row_exact(text, uuid, uuid, uuid, uuid, uuid, uuid, text, boolean, text, boolean, boolean) SUPPORT authz.plan_support COST 50;
-- Called for few rows of those that it stands beside.
ALTER FUNCTION authz.row_condition(text, uuid, uuid, uuid, uuid, uuid, uuid, text, boolean, text, record, boolean) SUPPORT authz.plan_support COST 1;
ALTER FUNCTION authz.row_exact(text, bigint, uuid, uuid, uuid, uuid, uuid, text, boolean, text, boolean, boolean) SUPPORT authz.plan_support COST 50;
ALTER FUNCTION authz.row_condition(text, bigint, uuid, uuid, uuid, uuid, uuid, text, boolean, text, record, boolean) SUPPORT authz.plan_support COST 1;
ALTER FUNCTION authz.row_exact(text, text, uuid, uuid, uuid, uuid, uuid, text, boolean, text, boolean, boolean) SUPPORT authz.plan_support COST 50;
ALTER FUNCTION authz.row_condition(text, text, uuid, uuid, uuid, uuid, uuid, text, boolean, text, record, boolean) SUPPORT authz.plan_support COST 1;
ALTER FUNCTION authz.row_whole(text, record, boolean) COST 100;
ALTER FUNCTION authz.still(bigint, oid) SUPPORT authz.plan_support;
ALTER FUNCTION authz.via(text, text, uuid) SUPPORT authz.plan_support COST 5;
ALTER FUNCTION authz.via(text, text, smallint) SUPPORT authz.plan_support COST 5;
ALTER FUNCTION authz.via(text, text, integer) SUPPORT authz.plan_support COST 5;
ALTER FUNCTION authz.via(text, text, bigint) SUPPORT authz.plan_support COST 5;
ALTER FUNCTION authz.via(text, text, text) SUPPORT authz.plan_support COST 5;
ALTER FUNCTION authz.reach_uuid(text, text, integer) SUPPORT authz.plan_support;
ALTER FUNCTION authz.reach_int2(text, text, integer) SUPPORT authz.plan_support;
ALTER FUNCTION authz.reach_int4(text, text, integer) SUPPORT authz.plan_support;
ALTER FUNCTION authz.reach_int8(text, text, integer) SUPPORT authz.plan_support;
ALTER FUNCTION authz.reach_text(text, text, integer) SUPPORT authz.plan_support;

-- What is missing for the planner to find a protected table's rows by index, as statements that make it. Only B-trees are
-- searched for several values at once; one serves a column that it begins with. Scopes and owners kept as text are compared
-- as uuids, however they are spelled: an index has to be of that expression.
CREATE FUNCTION authz.missing_indexes(target regclass, keys integer, VARIADIC columns name[]) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- An index of a partitioned table cannot be made CONCURRENTLY.
    SELECT format('CREATE INDEX %sON %s (%s)', CASE t.relkind WHEN 'p' THEN '' ELSE 'CONCURRENTLY ' END, target,
                  CASE WHEN c.as_uuid THEN format('((%I)::uuid)', c.name) ELSE quote_ident(c.name) END)
    FROM (SELECT u.name, u.position, a.attnum, u.position > keys AND a.atttypid <> 'uuid'::regtype AS as_uuid
          FROM unnest(columns) WITH ORDINALITY AS u (name, position)
          JOIN pg_attribute AS a ON a.attrelid = target AND a.attname = u.name AND NOT a.attisdropped) AS c
    JOIN pg_class AS t ON t.oid = target
    WHERE NOT EXISTS (
        SELECT FROM pg_index AS i
        JOIN pg_class AS r ON r.oid = i.indexrelid
        JOIN pg_am AS m ON m.oid = r.relam AND m.amname = 'btree'
        WHERE i.indrelid = target AND i.indisvalid AND i.indisready AND i.indpred IS NULL
          AND CASE WHEN c.as_uuid
                   THEN i.indkey[0] = 0 AND pg_get_indexdef(i.indexrelid, 1, false) = format('((%I)::uuid)', c.name)
                   ELSE i.indkey[0] = c.attnum END)
    ORDER BY c.position
$$;
COMMENT ON FUNCTION authz.missing_indexes(regclass, integer, name[]) IS
    'Statements that create the indexes which row security would search and which the table does not have. Columns beyond the first (keys) are of ids of scopes and owners.';
REVOKE ALL ON FUNCTION authz.missing_indexes(regclass, integer, name[]) FROM PUBLIC;

-- Partitions, and tables that inherit, of all levels.
CREATE FUNCTION authz.children(target regclass) RETURNS SETOF regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE below (child) AS (
        SELECT i.inhrelid FROM pg_inherits AS i WHERE i.inhparent = target
        UNION
        SELECT i.inhrelid FROM pg_inherits AS i JOIN below AS b ON i.inhparent = b.child)
    SELECT child::regclass FROM below ORDER BY 1
$$;
COMMENT ON FUNCTION authz.children(regclass) IS 'The partitions of a table, and the tables that inherit from it, of all levels.';
REVOKE ALL ON FUNCTION authz.children(regclass) FROM PUBLIC;

-- Policies carry this comment, so that one of the same name made by hand is told from ours. (authz.close_children repeats it:
-- whoever runs DDL may not call this.)
CREATE FUNCTION authz.policy_mark() RETURNS text LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT 'Made by authz_protect.' $$;
COMMENT ON FUNCTION authz.policy_mark() IS 'The comment that policies made by authz_protect carry.';
REVOKE ALL ON FUNCTION authz.policy_mark() FROM PUBLIC;

CREATE FUNCTION authz_protect(
    target regclass,
    resource_type text,
    key name,
    tenant name,
    organization name DEFAULT NULL,
    team name DEFAULT NULL,
    project name DEFAULT NULL,
    owner name DEFAULT NULL,
    confidentiality name DEFAULT NULL,
    deleted_at name DEFAULT NULL,
    parent name DEFAULT NULL,
    parent_type text DEFAULT NULL,
    select_permission text DEFAULT NULL,
    insert_permission text DEFAULT NULL,
    update_permission text DEFAULT NULL,
    delete_permission text DEFAULT NULL,
    create_indexes boolean DEFAULT false
) RETURNS TABLE (step text, detail text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    relation    pg_class;
    call        text;
    command     record;
    permission  text;
    other       text;
    statement   text;
    type_of     text;
BEGIN
    SELECT c.* INTO relation FROM pg_class AS c WHERE c.oid = target;
    IF relation.oid IS NULL OR resource_type IS NULL OR key IS NULL OR tenant IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'target, resource_type, key and tenant must be given',
            HINT = 'Such as: SELECT * FROM authz_protect(''public.invoice'', ''invoice'', key => ''invoice_id'', tenant => ''tenant_id'');';
    END IF;
    IF relation.relkind NOT IN ('r', 'p') OR relation.relispartition THEN
        RAISE EXCEPTION USING
            ERRCODE = 'wrong_object_type',
            MESSAGE = format('%s cannot be protected', target),
            DETAIL = 'It is not a table or partitioned table, or it is a partition of one.',
            HINT = 'Protect the table behind it, or the partitioned table.';
    END IF;
    IF relation.relnamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'authz'::regnamespace)
        OR relation.relpersistence = 't' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'wrong_object_type',
            MESSAGE = format('%s cannot be protected', target),
            DETAIL = 'It is a system table, a temporary table, or one of the extension itself.',
            HINT = 'Protect tables of your own.';
    END IF;
    IF NOT pg_has_role(current_user, relation.relowner, 'USAGE') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = format('must be owner of table %s', target),
            HINT = 'Only the owner of a table can protect it.';
    END IF;
    SELECT t.resource_type INTO other FROM authz.resource_type AS t
    WHERE t.target = target AND t.resource_type <> resource_type;
    IF FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('%s is protected already, as resource type %L', target, other),
            HINT = 'A table holds resources of one type. Call authz_unprotect first.';
    END IF;
    SELECT t.target::text INTO other FROM authz.resource_type AS t
    WHERE t.resource_type = resource_type AND t.target <> target;
    IF FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('resource type %L is bound to %s', resource_type, other),
            HINT = 'A resource type names one table. Call authz_unprotect for that table first, or choose another type.';
    END IF;
    SELECT p.polname INTO other FROM pg_policy AS p
    WHERE p.polrelid = target AND p.polname IN ('authz_select', 'authz_insert', 'authz_update', 'authz_delete')
      AND obj_description(p.oid, 'pg_policy') IS DISTINCT FROM authz.policy_mark();
    IF FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'duplicate_object',
            MESSAGE = format('policy %I on %s was not made by authz_protect', other, target),
            HINT = 'Rename or drop it.';
    END IF;

    FOREACH permission IN ARRAY array_remove(
        ARRAY[select_permission, insert_permission, update_permission, delete_permission], NULL)
    LOOP
        IF NOT EXISTS (SELECT FROM authz.permission_definition AS d
                       WHERE d.permission_code = permission AND d.resource_type = resource_type) THEN
            RAISE EXCEPTION USING
                ERRCODE = 'undefined_object',
                MESSAGE = format('permission %L of resource type %L does not exist', permission, resource_type),
                HINT = 'Define it in authz.permission_definition first.';
        END IF;
    END LOOP;

    -- Refused by its trigger where a column is missing or of a wrong type.
    INSERT INTO authz.resource_type AS t (resource_type, target, key_column, tenant_column, organization_column, team_column,
        project_column, owner_column, confidentiality_column, deleted_at_column, parent_type, parent_column, select_permission)
    VALUES (resource_type, target, key, tenant, organization, team, project, owner, confidentiality, deleted_at,
            parent_type, parent, select_permission)
    ON CONFLICT ON CONSTRAINT resource_type_pkey DO UPDATE SET
        key_column = EXCLUDED.key_column, tenant_column = EXCLUDED.tenant_column,
        organization_column = EXCLUDED.organization_column, team_column = EXCLUDED.team_column,
        project_column = EXCLUDED.project_column, owner_column = EXCLUDED.owner_column,
        confidentiality_column = EXCLUDED.confidentiality_column, deleted_at_column = EXCLUDED.deleted_at_column,
        parent_type = EXCLUDED.parent_type, parent_column = EXCLUDED.parent_column,
        select_permission = EXCLUDED.select_permission;
    step := 'register'; detail := format('resource type %s: %s', resource_type, target); RETURN NEXT;

    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    step := 'row security'; detail := 'enabled, and forced for the owner'; RETURN NEXT;
    -- Policies hold for the table that a query names. Without any, a partition that is named itself shows nothing.
    FOR other IN SELECT authz.children(target)::text LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', other);
        EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', other);
        step := 'row security'; detail := format('%s: reachable through %s only', other, target); RETURN NEXT;
    END LOOP;

    -- The row's columns as arguments of authz_row, in the form that the planner support recognises.
    call := format('%I, %I', key, tenant);
    FOR command IN
        SELECT v.argument, v.name, format_type(a.atttypid, NULL) AS type, ty.typtype = 'e' AS is_enum
        FROM (VALUES (1, 'organization', organization), (2, 'team', team), (3, 'project', project), (4, 'owner', owner),
                     (5, 'confidentiality', confidentiality), (6, 'deleted', deleted_at), (7, 'parent', parent)
             ) AS v (position, argument, name)
        JOIN pg_attribute AS a ON a.attrelid = target AND a.attname = v.name
        JOIN pg_type AS ty ON ty.oid = a.atttypid
        ORDER BY v.position
    LOOP
        type_of := CASE
            WHEN command.argument = 'deleted' AND command.type = 'boolean' THEN ' IS TRUE'
            WHEN command.argument = 'deleted' THEN ' IS NOT NULL'
            WHEN command.argument IN ('organization', 'team', 'project', 'owner') AND command.type <> 'uuid' THEN '::uuid'
            WHEN command.argument IN ('confidentiality', 'parent') AND command.type NOT IN ('text', 'character varying') THEN '::text'
            ELSE '' END;
        call := call || format(', %s => %I%s', command.argument, command.name, type_of);
    END LOOP;

    FOR command IN
        SELECT * FROM (VALUES
            ('authz_select', 'SELECT', select_permission, ARRAY['view', 'read']),
            ('authz_insert', 'INSERT', insert_permission, ARRAY['create', 'insert']),
            ('authz_update', 'UPDATE', update_permission, ARRAY['edit', 'update']),
            ('authz_delete', 'DELETE', delete_permission, ARRAY['delete'])
        ) AS v (policy, verb, permission, actions)
    LOOP
        permission := command.permission;
        IF permission IS NULL THEN
            SELECT d.permission_code INTO permission
            FROM unnest(command.actions) WITH ORDINALITY AS a (action, position)
            JOIN authz.permission_definition AS d ON d.resource_type = resource_type AND d.action_code = a.action
            ORDER BY a.position LIMIT 1;
        END IF;
        IF EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = target AND p.polname = command.policy) THEN
            EXECUTE format('DROP POLICY %I ON %s', command.policy, target);
        END IF;
        IF permission IS NULL THEN
            step := 'policy';
            detail := format('none for %s, which is therefore denied: define %s or pass %s_permission', command.verb,
                             resource_type || '.' || command.actions[1], lower(command.verb));
            RETURN NEXT;
            CONTINUE;
        END IF;
        statement := format('@extschema@.authz_row(%L, %s)', permission, call);
        EXECUTE format('CREATE POLICY %I ON %s FOR %s %s', command.policy, target, command.verb,
            CASE command.verb
                WHEN 'INSERT' THEN format('WITH CHECK (%s)', statement)
                WHEN 'UPDATE' THEN format('USING (%s) WITH CHECK (%s)', statement, statement)
                ELSE format('USING (%s)', statement) END);
        -- Where others may create functions in the extension's schema, one of theirs could fit the call better than ours.
        SELECT d.refobjid::regprocedure::text INTO other
        FROM pg_policy AS p
        JOIN pg_depend AS d ON d.classid = 'pg_policy'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_proc'::regclass
        WHERE p.polrelid = target AND p.polname = command.policy
          AND NOT EXISTS (SELECT FROM pg_depend AS e
                          WHERE e.classid = 'pg_proc'::regclass AND e.objid = d.refobjid AND e.deptype = 'e');
        IF FOUND THEN
            RAISE EXCEPTION USING
                ERRCODE = 'insufficient_privilege',
                MESSAGE = format('a policy on %s would call %s, which is not part of authz_ext', target, other),
                HINT = 'Drop that function, and revoke CREATE on its schema from whoever made it.';
        END IF;
        EXECUTE format('COMMENT ON POLICY %I ON %s IS %L', command.policy, target, authz.policy_mark());
        step := 'policy'; detail := format('%s for %s: %s', command.policy, command.verb, permission); RETURN NEXT;
    END LOOP;

    FOR statement IN
        SELECT authz.missing_indexes(target, 2 + num_nonnulls(parent), VARIADIC array_remove(
            CASE WHEN parent IS NULL THEN ARRAY[key, tenant, organization, team, project, owner]
                 ELSE ARRAY[key, tenant, parent] END::name[], NULL))
    LOOP
        IF create_indexes THEN
            -- CONCURRENTLY, which lets writers go on, is not possible inside a function.
            statement := regexp_replace(statement, '^CREATE INDEX CONCURRENTLY', 'CREATE INDEX');
            EXECUTE statement;
            step := 'index'; detail := statement;
        ELSE
            step := 'missing index'; detail := statement;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION authz_protect(regclass, text, name, name, name, name, name, name, name, name, name, text, text, text, text, text, boolean) IS
    'Registers a table as a resource type and puts it under row security: policies for SELECT, INSERT, UPDATE and DELETE. Idempotent; tells what it did, and which indexes are missing.';
REVOKE ALL ON FUNCTION authz_protect(regclass, text, name, name, name, name, name, name, name, name, name, text, text, text, text, text, boolean) FROM PUBLIC;

CREATE FUNCTION authz_unprotect(target regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    policy name;
    child  regclass;
BEGIN
    IF NOT EXISTS (SELECT FROM authz.resource_type AS t WHERE t.target = target) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = format('%s is not protected', target),
            HINT = 'Protected tables are listed in authz.protected_table.';
    END IF;
    FOR policy IN
        SELECT p.polname FROM pg_policy AS p
        WHERE p.polrelid = target AND obj_description(p.oid, 'pg_policy') = authz.policy_mark()
    LOOP
        EXECUTE format('DROP POLICY %I ON %s', policy, target);
    END LOOP;
    DELETE FROM authz.resource_type AS t WHERE t.target = target;
    FOR child IN SELECT target UNION ALL SELECT authz.children(target) LOOP
        -- Policies made by hand go on holding.
        IF NOT EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = child) THEN
            EXECUTE format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', child);
            EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', child);
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION authz_unprotect(regclass) IS
    'Removes the policies of authz_protect and the registration; row security is switched off if no other policy is left.';
REVOKE ALL ON FUNCTION authz_unprotect(regclass) FROM PUBLIC;

-- Partitions and children that come later are closed as those that authz_protect found. Runs as whoever runs the DDL, reads
-- nothing but the catalogs, which everybody may, and acts on tables of theirs.
CREATE FUNCTION authz.close_children() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    child regclass;
BEGIN
    FOR child IN
        WITH RECURSIVE changed (rel) AS (
            SELECT DISTINCT d.objid FROM pg_event_trigger_ddl_commands() AS d WHERE d.classid = 'pg_class'::regclass),
        above (rel, via) AS (
            SELECT c.rel, c.rel FROM changed AS c
            UNION
            SELECT i.inhparent, a.via FROM above AS a JOIN pg_inherits AS i ON i.inhrelid = a.rel),
        marked (rel) AS (
            SELECT p.polrelid FROM above AS a JOIN pg_policy AS p ON p.polrelid = a.rel
            WHERE obj_description(p.oid, 'pg_policy') = 'Made by authz_protect.'),
        below (rel) AS (
            SELECT i.inhrelid FROM marked AS m JOIN pg_inherits AS i ON i.inhparent = m.rel
            UNION
            SELECT i.inhrelid FROM below AS b JOIN pg_inherits AS i ON i.inhparent = b.rel)
        SELECT c.oid FROM below AS b JOIN pg_class AS c ON c.oid = b.rel
        WHERE c.relkind IN ('r', 'p') AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
          AND pg_has_role(current_user, c.relowner, 'USAGE')
          AND NOT EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = c.oid)
    LOOP
        -- In one command: the trigger fires for it, too, and must find nothing left to do.
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', child);
    END LOOP;
END
$$;
COMMENT ON FUNCTION authz.close_children() IS
    'Enables and forces row security on partitions and inheriting tables of protected tables, as they come.';
REVOKE ALL ON FUNCTION authz.close_children() FROM PUBLIC;

CREATE EVENT TRIGGER authz_close_children ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE')
    EXECUTE FUNCTION authz.close_children();
ALTER EVENT TRIGGER authz_close_children ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER authz_close_children IS
    'Closes partitions and inheriting tables of protected tables for queries that name them, as they come.';

CREATE VIEW authz.protected_table AS
    SELECT t.resource_type, t.target,
           pg_catalog.pg_get_userbyid(c.relowner) AS owner,
           t.key_column, t.tenant_column, t.organization_column, t.team_column, t.project_column, t.owner_column,
           t.confidentiality_column, t.deleted_at_column, t.parent_type, t.parent_column,
           coalesce(c.relrowsecurity, false) AS row_security,
           coalesce(c.relforcerowsecurity, false) AS forced,
           ARRAY(SELECT pg_catalog.format('%s: %s', p.policyname, coalesce(p.qual, p.with_check))
                 FROM pg_catalog.pg_policies AS p
                 WHERE p.schemaname OPERATOR(pg_catalog.=) n.nspname AND p.tablename OPERATOR(pg_catalog.=) c.relname
                 ORDER BY p.policyname) AS policies,
           ARRAY(SELECT i.child FROM authz.children(t.target) AS i (child)
                 JOIN pg_catalog.pg_class AS k ON k.oid OPERATOR(pg_catalog.=) i.child
                 WHERE NOT (k.relrowsecurity AND k.relforcerowsecurity)) AS open_children,
           ARRAY(SELECT authz.missing_indexes(t.target, 2 OPERATOR(pg_catalog.+) pg_catalog.num_nonnulls(t.parent_column),
                 VARIADIC pg_catalog.array_remove(CASE WHEN t.parent_column IS NULL
                     THEN ARRAY[t.key_column, t.tenant_column, t.organization_column, t.team_column, t.project_column, t.owner_column]
                     ELSE ARRAY[t.key_column, t.tenant_column, t.parent_column] END, NULL))) AS missing_indexes
    FROM authz.resource_type AS t
    LEFT JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) t.target
    LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace;
COMMENT ON VIEW authz.protected_table IS
    'Each registered table with its columns, whether row security holds for its owner too, its policies, its partitions that can be read directly (call authz_protect again), and the indexes that it lacks.';
COMMENT ON COLUMN authz.protected_table.resource_type IS 'The resource type.';
COMMENT ON COLUMN authz.protected_table.target IS 'Its table.';
COMMENT ON COLUMN authz.protected_table.owner IS 'The table''s owner.';
COMMENT ON COLUMN authz.protected_table.key_column IS 'The key.';
COMMENT ON COLUMN authz.protected_table.tenant_column IS 'The tenant.';
COMMENT ON COLUMN authz.protected_table.organization_column IS 'The organization, if rows have one.';
COMMENT ON COLUMN authz.protected_table.team_column IS 'The team, if rows have one.';
COMMENT ON COLUMN authz.protected_table.project_column IS 'The project, if rows have one.';
COMMENT ON COLUMN authz.protected_table.owner_column IS 'The owner, if rows have one.';
COMMENT ON COLUMN authz.protected_table.confidentiality_column IS 'The level, if rows have one.';
COMMENT ON COLUMN authz.protected_table.deleted_at_column IS 'What is set or true on soft-deleted rows.';
COMMENT ON COLUMN authz.protected_table.parent_type IS 'The type of parents, for a child table.';
COMMENT ON COLUMN authz.protected_table.parent_column IS 'The parent''s key, for a child table.';
COMMENT ON COLUMN authz.protected_table.row_security IS 'Is row security enabled?';
COMMENT ON COLUMN authz.protected_table.forced IS 'Does it hold for the table''s owner, too?';
COMMENT ON COLUMN authz.protected_table.policies IS 'Every policy of the table, with its expression.';
COMMENT ON COLUMN authz.protected_table.open_children IS 'Partitions and inheriting tables that can be read directly, past the policies: opened by hand, or of another owner.';
COMMENT ON COLUMN authz.protected_table.missing_indexes IS 'Statements that create the indexes which row security would search.';
