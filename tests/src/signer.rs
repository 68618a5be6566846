//! An identity provider: keys, tokens that they sign, and whether a session begins by one.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use postgres::Client;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::session::principal;
use crate::{execute, report, value};

/// The provider.
pub const ISSUER: &str = "https://id.example.org/";
/// Whom its tokens are for.
pub const AUDIENCE: &str = "casework";

/// A key for tests alone (ring makes keys of the other kinds, but none for RSA): PKCS #8, 2048 bits.
pub const RSA_KEY: &str = "\
    MIIEvwIBADANBgkqhkiG9w0BAQEFAASCBKkwggSlAgEAAoIBAQCzYZ+BDZKijhJLWWrFkwjwctMcypI7kV2anDUOQKmkWru6\
    nKEjKglHX/LuGn2eN7Fhrq987zQkOQg4+73/PuAnH8Li4FB7mGmS2P5grfETdb3NNVcrrBOyOAS3iBxoL6WRCkJW7ZttT6nh\
    VG0rwgX+Q01m0tFtBjJnic1iIHradZv4On561ZLU/nEkBP1SotCrLW3yvyxm7sMiYVsa4tukQhyEn2FGPUJkZjGiV5ewLBH5\
    kU9f7v82lkQDgQaHjgVSxx9AefNpIA6f35MuCYorurgoP0hUSuxsGKQ3g7V3/SFZM8U5C/lEnQlUyBM/HbXNDknKlxc5ZQ35\
    bHUZl6+BAgMBAAECggEAB2AHpVAwC7Pop6VtAOOLNguah3ACtCVFYnJysfvRnbrHRiRjcaUsTX1x6P041fT3O4tplqrlC2o2\
    3tTm2mQ05hbltdtAI9y/1nRKfSIZq9Gm9JVxWI/SHX01IHCdrmDrHzv7P0S0o7lnRCbq+CYZhfsxZv1a8+8RynT9dz/bnTiw\
    CmcOM6u0NuT8BndUQ/2RN68jLvfiINf8qP5vMlzOFI70vGoSV1saOttOw9tq2QjY6a71IQJoZW0x9ycN/K3jMydtp6A+3KvZ\
    Lyy4wK4J1Afat4SVriezDc28b1nR7l4yV/stApWlsI3BV0vz7Ub/uFarxEE7X1DWBZnCd4d3+QKBgQDWvErdfywdj7G5ksQW\
    TkOSQi4xILvuJeP9aDxAALR2YnFw3HOG6ecZyd115eqENc7MaJFrcszdncJq7v/qKeGbo7fmTL5VfbLdn/rdCOtPnjSQUdXT\
    lo2d1FYfxh+EXiMoAJ/e+VIcf+mZaPmfk+IColI67XDn8QvrQPpDIusAnQKBgQDV2h2mhQFmM9jEWchQlqc9h/vISFbXYs59\
    PNHob0LT6EQsNy1ZTHm7KGzujMMWMLbenzcz+Vah374Z8BEVK6nb7WuWuFy0ZaKBO2CoI/9x+8+3T/JL9bX4tHjpJL4vd811\
    1moYuJv0yVBmpyKPfAVnINELf4TA4N1CmhBs12AbNQKBgQDJTGHyGdFFNPsqN4dSUbPOW/PpYgJKUYLUfu5cIU0K3WXyovY5\
    tvNJnY7ZgtrBbZ+axzvrOgcKiWVD0SBeZzxzJpqybabPhbIzSFFm+4F7dZdY4x5L54qCNhc2WggZkhXq3gsAf0CWLuLRSTMY\
    gQ0R4xCq5QM+qxy9QIBah1U9kQKBgQCOi0jgSh/YpA6FMuNW9FSdqxqlMbLQ9sd0qymvqRn+bf+jCVRtBZDOs++IQsN28xmx\
    4qbFOhoI5D6uw1pfpi8erW7dlB4XEPf09ENFUFlg/NxD8EItZ6bYFFPT8+3hbhXByh4GRGeQDvBMvHNI+P4Q88rjwygV+M0D\
    K/Zu1lD1UQKBgQCEnUMGAtjhqoWfwOJq3XNmeMYRrY40FOPVv5FCx0gaU4mGkqKXRXjnO/hG99pz0M0Ez5WLB/P7/yzpowR7\
    M1/sadogioMbJ+5LO7T58XI87bMsncI0HszDXKJzayTHYl11LKy/Z/Z4ge9C3ORGZwRSdDtNLHPFRaZt+v1ufzI91Q==";

