//! However many changes have been committed between two checks, the second one answers by all of them: a few are looked at one by
//! one, more by what each entry depends on, and of too many PostgreSQL says only that there were some. (R19, PITFALLS 6)

use authz_tests::make::{self, id};
use authz_tests::{Db, Start, chance, execute, value};
use postgres::Client;
use rand::rngs::StdRng;
use rand::seq::{IndexedMutRandom, IndexedRandom};
use rand::{Rng, SeedableRng};
use uuid::Uuid;

/// Members of acme whose changes are nobody's concern.
const CROWD: i32 = 300;

/// Bob may view the case `affair`, Alice not yet; there is a crowd besides.
fn world(start: Start) -> (Db, Client) {
    let db = Db::with(start);
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    make::case(&mut c, acme, "affair");
    make::role(&mut c, "viewer", &["case.view"]);
    make::role(&mut c, "crowd", &["case.comment"]);
    make::member(&mut c, acme, "alice");
    make::member(&mut c, acme, "bob");
    make::assign(&mut c, acme, id("bob"), "viewer", "tenant", acme);
    execute(
        &mut c,
        &format!(
            "INSERT INTO authz.principal (principal_id, principal_type, display_name, status)
             SELECT md5('m' || n)::uuid, 'human', 'm' || n, 'active' FROM generate_series(1, {CROWD}) AS n;
             INSERT INTO authz.tenant_membership (tenant_id, principal_id, status, member_kind)
             SELECT '{acme}', md5('m' || n)::uuid, 'active', 'member' FROM generate_series(1, {CROWD}) AS n"
        ),
    );
    (db, c)
}

/// Changes so many of the crowd, which sends a message for each.
fn noise(c: &mut Client, many: i32) {
    execute(
        c,
        &format!(
            "INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
             SELECT '{}', md5('m' || n)::uuid, 'crowd', 'case', gen_random_uuid() FROM generate_series(1, {many}) AS n",
            id("acme")
        ),
    );
}

fn can(c: &mut Client, name: &str) -> bool {
    make::can(c, id(name), "case.view", id("affair"))
}

fn received(c: &mut Client) -> i64 {
    value(c, "SELECT invalidations FROM authz_stats()", &[])
}

#[test]
fn a_revocation_among_any_number_of_messages_is_seen() {
    let (db, mut c) = world(Start::Fixture);
    let mut reader = db.connect();
    let mut assignment = None;
    for many in [0, 1, 29, 30, 31, 32, 33, 62, 63, 64, 65, CROWD] {
        for before in [0, many / 2, many] {
            for then in [true, false] {
                // Bob's entry is looked at before, Alice's not since the last change of hers.
                assert!(can(&mut reader, "bob"));
                let received_before = received(&mut reader);
                noise(&mut c, before);
                match assignment.take() {
                    Some(given) => make::revoke(&mut c, given),
                    None => {
                        assignment = Some(make::assign(
                            &mut c,
                            id("acme"),
                            id("alice"),
                            "viewer",
                            "tenant",
                            id("acme"),
                        ))
                    }
                }
                noise(&mut c, many - before);
                assert_eq!(
                    can(&mut reader, "alice"),
                    then,
                    "with {many} others, {before} of them before it"
                );
                assert!(can(&mut reader, "bob"));
                if many <= 65 {
                    assert_eq!(received(&mut reader) - received_before, i64::from(many) + 1);
                }
            }
        }
    }
}

/// What has not been asked about since long ago; and what is about everything: more messages than a backend is kept.
#[test]
fn an_entry_that_was_not_used_for_long_is_not_trusted() {
    let (db, mut c) = world(Start::Fixture);
    let mut readers = [db.connect(), db.connect()];
    for turn in 0..3 {
        let given = make::assign(&mut c, id("acme"), id("alice"), "viewer", "tenant", id("acme"));
        for reader in &mut readers {
            assert!(can(reader, "alice") && can(reader, "bob"));
        }
        make::revoke(&mut c, given);
        for n in 0..40 {
            noise(&mut c, if turn == 2 { 250 } else { n });
            // One of them receives as it comes, the other all at once; neither looks at Alice.
            assert!(can(&mut readers[0], "bob"));
        }
        for reader in &mut readers {
            assert!(!can(reader, "alice") && can(reader, "bob"), "turn {turn}");
        }
    }
}

const PEOPLE: [&str; 6] = ["p0", "p1", "p2", "p3", "p4", "p5"];

