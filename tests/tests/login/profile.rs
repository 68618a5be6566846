//! Profiles: made once at the first log-in, updated later (R3), each for its own user and without the flag of a super-admin (R4).

use crate::world;
use authz_tests::make::{self, id};
use authz_tests::{execute, refused, refused_with_hint, report, value};
use postgres::Client;
use serde_json::{Value, json};
use uuid::Uuid;

fn upsert(c: &mut Client, who: Uuid, email: &str, name: Option<&str>, metadata: Option<Value>) {
    c.execute(
        "SELECT authz_upsert_profile($1, $2, $3, metadata => $4, external_id => 'idp|' || $1::uuid)",
        &[&who, &email, &name, &metadata],
    )
    .unwrap_or_else(|e| panic!("{}", report(&e)));
}

#[test]
fn r3_a_first_log_in_makes_the_profile_a_later_one_updates_it_and_repeating_changes_nothing() {
    let (db, mut c, door) = world();
    let mut d = db.connect_as(&door);
    upsert(
        &mut d,
        id("nora"),
        "nora@acme.example",
        Some("Nora"),
        Some(json!({"locale": "da"})),
    );
    let row = |c: &mut Client| -> Value {
        value(
            c,
            "SELECT to_jsonb(f) FROM authz.profile AS f WHERE user_id = $1",
            &[&id("nora")],
        )
    };
    let first = row(&mut c);
    assert_eq!(first["email"], "nora@acme.example");
    assert_eq!(first["is_super_admin"], false);
    upsert(
        &mut d,
        id("nora"),
        "nora@acme.example",
        Some("Nora"),
        Some(json!({"locale": "da"})),
    );
    upsert(&mut d, id("nora"), "nora@acme.example", None, None);
    assert_eq!(row(&mut c), first, "nothing changed, not even updated_at");
    upsert(&mut d, id("nora"), "nora@new.example", None, None);
    let second = row(&mut c);
    assert_eq!(
        (&second["email"], &second["full_name"]),
        (&json!("nora@new.example"), &json!("Nora"))
    );
    assert_eq!(second["created_at"], first["created_at"]);
    assert_ne!(second["updated_at"], first["updated_at"]);
    let email: String = value(
        &mut c,
        "SELECT email FROM authz.principal WHERE principal_id = $1",
        &[&id("nora")],
    );
    assert_eq!(email, "nora@new.example");
    let phone: Option<String> = {
        d.execute(
            "SELECT authz_upsert_profile($1, NULL, phone => '+45 1')",
            &[&id("nora")],
        )
        .unwrap();
        value(
            &mut c,
            "SELECT phone FROM authz.profile WHERE user_id = $1",
            &[&id("nora")],
        )
    };
    assert_eq!(
        phone.as_deref(),
        Some("+45 1"),
        "an address that is known need not be said again"
    );
    // What must not be.
    refused(
        &mut d,
        "SELECT authz_upsert_profile(gen_random_uuid(), NULL)",
        "23502",
        &["email"],
    );
    refused(
        &mut d,
        "SELECT authz_upsert_profile(gen_random_uuid(), 'nobody')",
        "23514",
        &["email"],
    );
    refused_with_hint(
        &mut d,
        &format!(
            "SELECT authz_upsert_profile(gen_random_uuid(), 'x@y.example', external_id => 'idp|{}')",
            id("nora")
        ),
        "23505",
        &["another principal"],
    );
    refused_with_hint(
        &mut d,
        &format!(
            "SELECT authz_upsert_profile('{}', 'x@y.example', external_id => 'else')",
            id("nora")
        ),
        "55000",
        &["external id"],
    );
    execute(
        &mut c,
        &format!(
            "UPDATE authz.principal SET status = 'deleted' WHERE principal_id = '{}'",
            id("nora")
        ),
    );
    refused_with_hint(
        &mut d,
        &format!("SELECT authz_upsert_profile('{}', 'x@y.example')", id("nora")),
        "55000",
        &["deleted"],
    );
}