/// Seconds since 1970.
pub fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// Base64 as tokens have it.
pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A DER element.
pub fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        n @ 0..=127 => out.push(n as u8),
        n => out.extend([0x82, (n >> 8) as u8, n as u8]),
    }
    out.extend_from_slice(content);
    out
}

/// The armour of keys.
pub fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len())
        .step_by(64)
        .map(|i| &text[i..text.len().min(i + 64)])
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// Ed25519, in DER.
pub const OID_ED25519: &[u8] = &[0x06, 3, 0x2b, 0x65, 0x70];
/// Elliptic curves.
pub const OID_EC: &[u8] = &[0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
/// The curve P-256.
pub const OID_P256: &[u8] = &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
/// RSA.
pub const OID_RSA: &[u8] = &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
/// NULL, in DER.
pub const NULL: &[u8] = &[0x05, 0];

/// A public key in PEM, of an algorithm (its OID and parameters) and the key's own bytes.
pub fn public_pem(algorithm: &[&[u8]], key: &[u8]) -> String {
    let bits = [&[0][..], key].concat();
    pem(
        "PUBLIC KEY",
        &der(0x30, &[der(0x30, &algorithm.concat()), der(0x03, &bits)].concat()),
    )
}

/// An RSA key by PKCS #1.
pub fn rsa_public(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let unsigned = |n: &[u8]| der(0x02, &[&[0][..], n].concat());
    let unsigned = |n: &[u8]| if n[0] & 0x80 == 0 { der(0x02, n) } else { unsigned(n) };
    der(0x30, &[unsigned(modulus), unsigned(exponent)].concat())
}

/// PKCS #1 has the modulus first: the public key is SEQUENCE { INTEGER, INTEGER }, both lengths in three bytes.
pub fn modulus_of(pair: &RsaKeyPair) -> Vec<u8> {
    let public = pair.public().as_ref();
    public[9..9 + pair.public().modulus_len()].to_vec()
}

/// A key pair, or a secret.
pub enum Pair {
    /// Ed25519.
    EdDsa(Ed25519KeyPair),
    /// ECDSA over P-256 with SHA-256.
    Es256(EcdsaKeyPair),
    /// RSA with SHA-256.
    Rs256(Box<RsaKeyPair>),
    /// HMAC with SHA-256.
    Hs256(Vec<u8>),
}

/// An identity provider's key.
pub struct Signer {
    /// What headers name it by.
    pub kid: String,
    /// What it signs with.
    pub pair: Pair,
}

impl Signer {
    /// A key of that pair.
    pub fn new(kid: &str, pair: Pair) -> Signer {
        Signer {
            kid: kid.to_owned(),
            pair,
        }
    }

    /// A new key.
    pub fn ed25519(kid: &str) -> Signer {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Signer::new(kid, Pair::EdDsa(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap()))
    }

    /// A new key.
    pub fn es256(kid: &str) -> Signer {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Signer::new(
            kid,
            Pair::Es256(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap()),
        )
    }

    /// The key above.
    pub fn rs256(kid: &str) -> Signer {
        let pkcs8 = STANDARD.decode(RSA_KEY).unwrap();
        Signer::new(kid, Pair::Rs256(Box::new(RsaKeyPair::from_pkcs8(&pkcs8).unwrap())))
    }

    /// A new secret.
    pub fn hs256(kid: &str) -> Signer {
        Signer::new(kid, Pair::Hs256(rand::random::<[u8; 32]>().to_vec()))
    }

    /// One of each algorithm.
    pub fn all() -> [Signer; 4] {
        [
            Signer::ed25519("ed"),
            Signer::es256("es"),
            Signer::rs256("rs"),
            Signer::hs256("hs"),
        ]
    }

    /// As headers and `authz.signing_key` spell it.
    pub fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::EdDsa(_) => "EdDSA",
            Pair::Es256(_) => "ES256",
            Pair::Rs256(_) => "RS256",
            Pair::Hs256(_) => "HS256",
        }
    }

    /// PEM; none of a secret.
    pub fn public_key(&self) -> Option<String> {
        match &self.pair {
            Pair::EdDsa(pair) => Some(public_pem(&[OID_ED25519], pair.public_key().as_ref())),
            Pair::Es256(pair) => Some(public_pem(&[OID_EC, OID_P256], pair.public_key().as_ref())),
            Pair::Rs256(pair) => Some(public_pem(&[OID_RSA, NULL], pair.public_key().as_ref())),
            Pair::Hs256(_) => None,
        }
    }

    /// The secret; none of a pair.
    pub fn secret(&self) -> Option<&[u8]> {
        match &self.pair {
            Pair::Hs256(secret) => Some(secret),
            _ => None,
        }
    }

    /// Makes it a key of the provider for its audience; the id of the row.
    pub fn register(&self, c: &mut Client) -> Uuid {
        self.register_for(c, ISSUER, AUDIENCE)
    }

    /// The same for others.
    pub fn register_for(&self, c: &mut Client, issuer: &str, audience: &str) -> Uuid {
        value(
            c,
            "INSERT INTO authz.signing_key (kid, issuer, audience, algorithm, public_key, secret)
             VALUES ($1, $2, $3, $4, $5, $6) RETURNING key_id",
            &[
                &self.kid,
                &issuer,
                &audience,
                &self.algorithm(),
                &self.public_key(),
                &self.secret(),
            ],
        )
    }

    /// Signs a message.
    pub fn signature(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Es256(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Pair::Rs256(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(
                    &ring::signature::RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    message,
                    &mut signature,
                )
                .unwrap();
                signature
            }
            Pair::Hs256(secret) => hmac(secret, message),
        }
    }

    /// A token with exactly this header and payload.
    pub fn sign(&self, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", b64(header), b64(payload));
        format!("{message}.{}", b64(self.signature(message.as_bytes())))
    }

    /// The header of its tokens.
    pub fn header(&self) -> Value {
        json!({"alg": self.algorithm(), "kid": self.kid, "typ": "JWT"})
    }

    /// A token.
    pub fn token(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }
}

