//! The keys that tokens are signed with.

use crate::pg::authority::Reading;
use crate::pg::relation::ScanKey;
use crate::token::key::{self, Key};
use authz_engine::Instant;

/// A row of `authz.signing_key`.
pub struct SigningKey {
    /// Whom tokens must be made for.
    pub audience: String,
    /// Until when it is in force.
    pub until: Instant,
    /// The key itself; the error says why it cannot be used.
    pub key: Result<Key, String>,
}

/// The keys of an issuer that are in force at `at`: those of id `kid`, or all of them.
pub fn in_force(issuer: &str, kid: Option<&str>, at: Instant, reading: &Reading) -> Vec<SigningKey> {
    let table = reading.open("signing_key");
    let [
        issuer_column,
        kid_column,
        audience,
        algorithm,
        public_key,
        secret,
        from,
        until,
    ] = table.columns([
        "issuer",
        "kid",
        "audience",
        "algorithm",
        "public_key",
        "secret",
        "active_from",
        "active_until",
    ]);
    let mut keys = vec![ScanKey::text(issuer_column, issuer)];
    keys.extend(kid.map(|kid| ScanKey::text(kid_column, kid)));
    let mut found = Vec::new();
    table.scan("signing_key_issuer_idx", &keys, |row| {
        let valid = row.interval(from, until);
        if valid.contains(at)
            && let (Some(audience), Some(algorithm)) = (row.text(audience), row.text(algorithm))
        {
            found.push(SigningKey {
                audience,
                until: valid.until,
                key: key::read(
                    &algorithm,
                    row.text(public_key).as_deref(),
                    row.bytes(secret).as_deref(),
                ),
            });
        }
        true
    });
    found
}
