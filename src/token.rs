//! Session tokens: JWTs, signed by a key of `authz.signing_key`.
//!
//! What a token says of itself selects the key and nothing else. How it is checked (algorithm, issuer, audience) is
//! what the key's row says. Times are compared with the statement's, like every other one here.
//!
//! No JWT crate takes part: none was found that refuses members that are there twice, and jsonwebtoken reads no number
//! once any crate of the build has turned on serde_json's `arbitrary_precision`.

pub mod key;
mod strict;

use crate::pg::authority::Reading;
use crate::pg::clock;
use crate::session::Session;
use crate::settings;
use crate::store::principal;
use crate::store::signing_key::{self, SigningKey};
use authz_engine::Instant;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use key::Algorithm;
use serde_json::{Map, Value};
use uuid::Uuid;

/// Bytes: more than any identity provider puts into a request's header.
const LENGTH_MAX: usize = 8192;

/// What a token may be for. Others of the same issuer, such as logout tokens, say who somebody is as well.
const TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// 2000-01-01, from which PostgreSQL counts, in seconds since 1970-01-01, from which tokens count.
const POSTGRES_EPOCH: i64 = 946_684_800;
const MICROSECONDS: i64 = 1_000_000;

/// What is wrong with a token: for the server's log only. It may quote the token.
pub struct Fault(String);

impl Fault {
    /// Fit for a log: on one line, and not too long, whatever the token had in it.
    pub fn describe(&self) -> String {
        let spaced = |c: char| if c.is_control() { ' ' } else { c };
        self.0.chars().take(300).map(spaced).collect()
    }
}

fn fault<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault(what.into()))
}

/// Checks a token and says whose session it begins.
pub fn accept(token: Option<&str>) -> Result<Session, Fault> {
    let now = clock::statement_start();
    let Some(token) = token else {
        return fault("it is NULL");
    };
    if token.len() > LENGTH_MAX {
        return fault(format!("it has {} bytes, more than {LENGTH_MAX}", token.len()));
    }
    let parts = Parts::of(token)?;
    let reading = Reading::begin();
    let key = verify(&parts, now, &reading)?;
    let claims = &parts.claims;
    let expires = expiry(claims, now)?.min(key.until);
    let Some(subject) = claims["sub"].as_str().filter(|s| !s.is_empty()) else {
        return fault("it has no sub");
    };
    let Some(principal) = principal::id_of_subject(subject, &reading) else {
        return fault(format!("its sub {subject:?} is no principal, or two"));
    };
    Ok(Session {
        principal,
        tenant: tenant(claims)?,
        context: context(claims)?,
        expires: Some(expires),
    })
}

/// A token taken apart (RFC 7515, compact serialization). Nothing of it is true until it is verified.
struct Parts<'t> {
    algorithm: Algorithm,
    kid: Option<String>,
    claims: Value,
    /// What is signed.
    message: &'t str,
    signature: Vec<u8>,
}

impl Parts<'_> {
    fn of(token: &str) -> Result<Parts<'_>, Fault> {
        let parts: Vec<&str> = token.split('.').collect();
        let [header, claims, signature] = parts[..] else {
            return fault("it does not have three parts");
        };
        let header = object("header", header)?;
        let Some(algorithm) = header["alg"].as_str().and_then(Algorithm::from_name) else {
            return fault(format!("its alg is {}", header["alg"]));
        };
        let kid = match &header["kid"] {
            Value::Null => None,
            Value::String(kid) => Some(kid.clone()),
            other => return fault(format!("its kid is {other}")),
        };
        if header.get("crit").is_some() {
            return fault("its header has crit, and no extension is understood here");
        }
        let is_known = |name: &str| {
            let name = name.to_ascii_lowercase();
            TYPES.contains(&name.strip_prefix("application/").unwrap_or(&name))
        };
        if !header["typ"].is_null() && !header["typ"].as_str().is_some_and(is_known) {
            return fault(format!("its typ is {}", header["typ"]));
        }
        Ok(Parts {
            algorithm,
            kid,
            claims: object("payload", claims)?,
            message: &token[..token.len() - signature.len() - 1],
            signature: decode("signature", signature)?,
        })
    }
}

fn decode(what: &str, part: &str) -> Result<Vec<u8>, Fault> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|e| Fault(format!("its {what} is not base64url: {e}")))
}

fn object(what: &str, part: &str) -> Result<Value, Fault> {
    match strict::parse(&decode(what, part)?) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => fault(format!("its {what} is not an object")),
        Err(e) => fault(format!("its {what} cannot be read: {e}")),
    }
}

