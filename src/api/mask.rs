//! Classes of columns, hash masks, and what `authz_reveal` needs of the library.

use super::id;
use crate::decision;
use crate::error;
use crate::pg::mark::{self, ColumnCall, IsMarked};
use crate::pg::{clock, identity, support};
use crate::session;
use crate::settings;
use crate::store;
use crate::store::mask::Class;
use crate::write::reveal;
use authz_engine::Instant;
use pgrx::{AnyElement, Internal, Uuid, pg_extern, pg_sys};
use ring::hmac;
use std::cell::{Cell, RefCell};

thread_local! {
    /// Which table the current role has claimed to own, and in which statement.
    static CLAIM: Cell<Option<(pg_sys::Oid, Instant)>> = const { Cell::new(None) };
    /// The key, and in which statement it was read: the transaction that made it may have been rolled back since.
    static KEY: RefCell<Option<(Instant, hmac::Key)>> = const { RefCell::new(None) };
}

fn hash(value: &[u8], column: Uuid, call: IsMarked) -> hmac::Tag {
    if !call.0 {
        error::mask_called();
    }
    let now = clock::statement_start();
    if KEY.with_borrow(|k| k.as_ref().is_none_or(|(read, _)| *read != now)) {
        let secret = store::mask::secret().unwrap_or_else(|| error::not_installed("The row of authz.mask_secret"));
        KEY.set(Some((now, hmac::Key::new(hmac::HMAC_SHA256, &secret))));
    }
    KEY.with_borrow(|k| {
        let (_, key) = k.as_ref().expect("it was just set");
        let mut context = hmac::Context::with_key(key);
        context.update(column.as_bytes());
        context.update(value);
        context.sign()
    })
}

/// The hash of a text: 32 hexadecimal digits.
#[pg_extern(name = "mask_hash", schema = "authz", stable, strict, parallel_safe)]
fn mask_hash_text(value: &str, column: Uuid, call: IsMarked) -> String {
    let tag = hash(value.as_bytes(), column, call);
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    tag.as_ref()[..16]
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// The hash of a uuid: one of version 8.
#[pg_extern(name = "mask_hash", schema = "authz", stable, strict, parallel_safe)]
fn mask_hash_uuid(value: Uuid, column: Uuid, call: IsMarked) -> Uuid {
    let tag = hash(value.as_bytes(), column, call);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&tag.as_ref()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Uuid::from_bytes(bytes)
}

/// The planner support function of `authz.mask_hash`: lets it be called with the column that it is about.
#[pg_extern(schema = "authz", immutable, parallel_safe)]
fn mask_support(request: Internal) -> Internal {
    support::answer(request, |request| {
        let call = ColumnCall::from_request(request)?;
        (store::mask::classified(&call.id()?) == Some((call.table, call.column))).then(|| call.marked())
    })
}

/// The place of a class in the order of classes; NULL: there is no such class.
#[pg_extern(schema = "authz", immutable, strict, parallel_safe)]
fn class_rank(classification: &str) -> Option<i32> {
    Class::of(classification).map(|class| class as i32 + 1)
}

/// The class of a column.
#[pg_extern(schema = "authz", stable, strict, parallel_safe)]
fn column_class(target: pg_sys::Oid, column: i16) -> &'static str {
    store::mask::class_of(target, column).name()
}

/// What stands before a column that is shown plainly. The planner replaces it by the answer whether the column's class is at
/// most the given one; where it cannot tell, the answer is no.
#[pg_extern(schema = "authz", stable, parallel_safe)]
fn within_class(value: Option<AnyElement>, max_class: Option<&str>) -> bool {
    let _ = (value, max_class);
    false
}

/// The planner support function of `authz.within_class`. Whoever changes a class makes plans of that table be made anew.
#[pg_extern(schema = "authz", immutable, parallel_safe)]
fn class_support(request: Internal) -> Internal {
    support::answer(request, |request| {
        let call = ColumnCall::from_request(request)?;
        let most = Class::of(&call.text()?)?;
        Some(mark::constant(store::mask::class_of(call.table, call.column) <= most))
    })
}

/// Unless the session is masked: a number for session and statement; else 0.
#[pg_extern(schema = "authz", stable, parallel_safe)]
fn unmasked_moment() -> i64 {
    if decision::is_masked() { 0 } else { session::moment() }
}

/// Counts a reveal of the principal, past this transaction: is it within `authz.reveal_limit`?
#[pg_extern(schema = "authz", volatile, strict, parallel_unsafe)]
fn count_reveal(principal: Uuid) -> bool {
    reveal::count(id(principal), settings::reveal_limit()).unwrap_or_else(|| error::reveal_not_counted())
}

/// Says that the current role is about to do something that the owner of a table may. Whoever asks for
/// [`claimed_ownership`] runs as its owner already, and could not tell who called it: the role that logged in may have
/// called a function of somebody else.
#[pg_extern(schema = "authz", volatile, strict, parallel_unsafe)]
fn claim_ownership(target: pg_sys::Oid) -> bool {
    let owns = identity::owns(target);
    CLAIM.set(owns.then(|| (target, clock::statement_start())));
    owns
}

/// Was the claim made in this statement? It is used up.
#[pg_extern(schema = "authz", volatile, strict, parallel_unsafe)]
fn claimed_ownership(target: pg_sys::Oid) -> bool {
    CLAIM.take() == Some((target, clock::statement_start()))
}

/// Runs the query of `authz_reveal` as the table's owner.
#[pg_extern(schema = "authz", volatile, parallel_unsafe)]
fn read_field(
    table_owner: Option<pg_sys::Oid>,
    query: Option<&str>,
    key: Option<&str>,
    tenant: Option<Uuid>,
) -> Option<String> {
    reveal::read(table_owner?, query?, key?, tenant)
}
