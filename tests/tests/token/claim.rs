//! Tokens that are well signed and not for us, not from them, not of their time, or of nobody (R24, PITFALLS 15).

use authz_tests::execute;
use authz_tests::make::id;
use authz_tests::session::{is, load, principal, world};
use authz_tests::signer::{AUDIENCE, ISSUER, Signer, changed, claims, is_bad, is_good, now};
use serde_json::{Value, json};

#[test]
fn a_token_that_is_not_for_us_or_not_from_them() {
    let mut w = world();
    let signer = Signer::ed25519("k");
    signer.register(&mut w.admin);
    let elsewhere = Signer::ed25519("k");
    elsewhere.register_for(&mut w.admin, "https://other.example.org/", AUDIENCE);
    let billing = Signer::ed25519("billing");
    billing.register_for(&mut w.admin, ISSUER, "billing");
    let mut c = w.role();
    is_good(&mut c, "good", &signer.token(&claims("alice")));
    for (what, changes) in [
        ("no aud", json!({"aud": null})),
        ("another aud", json!({"aud": "billing"})),
        ("an aud in capitals", json!({"aud": "Casework"})),
        ("an aud that begins like ours", json!({"aud": "casework2"})),
        ("an empty aud", json!({"aud": ""})),
        ("an empty list as aud", json!({"aud": []})),
        ("a list as aud without us", json!({"aud": ["a", "b"]})),
        ("a list of lists as aud", json!({"aud": [[AUDIENCE]]})),
        ("an object as aud", json!({"aud": {AUDIENCE: true}})),
        ("no iss", json!({"iss": null})),
        ("another iss", json!({"iss": "https://evil.example.org/"})),
        ("an iss without its slash", json!({"iss": "https://id.example.org"})),
        ("a list as iss", json!({"iss": [ISSUER]})),
        (
            "another registered iss, whose key has the same kid",
            json!({"iss": "https://other.example.org/"}),
        ),
    ] {
        is_bad(&mut c, what, &signer.token(&changed(changes)));
    }
    is_bad(
        &mut c,
        "a key of the issuer for another audience",
        &billing.token(&claims("alice")),
    );
    is_bad(&mut c, "a key of another issuer", &elsewhere.token(&claims("alice")));
    let issuer = json!({"iss": "https://other.example.org/"});
    is_good(&mut c, "the other issuer's own", &elsewhere.token(&changed(issuer)));
}

#[test]
fn a_token_at_the_wrong_time() {
    let mut w = world();
    let signer = Signer::ed25519("k");
    signer.register(&mut w.admin);
    let mut c = w.role();
    for (what, changes) in [
        ("expired", json!({"exp": now() - 40})),
        ("expired long ago", json!({"exp": 0})),
        ("expired before 1970", json!({"exp": -1e30})),
        ("without exp", json!({"exp": null})),
        ("with an exp that is text", json!({"exp": (now() + 600).to_string()})),
        ("with an exp that is a list", json!({"exp": [now() + 600]})),
        ("with an exp that is true", json!({"exp": true})),
        ("not yet valid", json!({"nbf": now() + 40})),
        ("never valid", json!({"nbf": 1e300})),
        ("with an nbf that is text", json!({"nbf": "0"})),
        ("issued in the future", json!({"iat": now() + 40})),
        ("with an iat that is text", json!({"iat": "0"})),
    ] {
        is_bad(&mut c, what, &signer.token(&changed(changes)));
    }
    for number in ["1e999", "-1e999", "0x7fffffff", "null", "1e"] {
        let payload = claims("alice")
            .to_string()
            .replacen("\"exp\":", &format!("\"exp\":{number},\"x\":"), 1);
        is_bad(&mut c, number, &signer.sign(&signer.header().to_string(), &payload));
    }
    // Clocks differ: authz.token_leeway, 30 seconds.
    for (what, changes) in [
        ("just expired", json!({"exp": now() - 20})),
        ("just not valid", json!({"nbf": now() + 20, "iat": now() + 20})),
        ("never expires", json!({"exp": 1e18})),
        ("never expires, in all digits", json!({"exp": u64::MAX})),
    ] {
        is_good(&mut c, what, &signer.token(&changed(changes)));
        is(&mut c, "alice");
    }
    load(&mut w.admin);
    execute(
        &mut w.admin,
        &format!("ALTER ROLE {} SET authz.token_leeway = 0", w.role),
    );
    let mut strict = w.role();
    is_bad(
        &mut strict,
        "just expired",
        &signer.token(&changed(json!({"exp": now() - 3}))),
    );
    is_bad(
        &mut strict,
        "just not valid",
        &signer.token(&changed(json!({"nbf": now() + 10}))),
    );
    is_good(&mut strict, "good", &signer.token(&claims("alice")));
    execute(
        &mut w.admin,
        &format!("ALTER ROLE {} SET authz.token_max_age = '1min'", w.role),
    );
    let mut aged = w.role();
    is_bad(&mut aged, "without iat", &signer.token(&claims("alice")));
    is_bad(
        &mut aged,
        "too old",
        &signer.token(&changed(json!({"iat": now() - 70}))),
    );
    is_good(&mut aged, "young", &signer.token(&changed(json!({"iat": now() - 5}))));
}

#[test]
fn a_token_whose_claims_make_no_session() {
    let mut w = world();
    let signer = Signer::ed25519("k");
    signer.register(&mut w.admin);
    let mut c = w.role();
    for (what, changes) in [
        ("no sub", json!({"sub": null})),
        ("an empty sub", json!({"sub": ""})),
        ("a number as sub", json!({"sub": 1})),
        ("an unknown sub", json!({"sub": "mallory"})),
        ("an unknown uuid as sub", json!({"sub": id("mallory")})),
        ("a sub in capitals", json!({"sub": "Alice"})),
        ("a sub with a space", json!({"sub": "alice "})),
        ("a tenant that is no uuid", json!({"tenant": "acme"})),
        ("an empty tenant", json!({"tenant": ""})),
        ("a list as tenant", json!({"tenant": [id("acme")]})),
        ("a tenant_id that is no uuid", json!({"tenant_id": 1})),
        ("two tenants", json!({"tenant": id("acme"), "tenant_id": id("globex")})),
        ("a context that is no object", json!({"context": [1]})),
    ] {
        is_bad(&mut c, what, &signer.token(&changed(changes)));
    }
    // What is there but null must not count as absent: it would see every tenant.
    for claim in ["tenant", "tenant_id", "context", "nbf", "iat"] {
        let mut claims = claims("alice");
        claims[claim] = Value::Null;
        is_bad(&mut c, claim, &signer.token(&claims));
    }
}

#[test]
fn a_subject_that_is_the_id_of_one_and_the_external_id_of_another_is_nobody() {
    let mut w = world();
    let signer = Signer::ed25519("k");
    signer.register(&mut w.admin);
    let mut c = w.role();
    let insert = "INSERT INTO authz.principal (principal_id, external_id) VALUES ($1, $2)";
    let alice = id("alice").to_string();
    is_good(&mut c, "before", &signer.token(&claims(&alice)));
    w.admin.execute(insert, &[&id("mallory"), &alice]).unwrap();
    is_bad(&mut c, "two principals", &signer.token(&claims(&alice)));
    is_good(&mut c, "by external id", &signer.token(&claims("alice")));
    // One's own id as external id is no second one.
    w.admin
        .execute(insert, &[&id("dave"), &id("dave").to_string()])
        .unwrap();
    is_good(
        &mut c,
        "the same principal twice",
        &signer.token(&claims(&id("dave").to_string())),
    );
    assert_eq!(principal(&mut c), Some(id("dave")));
}
