//! In the name of somebody else (R20, R21, PITFALLS 11).

use crate::world::End::{Refused, Rows};
use crate::world::{MINE, World, then_look};

/// A session's setting as this library writes it, for somebody else.
macro_rules! boss {
    () => {
        r#"format('{"principal":"%s","tenant":null,"context":{},"expires":null}', ':boss')"#
    };
}

#[test]
fn another_identity() {
    World::new().resist(&[
        (
            "set_config of the session's setting",
            concat!("SELECT authz_principal(); SELECT set_config('authz.session', ", boss!(), ", false)"),
            Refused("42501"),
        ),
        (
            "set_config for the transaction",
            concat!("SELECT authz_principal(); SELECT set_config('authz.session', ", boss!(), ", true)"),
            Refused("42501"),
        ),
        (
            "set_config inside the guarded statement",
            concat!("SELECT title FROM case_record WHERE set_config('authz.session', ", boss!(), ", true) IS NOT NULL"),
            Refused("42501"),
        ),
        (
            "set_config in a sub-select that is computed first",
            concat!("SELECT title FROM case_record WHERE title <> (SELECT set_config('authz.session', ", boss!(), ", true))"),
            Refused("42501"),
        ),
        (
            "SET by dynamic SQL",
            concat!("SELECT authz_principal(); DO $$ BEGIN EXECUTE format('SET authz.session = %L', ", boss!(), "); END $$"),
            Refused("42501"),
        ),
        (
            "SET clause of a function",
            concat!("DO $$ BEGIN EXECUTE format('CREATE FUNCTION evil.f() RETURNS SETOF text LANGUAGE sql SET authz.session = %L AS %L', ",
                boss!(), ", 'SELECT title FROM public.case_record'); END $$; SELECT evil.f()"),
            Refused("42501"),
        ),
        (
            "ALTER ROLE SET",
            concat!("DO $$ BEGIN EXECUTE format('ALTER ROLE CURRENT_USER SET authz.session = %L', ", boss!(), "); END $$;
                SELECT title FROM case_record ORDER BY title"),
            Refused("42501"),
        ),
        ("SET SESSION AUTHORIZATION", "SET SESSION AUTHORIZATION {nina}", Refused("42501")),
        ("SET ROLE to a superuser", "SET ROLE postgres", Refused("42501")),
        (
            "SET ROLE to a role whose principal sees other rows",
            then_look!("SET ROLE {nina}"),
            MINE,
        ),
        (
            "SECURITY DEFINER function of another role",
            "SET ROLE {nina}; CREATE FUNCTION pg_temp.f() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER
                AS 'SELECT title FROM public.case_record ORDER BY title'; RESET ROLE; SELECT pg_temp.f()",
            MINE,
        ),
        ("row_security = off", then_look!("SET row_security = off"), Refused("42501")),
        (
            "session_replication_role",
            "SET session_replication_role = replica",
            Refused("42501"),
        ),
        ("authz_set_session", "SELECT authz_set_session(':boss')", Refused("42501")),
        (
            "authz_set_session by a rule of its own",
            "CREATE VIEW evil.v AS SELECT authz_set_session(':boss')::text; SELECT * FROM evil.v",
            Refused("42501"),
        ),
        (
            "a token of algorithm none",
            r#"SELECT authz_set_session_token(translate(encode('{"alg":"none","typ":"JWT"}', 'base64'), '=+/', '-_') || '.' ||
                 translate(encode(convert_to(format('{"sub":"%s","exp":99999999999}', ':boss'), 'UTF8'), 'base64'), E'=+/\n', '-_') || '.')"#,
            Refused("28000"),
        ),
        ("an empty token", "SELECT authz_set_session_token('')", Refused("28000")),
        ("no token", "SELECT authz_set_session_token(NULL)", Refused("28000")),
        (
            "an enormous token",
            "SELECT authz_set_session_token(repeat('a', 20000000) || '.' || repeat('b', 20000000) || '.c')",
            Refused("28000"),
        ),
        (
            "binding one's role to another principal",
            "UPDATE authz.principal SET db_role = CURRENT_USER WHERE principal_id = ':boss'",
            Refused("42501"),
        ),
        (
            "giving oneself a role",
            "INSERT INTO authz.principal_role_assignment (principal_id, role_code, scope_type) VALUES (':mallory', 'boss', 'platform')",
            Refused("42501"),
        ),
        ("reading who has what", "SELECT * FROM authz.principal_role_assignment", Refused("42501")),
        ("reading the tokens' keys", "SELECT * FROM authz.signing_key", Refused("42501")),
        ("reading the session's setting", "SELECT authz_tenant(); SELECT current_setting('authz.session')", Refused("42501")),
        ("SHOW of the session's setting", "SELECT authz_tenant(); SHOW authz.session", Refused("42501")),
        (
            "the setting in pg_settings",
            "SELECT setting FROM pg_settings WHERE name = 'authz.session'",
            Rows(&[]),
        ),
        ("a setting of a like name", "SELECT authz_tenant(); SET authz.sessions = 'x'", Refused("42602")),
        (
            "clearing the session",
            "SELECT authz_clear_session(); SELECT title FROM case_record ORDER BY title",
            Rows(&["", "mine", "mine too"]),
        ),
        (
            "set_config before the library is there",
            concat!("SELECT set_config('authz.session', ", boss!(), ", false) IS NULL; SELECT title FROM case_record ORDER BY title"),
            Rows(&["f", "mine", "mine too"]),
        ),
        (
            "SET before the library is there, then parallel workers that load it",
            concat!("DO $$ BEGIN EXECUTE format('SET authz.session = %L', ", boss!(), "); END $$;
                CREATE FUNCTION evil.w() RETURNS bigint LANGUAGE plpgsql PARALLEL SAFE AS 'BEGIN RETURN (SELECT count(*) FROM public.case_record); END';
                SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0;
                SET LOCAL parallel_leader_participation = off; SET LOCAL {force_parallel} = on; SELECT evil.w()"),
            Rows(&["2"]),
        ),
        ("RESET ALL", then_look!("RESET ALL"), MINE),
        ("RESET of the setting", "SELECT authz_tenant(); RESET authz.session", Refused("42501")),
        ("a cache of no size", then_look!("SET authz.cache_size = 256"), MINE),
        ("a role of the principal's name", "CREATE ROLE boss LOGIN", Refused("42501")),
        ("renaming one's role", "ALTER ROLE {mallory} RENAME TO {mallory}_boss", Refused("0A000")),
        (
            "claims of its own in the context of a question",
            "SELECT authz_can(authz_principal(), 'case.view', ':sealed'::uuid, ':acme', json_build_object('principal', ':boss', 'mfa', true)::jsonb)",
            Rows(&["f"]),
        ),
    ]);
}
