//! Whom this transaction acts for.

use crate::cache;
use crate::error;
use crate::pg::{clock, session_setting};
use authz_engine::Instant;
use serde_json::{Map, Value, json};
use std::cell::{Cell, RefCell};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use uuid::Uuid;

/// A session: set by `authz_set_session`, by a token, or standing for a principal that is bound to the login role.
#[derive(Clone, Debug)]
pub struct Session {
    /// Who.
    pub principal: Uuid,
    /// The only tenant that it sees; `None` = all of the principal's.
    pub tenant: Option<Uuid>,
    /// What is said of the request: an object.
    pub context: Value,
    /// When it ends, if it was begun by a token.
    pub expires: Option<Instant>,
}

/// What the setting says.
#[derive(Clone)]
enum Setting {
    /// Nobody has set a session.
    Unset,
    /// There is one, but it cannot be read.
    Unreadable,
    /// The session, which may have expired.
    Session(Rc<Session>),
}

thread_local! {
    /// What the setting said when its epoch was this.
    static PARSED: RefCell<(u64, Setting)> = const { RefCell::new((u64::MAX, Setting::Unset)) };
}

/// The session, if there is one.
pub fn current() -> Option<Rc<Session>> {
    let epoch = session_setting::epoch();
    let parsed = PARSED.with_borrow(|(at, setting)| (*at == epoch).then(|| setting.clone()));
    let setting = parsed.unwrap_or_else(|| {
        let setting = match session_setting::read().as_deref() {
            None => Setting::Unset,
            Some(text) => parse(text).map_or(Setting::Unreadable, |s| Setting::Session(Rc::new(s))),
        };
        PARSED.set((epoch, setting.clone()));
        setting
    });
    match setting {
        Setting::Unset => of_login_role(),
        // Whose session has expired, or cannot be read, is nobody: not the login role, which may be allowed more.
        Setting::Unreadable => None,
        Setting::Session(session) => {
            Some(session).filter(|s| s.expires.is_none_or(|end| clock::statement_start() < end))
        }
    }
}

thread_local! {
    /// The fingerprint of the setting when its epoch was this.
    static FINGERPRINT: Cell<(u64, u64)> = const { Cell::new((u64::MAX, 0)) };
}

/// A number, never 0, for this session in this statement: another one where either is another one. The same in the
/// leader of a parallel query and in its workers. Cheap enough to be asked for every row.
pub fn moment() -> i64 {
    known_moment().unwrap_or_else(|| {
        let mut hasher = DefaultHasher::new();
        session_setting::read().hash(&mut hasher);
        let fingerprint = hasher.finish();
        FINGERPRINT.set((session_setting::epoch(), fingerprint));
        number(fingerprint)
    })
}

/// The same if it has been asked for since the session was set. Cannot fail.
///
/// A cursor may be fetched from by another session than the one that opened it, or after a revocation: what was found
/// out once for a query goes by this number.
#[inline]
pub fn known_moment() -> Option<i64> {
    let (at, fingerprint) = FINGERPRINT.get();
    (at == session_setting::epoch()).then(|| number(fingerprint))
}

fn number(fingerprint: u64) -> i64 {
    (fingerprint ^ clock::statement_start() as u64) as i64 | 1
}

/// A principal bound to a database role (`principal.db_role`) acts when exactly that role logged in and nobody has set
/// a session: jobs and people with a role of their own need no call.
fn of_login_role() -> Option<Rc<Session>> {
    let principal = cache::principal_of_role(&session_setting::login_role()?)?;
    Some(Rc::new(Session {
        principal,
        tenant: None,
        context: Value::Object(Map::new()),
        expires: None,
    }))
}

/// Is there one also where nobody has set one?
pub fn begins_by_itself() -> bool {
    of_login_role().is_some()
}

/// Begins a session, for the transaction (`is_local`) or until it is set again or cleared.
pub fn set(session: &Session, is_local: bool) {
    let text = json!({
        "principal": session.principal.to_string(),
        "tenant": session.tenant.map(|t| t.to_string()),
        "context": session.context,
        "expires": session.expires,
    })
    .to_string();
    // Nobody finds out later that there is no session because a context was nested too deeply to be read again.
    if parse(&text).is_none() {
        error::unreadable_json();
    }
    session_setting::write(&text, session.tenant.is_some(), is_local);
}

/// Ends the session.
pub fn clear() {
    session_setting::clear();
}

/// Only this library writes the setting; whatever cannot be read is no session.
fn parse(text: &str) -> Option<Session> {
    let mut value: Value = serde_json::from_str(text).ok()?;
    let id = |v: &Value| v.as_str().and_then(|s| Uuid::try_parse(s).ok());
    Some(Session {
        principal: id(&value["principal"])?,
        tenant: match &value["tenant"] {
            Value::Null => None,
            tenant => Some(id(tenant)?),
        },
        expires: match &value["expires"] {
            Value::Null => None,
            end => Some(end.as_i64()?),
        },
        context: Some(value["context"].take()).filter(Value::is_object)?,
    })
}
