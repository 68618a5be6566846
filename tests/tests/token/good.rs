//! What a good token begins: its subject's session, with what it says, on a standby too (R24).

use authz_tests::cluster::Cluster;
use authz_tests::make::id;
use authz_tests::session::{fill, is, is_nobody, may_view, world};
use authz_tests::signer::{AUDIENCE, ISSUER, Signer, begin, changed, claims, is_bad, is_good, now};
use authz_tests::waiting::soon;
use authz_tests::{Db, Start, execute, value};
use serde_json::{Value, json};
use uuid::Uuid;

#[test]
fn a_token_of_each_algorithm_begins_the_session_of_its_subject() {
    let mut w = world();
    let mut c = w.role();
    for signer in Signer::all() {
        signer.register(&mut w.admin);
        // By the id of the principal, and by its id at the identity provider.
        is_good(
            &mut c,
            signer.algorithm(),
            &signer.token(&claims(&id("alice").to_string())),
        );
        is(&mut c, "alice");
        is_good(&mut c, signer.algorithm(), &signer.token(&claims("bob")));
        is(&mut c, "bob");
    }
    // Local is the default.
    let token = Signer::ed25519("k2");
    token.register(&mut w.admin);
    execute(&mut c, "SELECT authz_clear_session(); BEGIN");
    c.execute("SELECT authz_set_session_token($1)", &[&token.token(&claims("alice"))])
        .unwrap();
    is(&mut c, "alice");
    execute(&mut c, "COMMIT");
    is_nobody(&mut c);
}

#[test]
fn what_a_token_says_becomes_the_session() {
    let mut w = world();
    let signer = Signer::ed25519("k");
    signer.register(&mut w.admin);
    let mut c = w.role();
    let iat = now();
    let full = changed(
        json!({"tenant": id("acme"), "jti": "j1", "iat": iat, "amr": ["pwd", "mfa"],
                              "context": {"request_id": "r1", "token": "forged", "mfa": false}}),
    );
    is_good(&mut c, "full", &signer.token(&full));
    let (tenant, context): (Option<Uuid>, Value) = {
        let row = c.query_one("SELECT authz_tenant(), authz_context()", &[]).unwrap();
        (row.get(0), row.get(1))
    };
    assert_eq!(tenant, Some(id("acme")));
    assert_eq!(
        context,
        json!({"request_id": "r1", "mfa": true,
               "token": {"iss": ISSUER, "sub": "alice", "jti": "j1", "iat": iat, "exp": full["exp"]}})
    );
    for (what, changes, mfa) in [
        ("no amr", json!({}), Value::Null),
        ("amr without mfa", json!({"amr": ["pwd", "otp"]}), Value::Null),
        ("amr that is no list", json!({"amr": "mfa"}), Value::Null),
        ("signed context", json!({"context": {"mfa": true}}), json!(true)),
        (
            "signed context that is no boolean",
            json!({"context": {"mfa": "true"}}),
            json!("true"),
        ),
    ] {
        is_good(&mut c, what, &signer.token(&changed(changes)));
        let context: Value = value(&mut c, "SELECT authz_context()", &[]);
        assert_eq!(context["mfa"], mfa, "{what}");
    }
    for (what, changes) in [
        ("tenant_id", json!({"tenant_id": id("acme")})),
        (
            "both",
            json!({"tenant_id": id("acme"), "tenant": id("acme").to_string().to_uppercase()}),
        ),
        ("audience in a list", json!({"aud": ["other", AUDIENCE]})),
        (
            "times with fractions",
            json!({"exp": now() as f64 + 600.5, "nbf": now() as f64 - 0.5, "iat": 1.5e9}),
        ),
    ] {
        is_good(&mut c, what, &signer.token(&changed(changes)));
        is(&mut c, "alice");
    }
    for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt"] {
        let header = json!({"alg": "EdDSA", "kid": "k", "typ": typ}).to_string();
        is_good(&mut c, typ, &signer.sign(&header, &claims("alice").to_string()));
    }
    let header = json!({"alg": "EdDSA", "kid": "k"}).to_string();
    is_good(&mut c, "no typ", &signer.sign(&header, &claims("alice").to_string()));
}

#[test]
fn a_tokens_tenant_is_all_that_its_session_sees() {
    let mut w = world();
    let signer = Signer::ed25519("k");
    signer.register(&mut w.admin);
    let mut c = w.role();
    for (tenant, affair, deal) in [
        (Value::Null, true, true),
        (json!(id("acme")), true, false),
        (json!(id("globex")), false, true),
    ] {
        is_good(
            &mut c,
            "carol",
            &signer.token(&changed(json!({"sub": "carol", "tenant": tenant}))),
        );
        assert_eq!(
            (may_view(&mut c, "affair"), may_view(&mut c, "deal")),
            (affair, deal),
            "{tenant}"
        );
    }
}

#[test]
fn tokens_work_on_a_standby() {
    let primary = Cluster::start(&[]);
    let db = Db::on(&primary.server, Start::Fixture);
    let mut admin = db.connect();
    fill(&mut admin);
    let signer = Signer::es256("k");
    signer.register(&mut admin);
    let role = db.role();
    let standby = primary.standby();
    let mut c = standby.server.connect(&db.name, &role);
    is_good(&mut c, "on the standby", &signer.token(&claims("alice")));
    is(&mut c, "alice");
    is_bad(&mut c, "on the standby", &signer.token(&changed(json!({"exp": 1}))));
    // The key is retired on the primary.
    execute(
        &mut admin,
        "UPDATE authz.signing_key SET valid_until = statement_timestamp()",
    );
    soon("the retired key is good no more", || {
        begin(&mut c, &signer.token(&claims("alice"))).is_err()
    });
}