#[test]
fn r3_first_log_ins_at_once_make_one_profile_and_no_error() {
    let (db, mut c, door) = world();
    for round in 0..15 {
        let who = id(&format!("new{round}"));
        std::thread::scope(|scope| {
            for _ in 0..6 {
                let mut d = db.connect_as(&door);
                scope.spawn(move || upsert(&mut d, who, "new@acme.example", Some("New"), None));
            }
        });
        let made: i64 = value(&mut c, "SELECT count(*) FROM authz.profile WHERE user_id = $1", &[&who]);
        assert_eq!(made, 1);
    }
}

#[test]
fn r4_a_user_reads_and_updates_its_own_profile_only_and_never_its_super_admin_flag() {
    let (db, mut c, door) = world();
    let mut d = db.connect_as(&door);
    for name in ["nora", "olaf"] {
        upsert(&mut d, id(name), &format!("{name}@acme.example"), Some(name), None);
    }
    // More than any role should have.
    let web = db.role();
    execute(
        &mut c,
        &format!(
            "GRANT USAGE ON SCHEMA authz TO {web}; GRANT ALL ON authz.profile TO {web};
             GRANT EXECUTE ON FUNCTION authz_set_session TO {web}"
        ),
    );
    let mut w = db.connect_as(&web);
    let count = |w: &mut Client| -> i64 { value(w, "SELECT count(*) FROM authz.profile", &[]) };
    assert_eq!(count(&mut w), 0, "no session, no profile");
    execute(
        &mut w,
        &format!("SELECT authz_set_session('{}', is_local => false)", id("nora")),
    );
    assert_eq!(count(&mut w), 1);
    let own: Uuid = value(&mut w, "SELECT user_id FROM authz.profile", &[]);
    assert_eq!(own, id("nora"));
    assert_eq!(
        w.execute("UPDATE authz.profile SET full_name = 'Nora B', phone = '1'", &[])
            .unwrap(),
        1
    );
    let olaf: String = value(
        &mut c,
        "SELECT full_name FROM authz.profile WHERE user_id = $1",
        &[&id("olaf")],
    );
    assert_eq!(olaf, "olaf");
    refused_with_hint(
        &mut w,
        "UPDATE authz.profile SET is_super_admin = true",
        "42501",
        &["is_super_admin"],
    );
    refused(
        &mut w,
        &format!("UPDATE authz.profile SET user_id = '{}'", id("olaf")),
        "55000",
        &["for good"],
    );
    refused(
        &mut w,
        &format!(
            "INSERT INTO authz.profile (user_id, email, is_super_admin) VALUES ('{}', 'a@b.example', true)",
            id("alice")
        ),
        "42501",
        &["row-level security"],
    );
    refused(
        &mut w,
        &format!(
            "INSERT INTO authz.profile (user_id, email) VALUES ('{}', 'a@b.example')
             ON CONFLICT (user_id) DO UPDATE SET is_super_admin = true",
            id("nora")
        ),
        "42501",
        &[],
    );
    assert_eq!(w.execute("DELETE FROM authz.profile", &[]).unwrap(), 0);
    // The stamps are the database's.
    execute(
        &mut w,
        "UPDATE authz.profile SET created_at = '-infinity', updated_at = '-infinity'",
    );
    let kept: bool = value(
        &mut c,
        "SELECT bool_and(isfinite(created_at) AND isfinite(updated_at)) FROM authz.profile",
        &[],
    );
    assert!(kept);
    // Whoever mirrors the platform role may.
    execute(
        &mut c,
        &format!(
            "UPDATE authz.profile SET is_super_admin = true WHERE user_id = '{}'",
            id("nora")
        ),
    );
    // What a user says of itself gives no authority.
    assert!(!make::can(&mut c, id("nora"), "case.view", id("affair")));
}
