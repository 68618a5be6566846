//! Two at once, and one whose authority ends meanwhile (R10, PITFALLS 39).

use authz_tests::make::{can, id};
use authz_tests::office::{Office, made, with_ids};
use authz_tests::{execute, refused, value};
use postgres::Client;
use std::sync::{Arc, Barrier};
use std::thread;

/// Runs the calls at once, each in a session of somebody; how they ended.
fn at_once(office: &Office, calls: &[(&'static str, String)]) -> Vec<Result<(), String>> {
    let start = Arc::new(Barrier::new(calls.len()));
    let threads: Vec<_> = calls
        .iter()
        .map(|(who, call)| {
            let (mut c, call, start) = (office.as_(who), with_ids(call), start.clone());
            thread::spawn(move || {
                start.wait();
                c.batch_execute(&format!("SELECT {call}"))
                    .map_err(|e| e.code().map_or_else(|| e.to_string(), |code| code.code().to_owned()))
            })
        })
        .collect();
    threads.into_iter().map(|t| t.join().unwrap()).collect()
}

/// Two at once: one does it, the other is told that it is done (R19, PITFALLS 39).
#[test]
fn two_at_once_do_it_once() {
    let office = Office::open();
    let mut owner = office.owner();
    for round in 0..10 {
        for call in [
            "authz_assign_role('{alice}', 'viewer', '{acme}')",
            "authz_revoke_role('{alice}', 'viewer', '{acme}')",
            "authz_join_team('{alice}', '{north}', '{acme}')",
            "authz_share('case', '{affair}', 'case.view', 'principal', '{alice}', '{acme}')",
            "authz_leave_team('{alice}', '{north}', '{acme}')",
            "authz_suspend_member('{alice}', '{acme}', 'r')",
            "authz_revoke_member('{alice}', '{acme}', 'r')",
            "authz_add_member('{alice}', '{acme}')",
        ] {
            let calls: Vec<_> = (0..4).map(|_| ("tina", call.to_owned())).collect();
            let outcomes = at_once(&office, &calls);
            let done = outcomes.iter().filter(|o| o.is_ok()).count();
            assert_eq!(done, 1, "round {round}: {call}: {outcomes:?}");
            for outcome in outcomes.iter().filter_map(|o| o.as_ref().err()) {
                assert!(
                    ["23505", "23P01", "55000", "42501"].contains(&outcome.as_str()),
                    "{call}: {outcome}"
                );
            }
        }
        assert_eq!(
            open_of_alice(&mut owner),
            0,
            "round {round}: what the revoked membership carried"
        );
    }
}

/// How many assignments, grants and team memberships of Alice are in force, or will be.
fn open_of_alice(owner: &mut Client) -> i64 {
    value(
        owner,
        "SELECT (SELECT count(*) FROM authz.principal_role_assignment WHERE principal_id = $1 AND active_until > now())
              + (SELECT count(*) FROM authz.resource_access_grant WHERE grantee_principal_id = $1 AND active_until > now())
              + (SELECT count(*) FROM authz.team_membership_history WHERE principal_id = $1 AND active_until > now())",
        &[&id("alice")],
    )
}

/// A membership that ends while something is given to it takes that with it: nothing comes back to life later.
#[test]
fn giving_and_revoking_at_once_leave_nothing_open() {
    let office = Office::open();
    let mut owner = office.owner();
    for round in 0..25 {
        let outcomes = at_once(
            &office,
            &[
                ("tina", "authz_assign_role('{alice}', 'viewer', '{acme}')".to_owned()),
                ("tina", "authz_revoke_member('{alice}', '{acme}', 'r')".to_owned()),
                ("tina", "authz_join_team('{alice}', '{north}', '{acme}')".to_owned()),
                (
                    "tina",
                    "authz_share('case', '{affair}', 'case.view', 'principal', '{alice}', '{acme}')".to_owned(),
                ),
            ],
        );
        assert_eq!(outcomes[1], Ok(()), "round {round}");
        made(&mut office.as_("tina"), "authz_add_member('{alice}', '{acme}')");
        assert!(
            !can(&mut owner, id("alice"), "case.view", id("affair")),
            "round {round}: {outcomes:?}"
        );
        assert_eq!(open_of_alice(&mut owner), 0, "round {round}: {outcomes:?}");
    }
}

/// Whoever has lost the authority cannot use it any more, also in a transaction that was open before (R19).
#[test]
fn a_revoked_administrator_changes_nothing_more() {
    let office = Office::open();
    let mut tina = office.as_("tina");
    let mut owner = office.owner();
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        execute(
            &mut tina,
            &format!("BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM pg_class"),
        );
        execute(
            &mut owner,
            &with_ids("UPDATE authz.tenant_membership SET status = 'suspended' WHERE principal_id = '{tina}'"),
        );
        refused(
            &mut tina,
            &with_ids("SELECT authz_assign_role('{alice}', 'viewer', '{acme}')"),
            "42501",
            &[],
        );
        execute(&mut tina, "ROLLBACK");
        execute(
            &mut owner,
            &with_ids("UPDATE authz.tenant_membership SET status = 'active' WHERE principal_id = '{tina}'"),
        );
    }
}