/// HMAC with SHA-256.
pub fn hmac(secret: &[u8], message: &[u8]) -> Vec<u8> {
    ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret), message)
        .as_ref()
        .to_vec()
}

/// What a good token says.
pub fn claims(sub: &str) -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": sub, "exp": now() + 600})
}

/// The claims with some of them changed (or taken away, where they become null).
pub fn changed(changes: Value) -> Value {
    let mut claims = claims("alice");
    for (claim, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(claim),
            value => claims.as_object_mut().unwrap().insert(claim.clone(), value.clone()),
        };
    }
    claims
}

/// Tries to begin a lasting session.
pub fn begin(c: &mut Client, token: &str) -> Result<(), postgres::Error> {
    c.execute("SELECT authz_set_session_token($1, false)", &[&token])
        .map(|_| ())
}

/// The token is refused, in the only words that there are for it.
#[track_caller]
pub fn is_bad(c: &mut Client, what: &str, token: &str) {
    execute(c, "SELECT authz_clear_session()");
    let Err(error) = begin(c, token) else {
        panic!("accepted: {what}: {token}")
    };
    let e = error.as_db_error().unwrap_or_else(|| panic!("{what}: {error}"));
    let said = (e.code().code(), e.message(), e.detail(), e.hint(), e.where_());
    assert_eq!(
        said,
        (
            "28000",
            "bad or expired session token",
            Some("The token begins no session."),
            Some("Get a new token. The server's log says what is wrong with this one."),
            None
        ),
        "{what}"
    );
    assert_eq!(principal(c), None, "{what}: there is a session");
}

/// A session begins by the token.
#[track_caller]
pub fn is_good(c: &mut Client, what: &str, token: &str) {
    execute(c, "SELECT authz_clear_session()");
    if let Err(e) = begin(c, token) {
        panic!("{what}: {}", report(&e));
    }
}
