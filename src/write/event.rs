//! What an access event says.

use crate::pg::statement;
use crate::session;
use authz_engine::Instant;
use serde_json::{Map, Value, json};
use std::net::IpAddr;
use uuid::Uuid;

/// An access event: a row of `authz.access_audit_event`.
#[derive(Clone, Debug)]
pub struct Event {
    /// Key. Later ones are greater, so that they meet in the same pages of the index.
    pub audit_id: Uuid,
    /// The resource's tenant.
    pub tenant: Option<Uuid>,
    /// Who did it, or whose permission was asked about.
    pub principal: Option<Uuid>,
    /// The permission, or another name of what was done.
    pub action: String,
    /// The resource's type.
    pub resource_type: Option<String>,
    /// Canonical text of its key.
    pub resource_id: Option<String>,
    /// Allowed or denied?
    pub allowed: bool,
    /// Reason code of a denial.
    pub reason: Option<String>,
    /// The application's request.
    pub request_id: Option<String>,
    /// The privileged session that was in force.
    pub privileged: Option<Uuid>,
    /// Where the request came from.
    pub source_ip: Option<String>,
    /// What it was made with.
    pub user_agent: Option<String>,
    /// When it happened.
    pub occurred_at: Instant,
    /// What was said of the request: an object, as JSON.
    pub context: String,
    /// The session's principal, which may have asked about somebody else.
    pub asked_by: Option<Uuid>,
}

/// What a caller says of an event; the rest comes from the session and the clock.
pub struct Said<'a> {
    /// Who did it, or whose permission was asked about.
    pub principal: Option<Uuid>,
    /// The resource's tenant.
    pub tenant: Option<Uuid>,
    /// The permission, or another name of what was done.
    pub action: &'a str,
    /// The resource's type.
    pub resource_type: Option<&'a str>,
    /// Canonical text of its key.
    pub resource_id: Option<String>,
    /// Allowed or denied?
    pub allowed: bool,
    /// Reason code of a denial.
    pub reason: Option<&'a str>,
    /// The privileged session that was in force.
    pub privileged: Option<Uuid>,
    /// What was said of the request.
    pub context: Option<&'a Value>,
}

impl Event {
    /// An event of now. The session says in which request it was; only without a session does the caller's own context.
    pub fn new(said: Said<'_>, now: Instant) -> Event {
        let session = session::current();
        let request = session.as_ref().map(|s| &s.context).or(said.context);
        let text = |key: &str| match request.map(|r| &r[key]) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.replace('\0', "")),
            Some(other) => Some(other.to_string()),
        };
        Event {
            audit_id: time_ordered(now),
            tenant: said.tenant,
            principal: said.principal,
            action: short(said.action.to_owned(), 500),
            resource_type: said.resource_type.map(|t| short(t.to_owned(), 500)),
            resource_id: said.resource_id.map(|id| short(id, 2000)),
            allowed: said.allowed,
            reason: said.reason.map(str::to_owned),
            request_id: text("request_id"),
            privileged: said.privileged,
            // What is no address must not keep the event from being written; it is still in the context.
            source_ip: text("source_ip").filter(|ip| ip.parse::<IpAddr>().is_ok()),
            user_agent: text("user_agent"),
            occurred_at: now,
            context: match said.context {
                Some(Value::Object(context)) if !context.is_empty() => readable(context),
                _ => "{}".to_owned(),
            },
            asked_by: session.map(|s| s.principal),
        }
    }

    /// The row as one line of JSON, with the columns' names.
    pub fn line(&self, db_role: &str) -> String {
        let mut line = json!({
            "audit_id": self.audit_id.to_string(),
            "tenant_id": self.tenant.map(|t| t.to_string()),
            "principal_id": self.principal.map(|p| p.to_string()),
            "action_code": self.action,
            "resource_type": self.resource_type,
            "resource_id": self.resource_id,
            "access_result": self.result(),
            "policy_reason": self.reason,
            "request_id": self.request_id,
            "support_session_id": self.privileged.map(|s| s.to_string()),
            "source_ip": self.source_ip,
            "user_agent": self.user_agent,
            "occurred_at": rfc3339(self.occurred_at),
            "asked_by": self.asked_by.map(|p| p.to_string()),
            "db_role": db_role,
        })
        .to_string();
        // The context is JSON already.
        line.truncate(line.len() - 1);
        line + ",\"context\":" + &self.context + "}"
    }

    /// `allowed` or `denied`.
    pub const fn result(&self) -> &'static str {
        if self.allowed { "allowed" } else { "denied" }
    }
}

/// The first bytes of a text. Type and id are in one index, whose entries have at most 2704: an event with more could not
/// be written.
fn short(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most - 3));
        text.push_str("...");
    }
    text
}

/// A context as jsonb can store it: text there has no NUL.
fn readable(context: &Map<String, Value>) -> String {
    let text = Value::Object(context.clone()).to_string();
    if text.contains("\\u0000") {
        text.replace("\\u0000", "\\ufffd")
    } else {
        text
    }
}

/// Microseconds from 1970 to 2000, where PostgreSQL's time begins.
const EPOCH: i64 = 946_684_800_000_000;

/// A uuid of version 7: milliseconds since 1970, then random bits.
fn time_ordered(now: Instant) -> Uuid {
    let mut bytes = statement::random();
    let milliseconds = ((now + EPOCH) / 1000) as u64;
    bytes[..6].copy_from_slice(&milliseconds.to_be_bytes()[2..]);
    bytes[6] = bytes[6] & 0x0f | 0x70;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Uuid::from_bytes(bytes)
}

/// `2026-11-22T17:05:37.123456Z`
fn rfc3339(at: Instant) -> String {
    let micros = at + EPOCH;
    let (days, rest) = (micros.div_euclid(86_400_000_000), micros.rem_euclid(86_400_000_000));
    let (year, month, day) = date(days);
    let seconds = rest / 1_000_000;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        rest % 1_000_000
    )
}

/// Year and month (UTC) of an instant.
pub fn month(at: Instant) -> (i64, i64) {
    let (year, month, _) = date((at + EPOCH).div_euclid(86_400_000_000));
    (year, month)
}

/// Year, month and day of a number of days since 1970: Hinnant's algorithm, in eras of 400 years from March on.
const fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}
