-- For each function that changes authority one that takes many rows, made from its signature: authz_share has
-- authz_share_many. A row is a JSON object whose keys are the function's argument names. Each row stands for itself: one
-- that is refused leaves nothing behind and does not keep the others from being done. What is no fault of the row (a
-- transaction that cannot write, a serialization failure, a deadlock, a full disk, a cancellation) is an error for all.
DO $$
DECLARE
    f record;
BEGIN
    FOR f IN
        WITH argument AS (
            SELECT p.oid, p.proname, a.name, a.n,
                   pg_catalog.format('%I => CASE WHEN r ? %L THEN %s ELSE %s END', a.name, a.name,
                          CASE WHEN p.proargtypes[a.n - 1] = 'jsonb'::pg_catalog.regtype
                               THEN pg_catalog.format('nullif(r -> %L, ''null'')', a.name)
                               ELSE pg_catalog.format('(r ->> %L)::%s', a.name, pg_catalog.format_type(p.proargtypes[a.n - 1], NULL)) END,
                          coalesce(pg_catalog.pg_get_function_arg_default(p.oid, a.n::integer), 'NULL')) AS passed
            FROM pg_catalog.pg_proc AS p
            CROSS JOIN LATERAL pg_catalog.unnest(p.proargnames) WITH ORDINALITY AS a (name, n)
            WHERE p.pronamespace = '@extschema@'::pg_catalog.regnamespace
              AND p.proname IN (
                  'authz_add_member', 'authz_suspend_member', 'authz_resume_member', 'authz_revoke_member',
                  'authz_join_team', 'authz_leave_team', 'authz_set_principal_status',
                  'authz_define_role', 'authz_inherit_role', 'authz_disinherit_role', 'authz_define_permission',
                  'authz_imply_permission', 'authz_allow_role', 'authz_disallow_role', 'authz_assign_role',
                  'authz_revoke_role', 'authz_share', 'authz_unshare', 'authz_deny', 'authz_remove_rule',
                  'authz_transfer_ownership')
        ), form AS (
            SELECT oid, proname, count(*) AS arguments,
                   pg_catalog.format(
                       E'IF r - %L::text[] = ''{}'' THEN\n                    made := @extschema@.%I(%s)::text;',
                       pg_catalog.array_agg(name ORDER BY n), proname, pg_catalog.string_agg(passed, ', ' ORDER BY n)) AS call,
                   pg_catalog.string_agg(name, ', ' ORDER BY n) AS names
            FROM argument GROUP BY oid, proname
        )
        SELECT proname, pg_catalog.string_agg(call, E'\n                ELS' ORDER BY arguments) AS calls,
               pg_catalog.string_agg(names, '; or ' ORDER BY arguments) AS names
        FROM form GROUP BY proname
    LOOP
        EXECUTE pg_catalog.format($f$
            CREATE FUNCTION @extschema@.%1$I(rows jsonb)
            RETURNS TABLE (row_number bigint, id text, sqlstate text, message text)
            LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
            DECLARE
                r      jsonb;
                n      bigint := 0;
                made   text;
                fault  text;
                detail text;
            BEGIN
                IF rows IS NULL OR jsonb_typeof(rows) <> 'array' THEN
                    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
                        MESSAGE = 'rows is no JSON array', HINT = 'Pass [{...}, {...}].';
                END IF;
                FOR r IN SELECT e.value FROM jsonb_array_elements(rows) AS e LOOP
                    n := n + 1;
                    made := NULL;
                    BEGIN
                        IF jsonb_typeof(r) <> 'object' THEN
                            RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'the row is no JSON object';
                        END IF;
                        %2$s
                        ELSE
                            RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
                                MESSAGE = 'the row has keys that are no arguments', DETAIL = %3$L;
                        END IF;
                        RETURN QUERY SELECT n, nullif(made, ''), NULL::text, NULL::text;
                    EXCEPTION WHEN OTHERS THEN
                        IF SQLSTATE ~ '^(0A|40|53|54|57|58|XX)' THEN
                            RAISE;
                        END IF;
                        GET STACKED DIAGNOSTICS fault = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
                        RETURN QUERY SELECT n, NULL::text, SQLSTATE, concat_ws(': ', fault, nullif(detail, ''));
                    END;
                END LOOP;
            END
            $body$ $f$, f.proname || '_many', f.calls, 'Arguments are ' || f.names || '.');
        EXECUTE pg_catalog.format('COMMENT ON FUNCTION @extschema@.%I(jsonb) IS %L', f.proname || '_many',
            pg_catalog.format('%s for each row of a JSON array; sqlstate and message say of a row that it was refused, and why.',
                              f.proname));
    END LOOP;
END
$$;
