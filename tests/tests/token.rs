//! Sessions that begin by a token: every way to get one by a token that is not good, each as a test with the attempt in
//! its name (R24, PITFALLS 15). Keys are in `signing_key.rs`.

use std::time::Duration;

use authz_tests::cluster::Cluster;
use authz_tests::make::id;
use authz_tests::session::{fill, is, is_nobody, load, may_view, principal, scan_in_parallel, set, world};
use authz_tests::signer::{AUDIENCE, ISSUER, Pair, Signer, b64, begin, changed, claims, hmac, is_bad, is_good, now};
use authz_tests::{Db, Start, execute, run, value};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use postgres::NoTls;
use ring::signature::KeyPair;
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
fn a_token_that_was_put_together_wrongly() {
    let mut w = world();
    let signer = Signer::ed25519("k");
    signer.register(&mut w.admin);
    let mut c = w.role();
    let good = signer.token(&claims("alice"));
    is_good(&mut c, "good", &good);
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!()
    };
    let cases = [
        ("empty", String::new()),
        ("one part", header.to_owned()),
        ("without a signature", format!("{header}.{payload}")),
        ("with an empty signature", format!("{header}.{payload}.")),
        ("four parts", format!("{good}.{signature}")),
        (
            "five parts, as if encrypted",
            format!("{header}.{payload}.{signature}.x.y"),
        ),
        ("only dots", "..".to_owned()),
        ("not base64url", format!("{header}.{payload}.!{}", &signature[1..])),
        ("base64 with padding", {
            let message = format!(
                "{}.{}",
                URL_SAFE.encode(signer.header().to_string()),
                URL_SAFE.encode(claims("alice").to_string())
            );
            format!("{message}.{}", URL_SAFE.encode(signer.signature(message.as_bytes())))
        }),
        ("a space before it", format!(" {good}")),
        ("a newline after it", format!("{good}\n")),
        ("Bearer before it", format!("Bearer {good}")),
        (
            "a header that is no JSON",
            signer.sign("{", &claims("alice").to_string()),
        ),
        (
            "a header that is no object",
            signer.sign("[]", &claims("alice").to_string()),
        ),
        (
            "a payload that is no object",
            signer.sign(&signer.header().to_string(), "\"alice\""),
        ),
        ("a payload that is not UTF-8", {
            let message = format!("{header}.{}", b64(b"{\"sub\":\"\xff\"}"));
            format!("{message}.{}", b64(signer.signature(message.as_bytes())))
        }),
        (
            "a payload that goes on",
            signer.sign(&signer.header().to_string(), &format!("{}{{}}", claims("alice"))),
        ),
        (
            "a payload nested without end",
            signer.sign(&signer.header().to_string(), &"[".repeat(4000)),
        ),
        (
            "crit",
            signer.sign(
                &json!({"alg": "EdDSA", "kid": "k", "crit": ["exp"]}).to_string(),
                &claims("alice").to_string(),
            ),
        ),
        (
            "a logout token",
            signer.sign(
                &json!({"alg": "EdDSA", "kid": "k", "typ": "logout+jwt"}).to_string(),
                &claims("alice").to_string(),
            ),
        ),
        (
            "a typ that is no text",
            signer.sign(
                &json!({"alg": "EdDSA", "kid": "k", "typ": 1}).to_string(),
                &claims("alice").to_string(),
            ),
        ),
        (
            "a kid that is no text",
            signer.sign(
                &json!({"alg": "EdDSA", "kid": 1}).to_string(),
                &claims("alice").to_string(),
            ),
        ),
        ("a megabyte", "x".repeat(1 << 20)),
    ];
    for (what, token) in &cases {
        is_bad(&mut c, what, token);
    }
    for length in (0..good.len()).step_by(7) {
        is_bad(&mut c, "truncated", &good[..length]);
    }
    // Well signed, but too long.
    let long = |n: usize| signer.token(&changed(json!({"context": {"x": "y".repeat(n)}})));
    is_good(&mut c, "nearly too long", &long(5000));
    is_bad(&mut c, "too long", &long(8000));
    is_bad(&mut c, "NULL", "");
    let Err(error) = c.execute("SELECT authz_set_session_token(NULL)", &[]) else {
        panic!("NULL is accepted")
    };
    assert_eq!(error.code().unwrap().code(), "28000");
    is_good(&mut c, "good", &good);
}

