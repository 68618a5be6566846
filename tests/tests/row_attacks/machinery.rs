//! What the extension itself offers: its functions, plans that were made before (R20, R21, PITFALLS 25).

use crate::leak::with_leaks;
use crate::world::End::{Refused, Rows};
use crate::world::{Attempt, MINE, World, text, then_look};
use authz_tests::make::{self, id};
use authz_tests::{execute, report};
use postgres::{Client, SimpleQueryMessage};

#[test]
fn calling_the_machinery() {
    let mut world = with_leaks();
    let attempts: [Attempt; 28] = [
        ("authz.via", "SELECT authz.via('case.view', 'tenant', ':globex'::uuid)", Refused("42501")),
        ("authz.sees_all", "SELECT authz.sees_all('case.view', false)", Refused("42501")),
        ("authz.reach_uuid", "SELECT authz.reach_uuid('case.view', 'tenant')", Refused("42501")),
        ("authz.row_exact", "SELECT authz.row_exact('case.view', ':foreign'::uuid, ':globex', NULL, NULL, NULL, NULL, NULL, false, NULL, true, false)", Refused("42501")),
        ("authz.plan_support", "SELECT authz.plan_support(NULL)", Refused("42501")),
        ("authz.plan_support as a support function of one's own", "CREATE FUNCTION evil.s(text, uuid) RETURNS boolean LANGUAGE sql SUPPORT authz.plan_support AS 'SELECT true'", Refused("42501")),
        ("an operator of authz.via", "CREATE OPERATOR evil.~> (LEFTARG = text, RIGHTARG = uuid, FUNCTION = authz.via)", Refused("42501")),
        ("a trigger function", "CREATE TABLE evil.x (a int); CREATE TRIGGER t AFTER INSERT ON evil.x FOR EACH ROW EXECUTE FUNCTION authz.authority_changed('model')", Refused("42501")),
        ("authz.missing_indexes", "SELECT authz.missing_indexes('case_record', 1, 'case_id')", Refused("42501")),
        ("authz.protected_table", "SELECT * FROM authz.protected_table", Refused("42501")),
        ("authz_row with another row's places", "SELECT title FROM case_record WHERE authz_row('case.view', case_id, ':acme', team => ':red', confidentiality => 'normal') ORDER BY title", MINE),
        ("authz_row with no places", "SELECT authz_row('case.view', ':foreign'::uuid, ':globex')", Rows(&["f"])),
        ("authz_row with NULLs", "SELECT authz_row(NULL, NULL::uuid, NULL), authz_row('case.view', NULL::uuid, NULL), authz_row('case.view', ':mine'::uuid, NULL), authz_row(NULL, ':mine'::uuid, ':acme', team => ':red')", Rows(&["f|f|f|f"])),
        ("authz_row of a deletion that is unknown", "SELECT authz_row('case.view', ':mine'::uuid, ':acme', team => ':red', confidentiality => 'normal', deleted => NULL)", Rows(&["f"])),
        ("authz_row with a hidden and an absent parent", "SELECT authz_row('document.view', ':n'::uuid, ':acme', confidentiality => 'normal', parent => ':blue case'),
            authz_row('document.view', ':n'::uuid, ':acme', confidentiality => 'normal', parent => ':absent')", Rows(&["f|f"])),
        ("authz_row with parents that are no keys", "SELECT authz_row('document.view', ':n'::uuid, ':acme', confidentiality => 'normal', parent => p) FROM unnest(ARRAY['', 'x', '''; DROP TABLE case_record', repeat('a', 1000000)]) p", Rows(&["f", "f", "f", "f"])),
        ("authz_can for hidden and absent rows", "SELECT authz_can('case.view', ':foreign'::uuid), authz_can('case.view', ':absent'::uuid), authz_can('case.view', ':sealed'::uuid), authz_can('case.view', ':denied'::uuid)", Rows(&["f|f|f|f"])),
        ("authz_can for hidden and absent numbers", "SELECT n, authz_can('ticket.view', n::bigint) FROM generate_series(2, 4) n", Rows(&["2|f", "3|f", "4|f"])),
        ("authz_can_many for hidden and absent rows", "SELECT allowed FROM authz_can_many(authz_principal(), 'case.view', ARRAY[':foreign', ':absent', ':sealed']::uuid[])", Rows(&["f", "f", "f"])),
        ("authz_can with an enormous key", "SELECT authz_can('case.view', repeat('x', 50000000)), authz_can('ticket.view', repeat('9', 1000000)), authz_can('ticket.view', 9223372036854775807)", Rows(&["f|f|f"])),
        ("authz_row with an enormous key", "SELECT authz_row('ticket.view', repeat('x', 50000000), ':acme', team => ':blue')", Rows(&["f"])),
        ("authz_can with NULLs", "SELECT authz_can(NULL, NULL::uuid), authz_can('case.view', NULL::uuid), authz_can(NULL::uuid, 'case.view', ':mine'::uuid)", Rows(&["f|f|f"])),
        ("authz_can with a bomb of nested JSON", "SELECT authz_can(authz_principal(), 'case.view', ':sealed'::uuid, NULL, (repeat('{\"a\":', 1000) || '1' || repeat('}', 1000))::jsonb)", Refused("22023")),
        ("a permission that does not exist", "SELECT authz_can('case.everything', ':mine'::uuid)", Refused("42704")),
        ("authz_explain", "SELECT authz_explain(authz_principal(), 'case.view', ':foreign'::uuid)", Refused("42501")),
        ("authz_permissions on hidden rows", "SELECT permission FROM authz_permissions(authz_principal(), ':foreign'::uuid, 'case', ':globex') UNION ALL
            SELECT permission FROM authz_permissions(authz_principal(), ':blue case'::uuid, 'case', ':acme')", Rows(&[])),
        ("a policy function in a table of one's own", "CREATE TABLE evil.fake (case_id uuid, tenant_id uuid); INSERT INTO evil.fake VALUES (':foreign', ':globex'), (':mine', ':acme');
            SELECT authz_can('case.view', case_id) FROM evil.fake ORDER BY 1", Rows(&["f", "t"])),
        ("authz_row in a table of one's own", "CREATE TABLE evil.fake2 (case_id uuid, tenant_id uuid, team uuid); INSERT INTO evil.fake2 VALUES (':foreign', ':globex', ':red'), (':sealed', ':acme', ':blue');
            SELECT case_id FROM evil.fake2 WHERE authz_row('case.view', case_id, tenant_id, team => team, confidentiality => 'normal')", Rows(&[])),
    ];
    world.resist(&attempts);
}

#[test]
fn the_machinery_in_the_hands_of_one_who_may_use_the_schema() {
    let mut world = with_leaks();
    let mallory = world.mallory.clone();
    execute(&mut world.admin, &format!("GRANT USAGE ON SCHEMA authz TO {mallory}"));
    world.resist(&[
        ("plan_support without a planner", "SELECT authz.plan_support(NULL)", Refused("42883")),
        ("plan_support for a function of one's own", "CREATE FUNCTION evil.s(text, uuid) RETURNS boolean LANGUAGE sql SUPPORT authz.plan_support AS 'SELECT true'", Refused("42501")),
        ("via as a condition", then_look!("SELECT count(*) FROM public.case_record WHERE authz.via('case.view', 'tenant', tenant_id)"), Rows(&["0", "mine", "mine too"])),
        ("reaches of one's own", "SELECT authz.reach_uuid('case.view', 'team') = ARRAY[':red'::uuid], authz.reach_uuid('case.view', 'tenant') = '{}'", Rows(&["t|t"])),
        ("reaches of odd arguments", "SELECT authz.reach_uuid(NULL, NULL), authz.reach_int4('case.view', 'x'), authz.reach_text(NULL, 'key'), authz.via(NULL, NULL, NULL::uuid)", Rows(&["{}|{}|{}|f"])),
        ("sees_all", "SELECT DISTINCT authz.sees_all(p, b)::text IN ('f', '0', 'false') FROM (VALUES ('case.view'), ('case.edit'), (NULL)) v (p), (VALUES (true), (false), (NULL)) w (b)", Rows(&["t"])),
        ("the reach of the principal", "SELECT authz.reach_uuid('case.view', 'principal''s team') = ARRAY[':red'::uuid], authz.reach_uuid('case.view', 'principal''s tenant') = '{}', authz.via('case.view', 'principal''s tenant', ':globex'::uuid)", Rows(&["t|t|f"])),
        ("row_condition with a forged row", "SELECT authz.row_condition('case.view', ':foreign'::uuid, ':globex', NULL, ':green', NULL, NULL, 'normal', false, NULL, r, false) FROM (VALUES (1, 'alpha')) r (id, title)", Rows(&["f"])),
        ("row_condition with what is no row of the table", "SELECT authz.row_condition('case.view', ':mine'::uuid, ':acme', NULL, ':red', NULL, NULL, 'normal', false, NULL, NULL, false), authz.row_condition('case.view', ':mine'::uuid, ':globex', NULL, ':red', NULL, NULL, 'normal', false, NULL, ROW(), false)", Rows(&["f|f"])),
        ("row_exact with another team", "SELECT authz.row_exact('case.view', ':foreign'::uuid, ':globex', NULL, ':green', NULL, NULL, 'normal', false, NULL, true, false)", Rows(&["f"])),
        ("a trigger function", "CREATE TABLE evil.x (a int); CREATE TRIGGER t AFTER INSERT ON evil.x FOR EACH ROW EXECUTE FUNCTION authz.authority_changed('model')", Refused("42501")),
        ("a trigger that checks keys", "CREATE TABLE evil.y (a int); CREATE TRIGGER t AFTER INSERT ON evil.y FOR EACH ROW EXECUTE FUNCTION authz.check_key()", Refused("42501")),
        ("the protected tables", "SELECT * FROM authz.protected_table", Refused("42501")),
        ("the authority tables", "SELECT * FROM authz.principal", Refused("42501")),
        ("changing authority", "INSERT INTO authz.resource_access_grant (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code)
            VALUES (':acme', 'case', ':sealed', 'principal', ':mallory', 'case.view')", Refused("42501")),
        ("an object in the schema", "CREATE FUNCTION authz.via(text, text, text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'", Refused("42501")),
    ]);
}

/// Outside of a list of attempts, because it takes two: Mallory's plans are made while she is allowed, and kept.
#[test]
fn a_plan_from_before_the_revocation() {
    let mut world = World::new();
    let mut mallory = world.db.connect_as(&world.mallory);
    execute(
        &mut mallory,
        "SET plan_cache_mode = force_generic_plan;
         PREPARE all_cases AS SELECT title FROM case_record ORDER BY title;
         PREPARE by_key (uuid) AS SELECT title FROM case_record WHERE case_id = $1",
    );
    let titles = |c: &mut Client, sql: &str| -> Vec<String> {
        c.simple_query(sql)
            .unwrap_or_else(|e| panic!("{}", report(&e)))
            .iter()
            .filter_map(|m| match m {
                SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            })
            .collect()
    };
    let by_key = text("EXECUTE by_key (':mine')");
    assert_eq!(titles(&mut mallory, "EXECUTE all_cases"), ["mine", "mine too"]);
    assert_eq!(titles(&mut mallory, &by_key), ["mine"]);
    // In a transaction that has begun before, and of an isolation that keeps its snapshot.
    execute(&mut mallory, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(titles(&mut mallory, "EXECUTE all_cases"), ["mine", "mine too"]);
    execute(
        &mut world.admin,
        &text(
            "UPDATE authz.principal_role_assignment SET revoked_at = statement_timestamp()
              WHERE principal_id = ':mallory' AND revoked_at IS NULL",
        ),
    );
    assert_eq!(titles(&mut mallory, "EXECUTE all_cases"), [""; 0]);
    assert_eq!(titles(&mut mallory, &by_key), [""; 0]);
    execute(&mut mallory, "COMMIT");
    assert_eq!(titles(&mut mallory, "EXECUTE all_cases"), [""; 0]);
    // Back again, for one case only.
    let acme = id("acme");
    make::grant(
        &mut world.admin,
        acme,
        ("case", id("mine too")),
        ("principal", &id("mallory").to_string()),
        "case.view",
    );
    assert_eq!(titles(&mut mallory, "EXECUTE all_cases"), ["mine too"]);
    assert_eq!(titles(&mut mallory, &by_key), [""; 0]);
    // A lock, and a deny: each for all plans at once.
    make::rule(
        &mut world.admin,
        acme,
        "deny",
        5,
        ("tenant", Some(acme)),
        ("any", None),
        None,
    );
    assert_eq!(titles(&mut mallory, "EXECUTE all_cases"), [""; 0]);
}