/// The key that has signed the token. Without a `kid` only one key of the issuer may be in question.
fn verify(token: &Parts<'_>, now: Instant, reading: &Reading) -> Result<SigningKey, Fault> {
    let Some(issuer) = token.claims["iss"].as_str() else {
        return fault("it has no iss");
    };
    let whose = format!("kid {:?} of issuer {issuer:?}", token.kid);
    let mut why = format!("no key is in force for {whose}");
    let mut keys = signing_key::in_force(issuer, token.kid.as_deref(), now, reading);
    keys.retain(|candidate| match &candidate.key {
        Err(unusable) => {
            why = format!("the key for {whose} cannot be used: {unusable}");
            false
        }
        Ok(key) if key.algorithm() != token.algorithm => {
            why = format!(
                "its alg is {:?}, but the key for {whose} is for {:?}",
                token.algorithm,
                key.algorithm()
            );
            false
        }
        Ok(_) if !is_for(&token.claims, &candidate.audience) => {
            why = format!("its aud is {}, not that of the key for {whose}", token.claims["aud"]);
            false
        }
        Ok(_) => true,
    });
    if token.kid.is_none() && keys.len() > 1 {
        return fault(format!(
            "it names no key, and issuer {issuer:?} has more than one that fits"
        ));
    }
    if !keys.is_empty() {
        why = format!("its signature is not by {whose}");
    }
    keys.into_iter()
        .find(|candidate| {
            let signed = token.message.as_bytes();
            candidate
                .key
                .as_ref()
                .is_ok_and(|key| key.verifies(signed, &token.signature))
        })
        .ok_or(Fault(why))
}

/// Is the token made for `audience`, among others or alone?
fn is_for(claims: &Value, audience: &str) -> bool {
    match &claims["aud"] {
        Value::String(one) => one == audience,
        Value::Array(several) => several.iter().any(|one| one == audience),
        _ => false,
    }
}

/// A NumericDate: seconds since 1970, perhaps with a fraction, which is cut. `None` = the claim is not there.
fn seconds(claims: &Value, claim: &str) -> Result<Option<i64>, Fault> {
    let Some(date) = claims.get(claim) else {
        return Ok(None);
    };
    let fraction = || date.as_f64().filter(|s| s.is_finite()).map(|s| s as i64);
    match date.as_i64().or_else(fraction) {
        Some(seconds) => Ok(Some(seconds)),
        None => fault(format!("its {claim} is {date}")),
    }
}

/// When the session ends: with the token, or when the token has become too old. An error if it is not its time.
fn expiry(claims: &Value, now: Instant) -> Result<Instant, Fault> {
    let (leeway, max_age) = (settings::token_leeway(), settings::token_max_age());
    let now = now.div_euclid(MICROSECONDS) + POSTGRES_EPOCH;
    for start in ["nbf", "iat"] {
        if seconds(claims, start)?.is_some_and(|start| start > now + leeway) {
            return fault(format!("its {start} is in the future"));
        }
    }
    let Some(mut end) = seconds(claims, "exp")? else {
        return fault("it has no exp");
    };
    if max_age > 0 {
        let Some(issued) = seconds(claims, "iat")? else {
            return fault("it has no iat, which authz.token_max_age needs");
        };
        end = end.min(issued.saturating_add(max_age));
    }
    let end = end.saturating_add(leeway);
    if end <= now {
        return fault("it has expired, by its exp or by authz.token_max_age");
    }
    Ok(end.saturating_sub(POSTGRES_EPOCH).saturating_mul(MICROSECONDS))
}

/// `tenant`, or `tenant_id`. One that is there but is no uuid must not become a session that sees every tenant.
fn tenant(claims: &Value) -> Result<Option<Uuid>, Fault> {
    let mut tenant = None;
    for claim in ["tenant", "tenant_id"] {
        let Some(given) = claims.get(claim) else { continue };
        match given.as_str().and_then(|id| Uuid::try_parse(id).ok()) {
            Some(id) if tenant.is_none_or(|other| other == id) => tenant = Some(id),
            Some(_) => return fault("its tenant and tenant_id differ"),
            None => return fault(format!("its {claim} is not a uuid")),
        }
    }
    Ok(tenant)
}

/// What conditions see: the claim `context`, whether a second factor was used, and what identifies the token.
fn context(claims: &Value) -> Result<Value, Fault> {
    let mut context = match claims.get("context") {
        None => Map::new(),
        Some(Value::Object(context)) => context.clone(),
        Some(_) => return fault("its context is not an object"),
    };
    if claims["amr"]
        .as_array()
        .is_some_and(|methods| methods.iter().any(|m| m == "mfa"))
    {
        context.insert("mfa".to_owned(), Value::Bool(true));
    }
    let facts = ["iss", "sub", "jti", "iat", "exp"];
    let facts = facts
        .into_iter()
        .filter_map(|f| Some((f.to_owned(), claims.get(f)?.clone())));
    context.insert("token".to_owned(), Value::Object(facts.collect()));
    Ok(Value::Object(context))
}