#[test]
fn a_token_that_somebody_else_signed_or_changed() {
    let mut w = world();
    let mut c = w.role();
    for signer in Signer::all() {
        signer.register(&mut w.admin);
        let good = signer.token(&claims("alice"));
        is_good(&mut c, signer.algorithm(), &good);
        let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else {
            panic!()
        };
        let other_claims = b64(claims("bob").to_string());
        is_bad(&mut c, "other claims", &format!("{header}.{other_claims}.{signature}"));
        let other_header = b64(json!({"alg": signer.algorithm(), "kid": signer.kid, "typ": "jwt"}).to_string());
        is_bad(
            &mut c,
            "another header",
            &format!("{other_header}.{payload}.{signature}"),
        );
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        for n in [0, bytes.len() / 2, bytes.len() - 1] {
            bytes[n] ^= 1;
            is_bad(&mut c, "a flipped bit", &format!("{header}.{payload}.{}", b64(&bytes)));
            bytes[n] ^= 1;
        }
        is_bad(
            &mut c,
            "zeros",
            &format!("{header}.{payload}.{}", b64(vec![0; bytes.len()])),
        );
        is_bad(
            &mut c,
            "a longer signature",
            &format!("{header}.{payload}.{}", b64([&bytes[..], &[0]].concat())),
        );
        is_bad(
            &mut c,
            "a shorter signature",
            &format!("{header}.{payload}.{}", b64(&bytes[1..])),
        );
    }
    for stranger in [Signer::ed25519("ed"), Signer::es256("es"), Signer::hs256("hs")] {
        is_bad(
            &mut c,
            "a stranger's key under a known kid",
            &stranger.token(&claims("alice")),
        );
    }
}

