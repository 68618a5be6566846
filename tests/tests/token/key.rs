//! Keys that tokens are checked by: what is refused, who may write them, what a change of keys does (R24, PITFALLS 15).

use authz_tests::dump::{Dump, Format};
use authz_tests::session::{is, is_nobody, world};
use authz_tests::signer::{
    AUDIENCE, ISSUER, NULL, OID_EC, OID_ED25519, OID_P256, OID_RSA, Pair, RSA_KEY, Signer, begin, changed, claims,
    is_bad, is_good, modulus_of, pem, public_pem, rsa_public,
};
use authz_tests::{execute, refused, refused_with_hint, report};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::KeyPair;
use serde_json::json;

#[test]
fn keys_that_no_token_could_be_checked_by_are_refused() {
    let mut w = world();
    let [ed, es, rs, _] = Signer::all();
    let pem_of = |s: &Signer| s.public_key().unwrap();
    let Pair::Es256(pair) = &es.pair else { panic!() };
    let point = pair.public_key().as_ref();
    let mut off_curve = point.to_vec();
    off_curve[64] ^= 1;
    let Pair::Rs256(rsa) = &rs.pair else { panic!() };
    let modulus = modulus_of(rsa);
    let rsa_pem = |modulus: &[u8], exponent: &[u8]| public_pem(&[OID_RSA, NULL], &rsa_public(modulus, exponent));
    let private = pem("PRIVATE KEY", &STANDARD.decode(RSA_KEY).unwrap());
    let none: Option<&[u8]> = None;
    let insert = "INSERT INTO authz.signing_key (kid, issuer, audience, algorithm, public_key, secret)
                  VALUES ('k', 'i', 'a', $1, $2, $3)";
    let ed_pem = pem_of(&ed);
    // What is wrong, algorithm, public_key, secret.
    type Case<'a> = (&'a str, &'a str, Option<String>, Option<&'a [u8]>);
    let cases: Vec<Case<'_>> = vec![
        ("an unknown algorithm", "none", Some(pem_of(&ed)), none),
        ("an algorithm in other letters", "eddsa", Some(pem_of(&ed)), none),
        ("an algorithm that is not offered", "RS512", Some(pem_of(&rs)), none),
        ("no key", "EdDSA", None, none),
        ("no secret", "HS256", None, none),
        ("a secret for a public algorithm", "EdDSA", None, Some(&[7; 32])),
        ("both", "EdDSA", Some(pem_of(&ed)), Some(&[7; 32])),
        ("both", "HS256", Some(pem_of(&ed)), Some(&[7; 32])),
        ("a public key for a shared secret", "HS256", Some(pem_of(&rs)), none),
        ("a public key as shared secret", "HS256", None, Some(ed_pem.as_bytes())),
        ("a short secret", "HS256", None, Some(&[7; 31])),
        ("an empty secret", "HS256", None, Some(&[])),
        ("not PEM", "EdDSA", Some("x".to_owned()), none),
        ("an empty key", "EdDSA", Some(String::new()), none),
        ("a private key", "RS256", Some(private), none),
        (
            "a certificate",
            "EdDSA",
            Some(pem_of(&ed).replace("PUBLIC KEY", "CERTIFICATE")),
            none,
        ),
        (
            "PEM of something else",
            "EdDSA",
            Some(pem("PUBLIC KEY", b"something else")),
            none,
        ),
        ("another algorithm's key", "EdDSA", Some(pem_of(&es)), none),
        ("another algorithm's key", "EdDSA", Some(pem_of(&rs)), none),
        ("another algorithm's key", "ES256", Some(pem_of(&ed)), none),
        ("another algorithm's key", "ES256", Some(pem_of(&rs)), none),
        ("another algorithm's key", "RS256", Some(pem_of(&ed)), none),
        ("another algorithm's key", "RS256", Some(pem_of(&es)), none),
        (
            "a short Ed25519 key",
            "EdDSA",
            Some(public_pem(&[OID_ED25519], &[7; 31])),
            none,
        ),
        (
            "a point off the curve",
            "ES256",
            Some(public_pem(&[OID_EC, OID_P256], &off_curve)),
            none,
        ),
        (
            "another curve",
            "ES256",
            Some(public_pem(&[OID_EC, &[0x06, 5, 0x2b, 0x81, 4, 0, 0x0a]], point)),
            none,
        ),
        ("no curve", "ES256", Some(public_pem(&[OID_EC], point)), none),
        ("1024 bits", "RS256", Some(rsa_pem(&modulus[..128], &[1, 0, 1])), none),
        (
            "16384 bits",
            "RS256",
            Some(rsa_pem(&modulus.repeat(8), &[1, 0, 1])),
            none,
        ),
        ("an exponent of 1", "RS256", Some(rsa_pem(&modulus, &[1])), none),
        ("an even exponent", "RS256", Some(rsa_pem(&modulus, &[1, 0, 0])), none),
    ];
    for (what, algorithm, public_key, secret) in cases {
        let error = w
            .admin
            .execute(insert, &[&algorithm, &public_key, &secret])
            .expect_err(what);
        let e = error.as_db_error().unwrap_or_else(|| panic!("{what}: {error}"));
        assert_eq!(e.code().code(), "22023", "{what}: {}", report(&error));
        assert!(e.hint().is_some() && e.detail().is_some(), "{what}: {}", report(&error));
    }
    for (column, code) in [("kid", "23514"), ("issuer", "23514"), ("audience", "23514")] {
        for (value, code) in [("''", code), ("NULL", "23502")] {
            let mut columns = [("kid", "'k'"), ("issuer", "'i'"), ("audience", "'a'")];
            columns.iter_mut().filter(|c| c.0 == column).for_each(|c| c.1 = value);
            let sql = format!(
                "INSERT INTO authz.signing_key (kid, issuer, audience, algorithm, public_key)
                 VALUES ({}, {}, {}, 'EdDSA', '{ed_pem}')",
                columns[0].1, columns[1].1, columns[2].1
            );
            refused(&mut w.admin, &sql, code, &[column]);
        }
    }
    // White space around a key is no fault.
    w.admin
        .execute(insert, &[&"EdDSA", &format!("\n  {}\n\n", ed_pem.trim()), &none])
        .unwrap();
}

