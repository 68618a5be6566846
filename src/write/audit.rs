//! Writes the rows of access events.

use super::event::{self, Event};
use super::{outlet, pending};
use crate::error;
use crate::pg::relation::Relation;
use crate::pg::statement::{self, Parameter, Statement};
use crate::pg::{authority, session_setting, worker};
use authz_engine::Instant;
use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::CStr;

/// The table of access events.
const TABLE: &str = "access_audit_event";
/// Its partition for events of months that have none.
pub const DEFAULT: &str = "access_audit_event_default";

thread_local! {
    static INSERT: Statement = const {
        Statement::new(
            c"INSERT INTO authz.access_audit_event (audit_id, tenant_id, principal_id, action_code, resource_type, \
              resource_id, access_result, policy_reason, request_id, support_session_id, source_ip, user_agent, \
              occurred_at, context, asked_by, db_role) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
            &[
                pg_sys::UUIDOID, pg_sys::UUIDOID, pg_sys::UUIDOID, pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::TEXTOID,
                pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::UUIDOID, pg_sys::INETOID, pg_sys::TEXTOID,
                pg_sys::TIMESTAMPTZOID, pg_sys::JSONBOID, pg_sys::UUIDOID, pg_sys::NAMEOID,
            ],
        )
    };
    /// The month that was last seen to have a partition, and when one was last asked for.
    static PREPARED: Cell<(i64, i64)> = const { Cell::new((0, 0)) };
    static ASKED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Raises 0A000 where an event could not be written: before anything is decided, so that no answer goes unrecorded.
pub fn must_be_writable() {
    if let Some(why) = statement::read_only() {
        error::not_writable(why);
    }
}

/// Writes the event as a row of this transaction; should the transaction roll back, it is handed over then.
pub fn record(event: &Event) {
    insert(event);
    pending::keep(&line(event));
}

/// Writes the row alone: to find out whether it can be.
pub fn insert(event: &Event) {
    must_be_writable();
    prepare_month(event.occurred_at);
    let role = statement::session_role();
    INSERT.with(|insert| {
        insert.run(
            TABLE,
            &[
                Parameter::uuid(Some(&event.audit_id)),
                Parameter::uuid(event.tenant.as_ref()),
                Parameter::uuid(event.principal.as_ref()),
                Parameter::text(Some(&event.action)),
                Parameter::text(event.resource_type.as_deref()),
                Parameter::text(event.resource_id.as_deref()),
                Parameter::text(Some(event.result())),
                Parameter::text(event.reason.as_deref()),
                Parameter::text(event.request_id.as_deref()),
                Parameter::uuid(event.privileged.as_ref()),
                Parameter::input(pg_sys::INETOID, event.source_ip.as_deref()),
                Parameter::text(event.user_agent.as_deref()),
                Parameter::int8(event.occurred_at),
                Parameter::input(pg_sys::JSONBOID, Some(&event.context)),
                Parameter::uuid(event.asked_by.as_ref()),
                Parameter::role(role),
            ],
        );
    });
}

/// Hands the event over at once: it stays whatever becomes of the transaction.
pub fn hand_over(event: &Event) {
    outlet::hand_over(line(event).as_bytes());
}

fn line(event: &Event) -> String {
    event.line(&session_setting::session_role_name())
}

/// Asks for the partitions of this month and the next where there are none, without waiting for them. The event goes to
/// the default partition until then: whoever made a partition here would hold a lock that other writers wait for, until
/// this transaction ends.
pub fn prepare_month(at: Instant) {
    let month @ (year, number) = event::month(at);
    if PREPARED.get() == month {
        return;
    }
    let next = (year + number / 12, number % 12 + 1);
    if !is_there(month) {
        // While it is held no partition is attached. An insert that has looked for its partition before one is attached
        // would fail, because the default partition must not have the row any more.
        Relation::lock_for_insert(authority::oid(DEFAULT));
    }
    if is_there(month) && is_there(next) {
        PREPARED.set(month);
    } else if ASKED.get().is_none_or(|then| at - then > PATIENCE) {
        ASKED.set(Some(at));
        worker::prepare_partitions();
    }
}

fn is_there((year, month): (i64, i64)) -> bool {
    authority::exists(&format!("{TABLE}_y{year:04}m{month:02}"))
}

/// Microseconds until a month that still has no partition is asked for again.
const PATIENCE: Instant = 60_000_000;

/// Makes the partitions that are missing, if the extension is (still) there.
pub fn prepare_partitions() {
    if authority::installed() {
        static PREPARE: &CStr = c"SELECT authz.prepare_audit_partitions()";
        Statement::new(PREPARE, &[]).run(TABLE, &[]);
    }
}
