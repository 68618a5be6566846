//! Whom this transaction acts for.

use crate::cache;
use crate::pg::session_setting;
use serde_json::{Map, Value, json};
use std::cell::RefCell;
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
}

thread_local! {
    /// What the setting said when its epoch was this.
    static PARSED: RefCell<(u64, Option<Rc<Session>>)> = const { RefCell::new((u64::MAX, None)) };
}

/// The session, if there is one.
pub fn current() -> Option<Rc<Session>> {
    let epoch = session_setting::epoch();
    let parsed = PARSED.with_borrow(|(at, session)| (*at == epoch).then(|| session.clone()));
    let session = parsed.unwrap_or_else(|| {
        let session = session_setting::read().and_then(|text| parse(&text)).map(Rc::new);
        PARSED.set((epoch, session.clone()));
        session
    });
    session.or_else(of_login_role)
}

/// A principal bound to a database role (`principal.db_role`) acts when exactly that role logged in and nobody has set
/// a session: jobs and people with a role of their own need no call.
fn of_login_role() -> Option<Rc<Session>> {
    let principal = cache::principal_of_role(&session_setting::login_role()?)?;
    Some(Rc::new(Session {
        principal,
        tenant: None,
        context: Value::Object(Map::new()),
    }))
}

/// Begins a session, for the transaction (`is_local`) or until it is set again or cleared.
pub fn set(session: &Session, is_local: bool) {
    let text = json!({
        "principal": session.principal.to_string(),
        "tenant": session.tenant.map(|t| t.to_string()),
        "context": session.context,
    });
    session_setting::write(&text.to_string(), is_local);
}

/// Ends the session.
pub fn clear() {
    session_setting::write("", false);
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
        context: value["context"].take(),
    })
}