#[test]
fn keys_are_closed_not_changed_or_deleted() {
    let mut w = world();
    Signer::ed25519("k").register(&mut w.admin);
    let other = Signer::ed25519("other").public_key().unwrap();
    refused_with_hint(&mut w.admin, "DELETE FROM authz.signing_key", "55000", &["signing_key"]);
    refused_with_hint(&mut w.admin, "TRUNCATE authz.signing_key", "55000", &["signing_key"]);
    for change in [
        format!("public_key = '{other}'"),
        "kid = 'x'".to_owned(),
        "issuer = 'x'".to_owned(),
        "audience = 'x'".to_owned(),
    ] {
        refused_with_hint(
            &mut w.admin,
            &format!("UPDATE authz.signing_key SET {change}"),
            "55000",
            &["signing_key"],
        );
    }
    execute(
        &mut w.admin,
        "UPDATE authz.signing_key SET valid_until = statement_timestamp()",
    );
    refused_with_hint(
        &mut w.admin,
        "UPDATE authz.signing_key SET valid_until = NULL",
        "55000",
        &["signing_key"],
    );
}

#[test]
fn read_or_plant_a_key_without_the_right_to() {
    let mut w = world();
    let signer = Signer::hs256("k");
    signer.register(&mut w.admin);
    for mut c in [w.role(), w.app()] {
        for sql in [
            "SELECT secret FROM authz.signing_key",
            "SELECT count(*) FROM authz.signing_key",
            "COPY authz.signing_key TO STDOUT",
            "INSERT INTO authz.signing_key (kid, issuer, audience, algorithm, secret) VALUES ('x', 'x', 'x', 'HS256', repeat('x', 32)::bytea)",
            "UPDATE authz.signing_key SET valid_until = NULL",
            "CREATE TRIGGER t BEFORE INSERT ON authz.signing_key EXECUTE FUNCTION authz.check_signing_key()",
        ] {
            refused(&mut c, sql, "42501", &[]);
        }
        // Tables and functions of the caller's own, in its own search path, are not what is read.
        execute(
            &mut c,
            "CREATE TEMP TABLE signing_key (kid text, issuer text, audience text, algorithm text, public_key text, secret bytea,
                                            active_from timestamptz, active_until timestamptz);
             CREATE TEMP TABLE principal (principal_id uuid, external_id text);
             SET search_path = pg_temp, authz, public",
        );
        let forged = Signer::hs256("forged");
        c.execute(
            "INSERT INTO pg_temp.signing_key VALUES ('forged', $1, $2, 'HS256', NULL, $3, '-infinity', 'infinity')",
            &[&ISSUER, &AUDIENCE, &forged.secret()],
        )
        .unwrap();
        is_bad(&mut c, "a temporary table", &forged.token(&claims("alice")));
        is_good(&mut c, "the real one", &signer.token(&claims("alice")));
    }
}

