//! Each change counts from its instant on and not before, whatever has changed since and whatever type the key is of (R18).

use crate::{can_at, mark};
use authz_tests::make::{self, id};
use authz_tests::{Db, execute, refused, refused_with_hint, value};
use serde_json::Value;
use uuid::Uuid;

#[test]
fn r18_each_change_is_seen_from_its_instant_on_and_not_before() {
    let db = Db::new();
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    make::case(&mut c, acme, "affair");
    make::role(&mut c, "viewer", &["case.view"]);
    let before = mark(&mut c);
    make::member(&mut c, acme, "alice");
    let joined = mark(&mut c);
    let assignment = make::assign(&mut c, acme, id("alice"), "viewer", "tenant", acme);
    let assigned = mark(&mut c);
    let suspend = |status: &str| {
        format!(
            "UPDATE authz.principal SET status = '{status}' WHERE principal_id = '{}'",
            id("alice")
        )
    };
    execute(&mut c, &suspend("suspended"));
    let suspended = mark(&mut c);
    execute(&mut c, &suspend("active"));
    let back = mark(&mut c);
    make::rule(
        &mut c,
        acme,
        "deny",
        1,
        ("case", Some(id("affair"))),
        ("any", None),
        None,
    );
    let denied = mark(&mut c);
    execute(
        &mut c,
        "UPDATE authz.resource_access_rule SET valid_until = clock_timestamp()",
    );
    let lifted = mark(&mut c);
    execute(
        &mut c,
        &format!(
            "UPDATE authz.tenant_membership SET status = 'suspended' WHERE principal_id = '{}'",
            id("alice")
        ),
    );
    let outside = mark(&mut c);
    execute(
        &mut c,
        &format!(
            "UPDATE authz.tenant_membership SET status = 'active' WHERE principal_id = '{}'",
            id("alice")
        ),
    );
    let inside = mark(&mut c);
    execute(&mut c, "UPDATE authz.tenant SET status = 'suspended'");
    let closed = mark(&mut c);
    execute(&mut c, "UPDATE authz.tenant SET status = 'active'");
    let open = mark(&mut c);
    make::revoke(&mut c, assignment);
    let revoked = mark(&mut c);
    let expected = [
        (&before, false),
        (&joined, false),
        (&assigned, true),
        (&suspended, false),
        (&back, true),
        (&denied, false),
        (&lifted, true),
        (&outside, false),
        (&inside, true),
        (&closed, false),
        (&open, true),
        (&revoked, false),
    ];
    for (at, allowed) in expected {
        assert_eq!(can_at(&mut c, "alice", "case.view", "affair", at), allowed, "at {at}");
        let explained: Value = value(
            &mut c,
            "SELECT authz_explain($1::uuid, 'case.view', $2::uuid, at => $3::text::timestamptz)",
            &[&id("alice"), &id("affair"), at],
        );
        assert_eq!(explained["decision"] == "allow", allowed, "{explained:#}");
        let listed: Vec<Uuid> = c
            .query(
                "SELECT resource::uuid FROM authz_resources($1, 'case.view', at => $2::text::timestamptz)",
                &[&id("alice"), at],
            )
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect();
        assert_eq!(listed == [id("affair")], allowed, "at {at}");
        let who = c
            .query(
                "SELECT principal, via, binding FROM authz_principals('case.view', $1::uuid, at => $2::text::timestamptz)",
                &[&id("affair"), at],
            )
            .unwrap();
        assert_eq!(who.len(), usize::from(allowed), "at {at}");
        for row in who {
            assert_eq!(row.get::<_, Uuid>(0), id("alice"));
            assert_eq!(row.get::<_, &str>(1), "role_assignment");
            assert_eq!(row.get::<_, Uuid>(2), assignment);
        }
    }
    // The same answers after everything has changed again.
    make::assign(&mut c, acme, id("alice"), "viewer", "case", id("affair"));
    execute(&mut c, &suspend("deleted"));
    execute(
        &mut c,
        &format!(
            "UPDATE authz.principal SET locked_until = now() + '1 hour' WHERE principal_id = '{}'",
            id("alice")
        ),
    );
    for (at, allowed) in expected {
        assert_eq!(
            can_at(&mut c, "alice", "case.view", "affair", at),
            allowed,
            "afterwards, at {at}"
        );
    }
}

