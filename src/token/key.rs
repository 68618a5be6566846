//! Keys: what a row of `authz.signing_key` holds, made ready to check a signature.

use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use ring::{agreement, hmac, rand};
use spki::der::asn1::UintRef;
use spki::der::{Decode, Document, Reader, SliceReader};
use spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};

const EDWARDS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// As long as the hash, as RFC 7518 demands.
const SECRET_MIN: usize = 32;

/// What the ring functions for RSA take.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// How tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSA PKCS #1 v1.5 with SHA-256.
    Rs256,
    /// HMAC with SHA-256.
    Hs256,
}

impl Algorithm {
    /// Its name in a token's header and in a row. There is no other, least of all `none`.
    pub fn from_name(name: &str) -> Option<Algorithm> {
        match name {
            "EdDSA" => Some(Algorithm::EdDsa),
            "ES256" => Some(Algorithm::Es256),
            "RS256" => Some(Algorithm::Rs256),
            "HS256" => Some(Algorithm::Hs256),
            _ => None,
        }
    }
}

/// A key and the only algorithm that it is for.
pub struct Key {
    algorithm: Algorithm,
    /// The public key in the form that ring takes, or the secret.
    material: Vec<u8>,
}

impl Key {
    /// The algorithm.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Was `message` signed with this key?
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &'static dyn VerificationAlgorithm = match self.algorithm {
            Algorithm::EdDsa => &ED25519,
            Algorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
            Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            Algorithm::Hs256 => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &self.material);
                return hmac::verify(&key, message, signature).is_ok();
            }
        };
        UnparsedPublicKey::new(algorithm, &self.material)
            .verify(message, signature)
            .is_ok()
    }
}

/// Reads the columns of a row; the error says what is wrong with them.
pub fn read(algorithm: &str, public_key: Option<&str>, secret: Option<&[u8]>) -> Result<Key, String> {
    let Some(known) = Algorithm::from_name(algorithm) else {
        return Err("algorithm is none of EdDSA, ES256, RS256 and HS256.".to_owned());
    };
    let material = match (known, public_key, secret) {
        (Algorithm::Hs256, None, Some(secret)) => shared(secret)?,
        (Algorithm::Hs256, ..) => return Err("HS256 needs secret, and no public_key.".to_owned()),
        (_, Some(pem), None) => public(known, pem)?,
        _ => return Err(format!("{algorithm} needs public_key, and no secret.")),
    };
    Ok(Key {
        algorithm: known,
        material,
    })
}

fn shared(secret: &[u8]) -> Result<Vec<u8>, String> {
    if secret.len() < SECRET_MIN {
        return Err(format!("secret has {} bytes and needs {SECRET_MIN}.", secret.len()));
    }
    // Everybody knows a public key, and could sign with it.
    if secret.windows(10).any(|w| w == b"-----BEGIN") {
        return Err("secret is a key in PEM, not a shared secret.".to_owned());
    }
    Ok(secret.to_owned())
}

fn public(algorithm: Algorithm, pem: &str) -> Result<Vec<u8>, String> {
    let (label, document) =
        Document::from_pem(pem.trim()).map_err(|e| format!("public_key is not a key in PEM: {e}."))?;
    if label != "PUBLIC KEY" {
        return Err(format!("public_key holds a {label}, not a PUBLIC KEY."));
    }
    let info = document
        .decode_msg::<SubjectPublicKeyInfoRef<'_>>()
        .map_err(|e| format!("public_key is not a public key: {e}."))?;
    let bytes = info
        .subject_public_key
        .as_bytes()
        .ok_or("public_key is not a whole number of bytes.")?;
    let parameter = info.algorithm.parameters_oid().ok();
    let fits = match (algorithm, info.algorithm.oid, parameter) {
        (Algorithm::EdDsa, EDWARDS, None) => bytes.len() == 32,
        (Algorithm::Es256, EC, Some(P256)) => is_on_curve(bytes),
        (Algorithm::Rs256, RSA, None) => {
            check_rsa(bytes)?;
            true
        }
        _ => false,
    };
    if fits {
        Ok(bytes.to_owned())
    } else {
        Err(format!("public_key is not a key for {algorithm:?}."))
    }
}

/// ring looks at a public key only together with a signature, or when it agrees on a secret with it.
fn is_on_curve(point: &[u8]) -> bool {
    let random = rand::SystemRandom::new();
    agreement::EphemeralPrivateKey::generate(&agreement::ECDH_P256, &random).is_ok_and(|ours| {
        let theirs = agreement::UnparsedPublicKey::new(&agreement::ECDH_P256, point);
        agreement::agree_ephemeral(ours, &theirs, |_| ()).is_ok()
    })
}

fn check_rsa(der: &[u8]) -> Result<(), String> {
    let parts = SliceReader::new(der).and_then(|mut reader| {
        reader.sequence(|r| -> Result<_, spki::der::Error> { Ok((UintRef::decode(r)?, UintRef::decode(r)?)) })
    });
    let (modulus, exponent) = parts.map_err(|e| format!("public_key is not an RSA key: {e}."))?;
    let modulus = modulus.as_bytes();
    let bits = modulus.len() * 8 - modulus.first().map_or(0, |b| b.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) {
        return Err(format!(
            "public_key has {bits} bits; a key for RS256 has {} to {}.",
            RSA_BITS.start(),
            RSA_BITS.end()
        ));
    }
    // An exponent of 1 would make every message its own signature.
    match exponent.as_bytes() {
        [.., last] if last % 2 == 1 && exponent.as_bytes() != [1] => Ok(()),
        _ => Err("public_key has an exponent that is not odd, or is 1.".to_owned()),
    }
}
