//! Tokens that were put together wrongly, or that somebody else signed or changed (R24, PITFALLS 15).

use authz_tests::session::world;
use authz_tests::signer::{Pair, Signer, b64, changed, claims, hmac, is_bad, is_good};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use ring::signature::KeyPair;
use serde_json::json;

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