#[test]
fn a_lock_of_today_changes_no_answer_about_yesterday() {
    let db = Db::new();
    let mut c = db.connect();
    make::affair(&mut c);
    let free = mark(&mut c);
    for (table, source) in [("principal", "principal"), ("account_security", "account")] {
        if source == "account" {
            execute(
                &mut c,
                &format!(
                    "INSERT INTO authz.account_security (principal_id) VALUES ('{}')",
                    id("alice")
                ),
            );
        }
        let set = |until: &str| {
            format!(
                "UPDATE authz.{table} SET locked_until = {until} WHERE principal_id = '{}'",
                id("alice")
            )
        };
        execute(&mut c, &set("clock_timestamp() + '1 hour'"));
        let locked = mark(&mut c);
        // Longer, then lifted.
        execute(&mut c, &set("clock_timestamp() + '2 hours'"));
        let longer = mark(&mut c);
        execute(&mut c, &set("NULL"));
        let lifted = mark(&mut c);
        for (at, allowed) in [(&free, true), (&locked, false), (&longer, false), (&lifted, true)] {
            assert_eq!(
                can_at(&mut c, "alice", "case.view", "affair", at),
                allowed,
                "{table} at {at}"
            );
        }
        // Both locks are there, one after the other.
        let recorded: i64 = value(
            &mut c,
            "SELECT count(*) FROM authz.principal_lock_history WHERE source = $1 AND valid_until <= clock_timestamp()",
            &[&source],
        );
        assert_eq!(recorded, 2);
    }
    refused(
        &mut c,
        "DELETE FROM authz.principal_lock_history",
        "55000",
        &["closed, not deleted"],
    );
    refused(
        &mut c,
        "UPDATE authz.principal_lock_history SET valid_from = '-infinity'",
        "55000",
        &["not overwritten"],
    );
    refused(
        &mut c,
        "UPDATE authz.principal SET locked_since = '-infinity'",
        "55000",
        &["not overwritten"],
    );
}

#[test]
fn null_is_a_deny_and_an_unknown_permission_an_error() {
    let db = Db::new();
    let mut c = db.connect();
    let denied: bool = value(
        &mut c,
        "SELECT bool_or(x) FROM unnest(ARRAY[
             authz_can_at(NULL, 'case.view', gen_random_uuid(), now()),
             authz_can_at(gen_random_uuid(), NULL, gen_random_uuid(), now()),
             authz_can_at(gen_random_uuid(), 'case.view', NULL::uuid, now()),
             authz_can_at(gen_random_uuid(), 'case.view', gen_random_uuid(), NULL),
             authz_can_at(gen_random_uuid(), 'case.view', 4711, '-infinity'),
             authz_can_at(gen_random_uuid(), 'case.view', 'x'::text, 'infinity')]) AS x",
        &[],
    );
    assert!(!denied);
    let none: i64 = value(
        &mut c,
        "SELECT (SELECT count(*) FROM authz_principals(NULL, gen_random_uuid()))
              + (SELECT count(*) FROM authz_principals('case.view', NULL::uuid))
              + (SELECT count(*) FROM authz_principals('case.view', 4711))
              + (SELECT count(*) FROM authz_principals('case.view', 'x'::text, at => '-infinity'))",
        &[],
    );
    assert_eq!(none, 0);
    refused_with_hint(
        &mut c,
        "SELECT authz_can_at(gen_random_uuid(), 'case.vew', gen_random_uuid(), now())",
        "42704",
        &["case.view"],
    );
    refused_with_hint(
        &mut c,
        "SELECT * FROM authz_principals('case.vew', gen_random_uuid())",
        "42704",
        &["case.view"],
    );
}

#[test]
fn keys_of_every_type_are_asked_about_in_the_past() {
    let db = Db::new();
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    make::member(&mut c, acme, "alice");
    for (kind, key_type, key) in [("invoice", "bigint", "4711"), ("ticket", "text", "'T-1'")] {
        execute(
            &mut c,
            &format!(
                "CREATE TABLE public.{kind} (tenant_id uuid, id {key_type} PRIMARY KEY);
                 INSERT INTO public.{kind} VALUES ('{acme}', {key});
                 INSERT INTO authz.resource_type (resource_type, target, key_column, tenant_column)
                 VALUES ('{kind}', 'public.{kind}', 'id', 'tenant_id');
                 INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
                 VALUES ('{kind}.view', '{kind}', 'view');
                 INSERT INTO authz.resource_access_grant
                     (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code)
                 VALUES ('{acme}', '{kind}', {key}::text, 'principal', '{}', '{kind}.view')",
                id("alice")
            ),
        );
        let held = mark(&mut c);
        execute(
            &mut c,
            "UPDATE authz.resource_access_grant SET revoked_at = clock_timestamp() WHERE revoked_at IS NULL",
        );
        let revoked = mark(&mut c);
        for (at, allowed) in [(&held, true), (&revoked, false)] {
            let answer: bool = value(
                &mut c,
                &format!("SELECT authz_can_at($1, '{kind}.view', {key}::{key_type}, $2::text::timestamptz)"),
                &[&id("alice"), at],
            );
            let listed: i64 = value(
                &mut c,
                &format!(
                    "SELECT count(*) FROM authz_principals('{kind}.view', {key}::{key_type}, at => $1::text::timestamptz)"
                ),
                &[at],
            );
            assert_eq!((answer, listed), (allowed, i64::from(allowed)), "{kind} at {at}");
        }
    }
}