#[test]
fn keys_survive_dump_and_restore() {
    let mut w = world();
    let signers = Signer::all();
    for signer in &signers {
        signer.register(&mut w.admin);
    }
    execute(
        &mut w.admin,
        "UPDATE authz.signing_key SET valid_until = statement_timestamp() WHERE kid = 'hs'",
    );
    let restored = Dump::of(&w.db, Format::Plain).restored();
    let mut c = restored.connect();
    for signer in &signers {
        let token = signer.token(&claims("alice"));
        if signer.kid == "hs" {
            is_bad(&mut c, "closed before", &token);
        } else {
            is_good(&mut c, signer.algorithm(), &token);
            is(&mut c, "alice");
        }
    }
}

#[test]
fn rotation_of_keys() {
    let mut w = world();
    let (old, new) = (Signer::ed25519("2026-1"), Signer::es256("2026-2"));
    let old_row = old.register(&mut w.admin);
    let mut c = w.role();
    let by = |signer: &Signer| signer.token(&claims("alice"));
    let without_kid = |signer: &Signer| {
        signer.sign(
            &json!({"alg": signer.algorithm()}).to_string(),
            &claims("alice").to_string(),
        )
    };
    is_good(&mut c, "old", &by(&old));
    is_good(&mut c, "old, the only key, without its name", &without_kid(&old));
    is_bad(&mut c, "new, not registered yet", &by(&new));
    // Announced: in force from later on.
    w.admin
        .execute(
            "INSERT INTO authz.signing_key (kid, issuer, audience, algorithm, public_key, valid_from)
             VALUES ('2026-2', $1, $2, 'ES256', $3, now() + interval '1 hour')",
            &[&ISSUER, &AUDIENCE, &Signer::es256("x").public_key()],
        )
        .unwrap();
    is_bad(&mut c, "a key that is not in force yet", &by(&new));
    refused(
        &mut w.admin,
        &format!(
            "INSERT INTO authz.signing_key (kid, issuer, audience, algorithm, public_key) VALUES ('2026-2', '{ISSUER}', '{AUDIENCE}', 'ES256', '{}')",
            new.public_key().unwrap()
        ),
        "23505",
        &[],
    );
    execute(
        &mut w.admin,
        "UPDATE authz.signing_key SET valid_until = valid_from WHERE kid = '2026-2'",
    );
    new.register(&mut w.admin);
    is_good(&mut c, "new", &by(&new));
    is_good(&mut c, "old, while both are in force", &by(&old));
    is_good(
        &mut c,
        "without a name, but only one is for that algorithm",
        &without_kid(&old),
    );
    let third = Signer::ed25519("2026-3");
    third.register(&mut w.admin);
    is_bad(&mut c, "without a name, and two could be meant", &without_kid(&old));
    is_bad(&mut c, "without a name, and two could be meant", &without_kid(&third));
    w.admin
        .execute(
            "UPDATE authz.signing_key SET valid_until = statement_timestamp() WHERE key_id = $1",
            &[&old_row],
        )
        .unwrap();
    is_bad(&mut c, "old, retired", &by(&old));
    is_good(&mut c, "new", &by(&new));
    is_good(
        &mut c,
        "the only one left of its algorithm, without a name",
        &without_kid(&third),
    );
    // The same kid again, with another key: only what is in force counts.
    let again = Signer::ed25519("2026-1");
    again.register(&mut w.admin);
    is_good(&mut c, "the kid's new key", &by(&again));
    is_bad(&mut c, "the kid's old key", &by(&old));
}

#[test]
fn a_key_for_two_audiences() {
    let mut w = world();
    let signer = Signer::ed25519("k");
    signer.register_for(&mut w.admin, ISSUER, "casework");
    signer.register_for(&mut w.admin, ISSUER, "reports");
    let mut c = w.role();
    for aud in [
        json!("casework"),
        json!("reports"),
        json!(["casework", "reports"]),
        json!(["x", "reports"]),
    ] {
        is_good(&mut c, "either", &signer.token(&changed(json!({"aud": aud}))));
    }
    is_bad(&mut c, "neither", &signer.token(&changed(json!({"aud": ["x", "y"]}))));
}

#[test]
fn a_key_is_seen_as_it_is_committed_by_sessions_that_are_open() {
    let mut w = world();
    let signer = Signer::ed25519("k");
    let mut c = w.role();
    // Even an old snapshot sees the newest keys.
    execute(&mut c, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
    signer.register(&mut w.admin);
    begin(&mut c, &signer.token(&claims("alice"))).unwrap();
    is(&mut c, "alice");
    execute(
        &mut w.admin,
        "UPDATE authz.signing_key SET valid_until = statement_timestamp()",
    );
    assert!(begin(&mut c, &signer.token(&claims("alice"))).is_err());
    execute(&mut c, "ROLLBACK");
    is_nobody(&mut c);
}