#[test]
fn confuse_the_algorithm() {
    let mut w = world();
    let signers = Signer::all();
    for signer in &signers {
        signer.register(&mut w.admin);
    }
    let mut c = w.role();
    let payload = claims("alice").to_string();
    for signer in &signers {
        for alg in ["none", "None", "NONE", "nOnE", "", "null"] {
            let header = json!({"alg": alg, "kid": signer.kid}).to_string();
            is_bad(&mut c, alg, &format!("{}.{}.", b64(&header), b64(&payload)));
            is_bad(&mut c, alg, &signer.sign(&header, &payload));
        }
        for header in [
            json!({"kid": signer.kid}),
            json!({"alg": null, "kid": signer.kid}),
            json!({"alg": ["EdDSA"], "kid": signer.kid}),
        ] {
            is_bad(&mut c, "no alg", &signer.sign(&header.to_string(), &payload));
        }
        // A public key is public: used as a shared secret, everybody could sign.
        if let Some(public) = signer.public_key() {
            let header = json!({"alg": "HS256", "kid": signer.kid}).to_string();
            let message = format!("{}.{}", b64(&header), b64(&payload));
            let der = STANDARD
                .decode(public.lines().filter(|l| !l.starts_with('-')).collect::<String>())
                .unwrap();
            for secret in [public.as_bytes(), public.trim_end().as_bytes(), &der] {
                let token = format!("{message}.{}", b64(hmac(secret, message.as_bytes())));
                is_bad(&mut c, "a public key as shared secret", &token);
            }
        }
        // Each key under the name of each other one's algorithm.
        for other in &signers {
            if other.algorithm() != signer.algorithm() {
                let header = json!({"alg": other.algorithm(), "kid": signer.kid}).to_string();
                is_bad(&mut c, "the algorithm of another key", &signer.sign(&header, &payload));
                is_bad(&mut c, "the key of another kid", &other.sign(&header, &payload));
                let header = json!({"alg": signer.algorithm(), "kid": other.kid}).to_string();
                is_bad(&mut c, "the kid of another key", &signer.sign(&header, &payload));
            }
        }
    }
    for (signer, algs) in [
        (&signers[2], ["RS384", "RS512", "PS256"]),
        (&signers[3], ["HS384", "HS512", "hs256"]),
        (&signers[1], ["ES384", "ES256K", "EdDSA"]),
    ] {
        for alg in algs {
            is_bad(
                &mut c,
                alg,
                &signer.sign(&json!({"alg": alg, "kid": signer.kid}).to_string(), &payload),
            );
        }
    }
    // A key that the token itself brings along.
    let stranger = Signer::ed25519("ed");
    let Pair::EdDsa(pair) = &stranger.pair else { panic!() };
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key())});
    for extra in [
        json!({"jwk": jwk}),
        json!({"jku": "https://evil.example/jwks"}),
        json!({"x5u": "https://evil.example/"}),
    ] {
        let mut header = stranger.header();
        header
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        is_bad(&mut c, "its own key", &stranger.sign(&header.to_string(), &payload));
    }
}

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
fn a_token_with_members_that_are_there_twice() {
    let mut w = world();
    let signer = Signer::ed25519("k");
    signer.register(&mut w.admin);
    let mut c = w.role();
    let (header, payload) = (signer.header().to_string(), claims("bob").to_string());
    let with = |more: &str| format!("{{{more},{}", &payload[1..]);
    is_good(&mut c, "once", &signer.sign(&header, &with("\"extra\":1")));
    for more in [
        "\"sub\":\"alice\"",
        "\"s\\u0075b\":\"alice\"",
        "\"exp\":9999999999",
        "\"iss\":\"x\"",
        "\"x\":1,\"x\":1",
        "\"context\":{\"mfa\":true,\"mfa\":false}",
        "\"context\":{\"a\":[{\"b\":1,\"b\":2}]}",
        "\"x\\u0000\":1",
        "\"context\":{\"x\":\"\\u0000\"}",
    ] {
        is_bad(&mut c, more, &signer.sign(&header, &with(more)));
    }
    for more in ["\"alg\":\"EdDSA\"", "\"kid\":\"k\"", "\"x\":1,\"x\":2"] {
        is_bad(
            &mut c,
            more,
            &signer.sign(&format!("{{{more},{}", &header[1..]), &payload),
        );
    }
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

#[test]
fn outlive_the_token() {
    let mut w = world();
    let signer = Signer::ed25519("k");
    signer.register(&mut w.admin);
    load(&mut w.admin);
    // The login role has a principal of its own: whose session has expired must not become that one.
    execute(
        &mut w.admin,
        &format!(
            "ALTER ROLE {0} SET authz.token_leeway = 0;
             UPDATE authz.principal SET db_role = '{0}' WHERE principal_id = '{1}'",
            w.role,
            id("carol")
        ),
    );
    let (mut lasting, mut local) = (w.role(), w.role());
    is(&mut lasting, "carol");
    let token = signer.token(&changed(json!({"exp": now() + 4})));
    begin(&mut lasting, &token).unwrap();
    execute(&mut local, "BEGIN");
    local.execute("SELECT authz_set_session_token($1)", &[&token]).unwrap();
    is(&mut lasting, "alice");
    is(&mut local, "alice");
    let prepared = lasting
        .prepare(&format!("SELECT authz_can('case.view', '{}'::uuid)", id("affair")))
        .unwrap();
    std::thread::sleep(Duration::from_millis(4500));
    is_nobody(&mut lasting);
    is_nobody(&mut local);
    let can: bool = lasting.query_one(&prepared, &[]).unwrap().get(0);
    assert!(!can);
    scan_in_parallel(&mut lasting, 0);
    assert!(
        begin(&mut lasting, &token).is_err(),
        "the expired token is good once more"
    );
    is_nobody(&mut lasting);
    execute(&mut lasting, "SELECT authz_clear_session()");
    is(&mut lasting, "carol");
}

#[test]
fn a_session_ends_with_the_key_where_that_is_known_beforehand() {
    let mut w = world();
    let signer = Signer::ed25519("k");
    signer.register(&mut w.admin);
    execute(
        &mut w.admin,
        "UPDATE authz.signing_key SET valid_until = statement_timestamp() + interval '2 seconds'",
    );
    let mut c = w.role();
    begin(&mut c, &signer.token(&claims("alice"))).unwrap();
    is(&mut c, "alice");
    std::thread::sleep(Duration::from_millis(2300));
    is_nobody(&mut c);
}

#[test]
fn a_bad_token_leaves_the_former_session_as_it_was() {
    let w = world();
    let mut c = w.app();
    execute(&mut c, &set("bob", false));
    assert!(begin(&mut c, "x").is_err());
    is(&mut c, "bob");
    execute(&mut c, &format!("BEGIN; {}; SAVEPOINT s", set("alice", true)));
    assert!(begin(&mut c, "x").is_err());
    execute(&mut c, "ROLLBACK TO s");
    is(&mut c, "alice");
    execute(&mut c, "ROLLBACK");
    is(&mut c, "bob");
}

#[test]
fn learn_why_a_token_is_bad() {
    let cluster = Cluster::start(&["log_min_messages = warning"]);
    let db = Db::on(&cluster.server, Start::Fixture);
    let mut admin = db.connect();
    fill(&mut admin);
    let signer = Signer::ed25519("k");
    signer.register(&mut admin);
    let role = db.role();
    let mut heard = Vec::new();
    {
        let notices = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let collected = notices.clone();
        let mut config = postgres::Config::new();
        config
            .host(&cluster.server.host)
            .port(cluster.server.port)
            .user(&role)
            .dbname(&db.name);
        config.options("-c client_min_messages=debug5");
        config.notice_callback(move |notice| collected.lock().unwrap().push(notice.message().to_owned()));
        let mut c = config.connect(NoTls).unwrap();
        let bad = [
            signer.token(&changed(json!({"exp": 1}))),
            signer.token(&changed(json!({"aud": "x"}))),
            signer.token(&changed(json!({"sub": "two\nlines"}))),
            signer.token(&changed(json!({"iss": format!("long{}", "g".repeat(5000))}))),
            Signer::ed25519("k").token(&claims("alice")),
            String::new(),
        ];
        let mut errors: Vec<String> = bad
            .iter()
            .map(|token| {
                let error = begin(&mut c, token).unwrap_err();
                // Everything in the message, with file and line.
                format!("{:?}", error.as_db_error().unwrap())
            })
            .collect();
        errors.dedup();
        assert_eq!(errors.len(), 1, "{errors:#?}");
        heard.append(&mut notices.lock().unwrap());
    }
    for word in ["refused", "expired", "aud", "kid", "signature"] {
        assert!(
            !heard.iter().any(|m| m.contains("token") && m.contains(word)),
            "the client hears {word:?}: {heard:#?}"
        );
    }
    let log = run(std::process::Command::new("cat").arg(format!("{}/log", cluster.server.host)));
    let said: Vec<&str> = log.lines().filter(|l| l.contains("session token refused: ")).collect();
    assert_eq!(said.len(), 6, "{log}");
    for (line, word) in said
        .iter()
        .zip(["expired", "aud", "two\\nlines", "ggg", "signature", "three parts"])
    {
        assert!(line.contains("LOG:") && line.contains(word), "{line}");
        assert!(line.len() < 600, "{line}");
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
    let begun = std::time::Instant::now();
    while begin(&mut c, &signer.token(&claims("alice"))).is_ok() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "the retired key is still good"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
