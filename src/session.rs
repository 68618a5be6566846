//! Whom this transaction acts for.

use uuid::Uuid;

/// The session's principal, if there is a session.
pub fn principal() -> Option<Uuid> {
    None
}