/// A change of somebody's access: of a principal, a team, a role, a tenant, the model, or a table.
fn change(rng: &mut StdRng) -> String {
    let person = id(PEOPLE.choose(rng).expect("a person"));
    let (acme, team, affair) = (id("acme"), id("team"), id("affair"));
    let now = "statement_timestamp()";
    match rng.random_range(0..14) {
        0 | 1 => format!(
            "INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
             VALUES ('{acme}', '{person}', 'fickle', 'tenant', '{acme}') ON CONFLICT DO NOTHING"
        ),
        2 => format!("UPDATE authz.principal_role_assignment SET revoked_at = {now} WHERE revoked_at IS NULL AND principal_id = '{person}'"),
        3 => format!(
            "UPDATE authz.principal SET status = CASE status WHEN 'active' THEN 'suspended' ELSE 'active' END WHERE principal_id = '{person}'"
        ),
        4 => format!(
            "INSERT INTO authz.team_membership_history (tenant_id, team_id, principal_id)
             SELECT '{acme}', '{team}', '{person}'
              WHERE NOT EXISTS (SELECT FROM authz.team_membership_history WHERE principal_id = '{person}' AND valid_until IS NULL)"
        ),
        5 => format!("UPDATE authz.team_membership_history SET valid_until = {now} WHERE valid_until IS NULL AND principal_id = '{person}'"),
        6 => format!(
            "INSERT INTO authz.resource_access_grant (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code)
             SELECT '{acme}', 'case', '{affair}', 'team', '{team}', 'case.view'
              WHERE NOT EXISTS (SELECT FROM authz.resource_access_grant WHERE grantee_id = '{team}' AND revoked_at IS NULL)"
        ),
        7 => format!("UPDATE authz.resource_access_grant SET revoked_at = {now} WHERE revoked_at IS NULL AND grantee_id = '{team}'"),
        8 => "INSERT INTO authz.role_permission (role_code, permission_code) SELECT 'fickle', 'case.view'
              WHERE NOT EXISTS (SELECT FROM authz.role_permission WHERE role_code = 'fickle' AND valid_until IS NULL)".to_owned(),
        9 => format!("UPDATE authz.role_permission SET valid_until = {now} WHERE role_code = 'fickle' AND valid_until IS NULL"),
        10 => format!(
            "INSERT INTO authz.resource_access_rule (tenant_id, resource_type, resource_id, effect, grantee_type)
             SELECT '{acme}', 'case', '{affair}', 'deny', 'any'
              WHERE NOT EXISTS (SELECT FROM authz.resource_access_rule WHERE grantee_type = 'any' AND valid_until IS NULL)"
        ),
        11 | 12 => format!("UPDATE authz.resource_access_rule SET valid_until = {now} WHERE grantee_type = 'any' AND valid_until IS NULL"),
        _ => "ALTER TABLE public.case_record ADD COLUMN more int; ALTER TABLE public.case_record DROP COLUMN more".to_owned(),
    }
}

/// Who may view the affair, by the engine and by the rule as SQL has it.
const QUESTION: &str = "
    SELECT coalesce(string_agg(p::text, ', '), '')
      FROM unnest($1::uuid[]) AS p, authz_can(p, 'case.view', $2::uuid) AS e
     WHERE e <> (oracle.decide(p, 'case.view', $2::uuid::text)).allowed";

/// How many checks of readers were allowed.
fn fifty_rounds(seed: u64, rng: &mut StdRng) -> u64 {
    let (db, mut c) = world(Start::Oracle);
    let acme = id("acme");
    make::role(&mut c, "fickle", &["case.view"]);
    make::team(&mut c, acme, "team", None, None);
    for person in PEOPLE {
        make::member(&mut c, acme, person);
    }
    let people: Vec<Uuid> = PEOPLE.iter().map(|p| id(p)).collect();
    let mut writers = [db.connect(), db.connect(), c];
    let mut readers = [db.connect(), db.connect(), db.connect()];
    let mut done = Vec::new();
    let mut allowed = 0;
    for _ in 0..50 {
        for _ in 0..rng.random_range(0..3) {
            let writer = writers.choose_mut(rng).expect("a writer");
            let sql = change(rng);
            let end = if rng.random_bool(0.2) { "ROLLBACK" } else { "COMMIT" };
            execute(writer, &format!("BEGIN; {sql}"));
            if rng.random_bool(0.3) {
                assert_eq!(
                    value::<String>(writer, QUESTION, &[&people, &id("affair")]),
                    "",
                    "inside of {sql}"
                );
            }
            execute(writer, end);
            done.push(format!("{sql}; {end}"));
            let many = *[0, 1, 5, 28, 30, 31, 32, 33, 60, 100].choose(rng).expect("a number");
            noise(writer, many);
        }
        for reader in &mut readers {
            // Some let more pass by.
            if rng.random_bool(0.5) {
                let wrong: String = value(reader, QUESTION, &[&people, &id("affair")]);
                assert_eq!(wrong, "", "AUTHZ_SEED={seed}, after: {done:#?}");
                let may = people
                    .iter()
                    .filter(|p| make::can(reader, **p, "case.view", id("affair")));
                allowed += may.count() as u64;
            }
        }
    }
    allowed
}

#[test]
fn every_check_between_changes_at_random_is_the_oracles() {
    chance::until(2, 50, |seed| fifty_rounds(seed, &mut StdRng::seed_from_u64(seed)));
}
