//! Reads of audited views: each statement leaves one event for each such view that it reads.
//!
//! Before a statement gives away a row it is made sure that the event can be written: in a transaction that can write,
//! and by writing it once and undoing that. How many rows there were is known when the execution ends, and then the
//! event is written, as a row of the reading transaction, which [`super::pending`] hands over should that roll back.
//! An execution that is broken off (by an error, or a cursor that its transaction leaves open in a state in which it
//! cannot be closed) ends with its transaction: the event is handed over by a rollback, and written before a commit.
//!
//! Where the view's owner chose so, what cannot be written is handed over instead of refused.

use super::audit;
use super::event::{Event, Said};
use super::outlet;
use crate::decision;
use crate::error;
use crate::pg::relation;
use crate::pg::statement::{self, Parameter, Statement};
use crate::pg::subtransaction::{self, attempt, rehearse, try_to};
use crate::pg::transaction::{self, End};
use crate::pg::{clock, executor, session_setting};
use crate::session;
use crate::store::audited_view::{self, OnFailure};
use pgrx::pg_sys::{self, Oid};
use serde_json::{Value, json};
use std::cell::RefCell;
use uuid::Uuid;

/// What an event of a read is called.
pub const ACTION: &str = "audited_view.read";
/// The type of its resource.
pub const TYPE: &str = "audited_view";

/// A view that an execution reads.
#[derive(Clone)]
pub struct Read {
    event: Event,
    role: String,
    /// Who has read from it besides: a cursor can be fetched from by several sessions.
    others: Vec<Uuid>,
    statement: &'static str,
    on_failure: OnFailure,
}

/// An execution whose events are not written yet.
struct Open {
    id: u64,
    /// The subtransaction that it began in.
    within: u32,
    reads: Vec<Read>,
    /// How it ended, or would if it did now.
    outcome: &'static str,
}

thread_local! {
    /// Not borrowed while anything of PostgreSQL is called.
    static OPEN: RefCell<Vec<Open>> = const { RefCell::new(Vec::new()) };
    /// What waits in the queue for the end of the transaction.
    static HELD: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// What is to be recorded of a statement that reads these views. Fails where that would not be possible.
pub fn prepare(views: &[Oid], statement: &'static str) -> Vec<Read> {
    let reads: Vec<Read> = views
        .iter()
        .filter_map(|view| Some((view, audited_view::on_failure(*view)?)))
        .map(|(view, on_failure)| Read {
            event: event(&relation::qualified_name(*view)),
            role: session_setting::session_role_name(),
            others: Vec::new(),
            statement,
            on_failure,
        })
        .collect();
    for read in reads.iter().filter(|r| r.on_failure == OnFailure::Error) {
        if let Some(why) = cannot_write() {
            error::read_without_event(&read.name(), why);
        }
        rehearse(|| audit::insert(&read.event));
    }
    reads
}

/// An event of now, by the session of now.
fn event(view: &str) -> Event {
    let session = session::current();
    let said = Said {
        principal: session.as_ref().map(|s| s.principal),
        tenant: session.as_ref().and_then(|s| s.tenant),
        action: ACTION,
        resource_type: Some(TYPE),
        resource_id: Some(view.to_owned()),
        allowed: true,
        reason: None,
        privileged: session
            .as_ref()
            .and_then(|s| decision::privileged_session(s.principal, s.tenant)),
        context: None,
    };
    Event::new(said, clock::wall())
}

fn cannot_write() -> Option<&'static str> {
    statement::read_only()
        .or_else(|| subtransaction::in_parallel().then_some("It is read by a function inside a parallel query."))
}

impl Read {
    fn name(&self) -> String {
        self.event.resource_id.clone().unwrap_or_default()
    }

    fn context(&self, rows: Option<u64>, outcome: &str) -> Value {
        json!({
            "surface": self.event.resource_id,
            "statement": self.statement,
            "rows": rows,
            "outcome": outcome,
        })
    }

    /// The event as it ended.
    fn ended(&mut self, rows: u64, outcome: &str) {
        let mut context = self.context(Some(rows), outcome);
        if !self.others.is_empty() {
            context["also_read_by"] = self.others.iter().map(Uuid::to_string).collect();
        }
        self.event.context = context.to_string();
    }

    /// Writes the event, or does what the owner chose instead.
    fn write(&mut self, rows: u64, outcome: &str) {
        self.ended(rows, outcome);
        match self.on_failure {
            OnFailure::Error => audit::record(&self.event),
            OnFailure::Log => {
                if cannot_write().is_some() || !attempt(|| audit::record(&self.event)) {
                    self.hand_over();
                }
            }
        }
    }

    /// Hands the event over: neither fails nor waits.
    fn hand_over(&self) {
        let line = self.event.line(&self.role);
        // On a standby nobody empties the queue.
        if statement::is_standby() {
            outlet::log(line.as_bytes());
        } else {
            outlet::hand_over(line.as_bytes());
        }
    }
}

/// The execution has begun. Until the transaction ends, a crash of the server must not leave a read without a trace: what is
/// known of it waits in the queue, or stands in the log.
pub fn open(id: u64, mut reads: Vec<Read>) {
    for read in &mut reads {
        read.event.context = read.context(None, "interrupted").to_string();
        let line = read.event.line(&read.role);
        match outlet::hold(line.as_bytes()) {
            Some(held) => HELD.with_borrow_mut(|h| h.push(held)),
            None => outlet::log_beginning(line.as_bytes()),
        }
    }
    OPEN.with_borrow_mut(|open| {
        open.push(Open {
            id,
            within: transaction::current_subtransaction(),
            reads,
            outcome: "failed",
        });
    });
}

/// Rows are about to be read, perhaps the first ones. Who began to read may have been somebody else, or nobody.
pub fn running(id: u64, first: bool) {
    let now = session::current().map(|s| s.principal);
    let changed = OPEN.with_borrow(|open| {
        open.iter()
            .find(|o| o.id == id)
            .and_then(|o| o.reads.first())
            .is_some_and(|r| r.event.principal != now)
    });
    if !changed {
        return;
    }
    let names: Vec<String> = OPEN.with_borrow(|open| {
        let mine = open.iter().find(|o| o.id == id);
        mine.map(|o| o.reads.iter().map(Read::name).collect())
            .unwrap_or_default()
    });
    let fresh: Vec<Event> = names.iter().map(|name| event(name)).collect();
    OPEN.with_borrow_mut(|open| {
        let Some(mine) = open.iter_mut().find(|o| o.id == id) else {
            return;
        };
        for (read, fresh) in mine.reads.iter_mut().zip(fresh) {
            if first {
                // The same event, of whoever it is now.
                read.event = Event {
                    audit_id: read.event.audit_id,
                    occurred_at: read.event.occurred_at,
                    ..fresh
                };
            } else if let Some(principal) = fresh.principal.filter(|p| !read.others.contains(p)) {
                read.others.push(principal);
            }
        }
    });
}

/// The execution has ended well: its events are written. Those that cannot be stay open, and go with the transaction.
///
/// In a subtransaction nothing is raised then: PostgreSQL does not expect that a cursor cannot be closed, and after a rollback to
/// before that it would take it for one that is open.
pub fn finish(id: u64) {
    if !subtransaction::is_nested() {
        write(id, "completed");
    } else if cannot_write().is_some() || !try_to(|| write(id, "completed")) {
        OPEN.with_borrow_mut(|open| {
            if let Some(mine) = open.iter_mut().find(|o| o.id == id) {
                mine.outcome = "completed";
            }
        });
    }
}

fn write(id: u64, outcome: &str) {
    let rows = executor::rows(id);
    // Each stays in the list until it is written: if that fails, and also if it ends the backend, it goes with the
    // transaction. Writing it may read audited views itself.
    let last = || {
        OPEN.with_borrow(|open| {
            let mine = open.iter().find(|o| o.id == id)?;
            mine.reads.last().cloned()
        })
    };
    while let Some(mut read) = last() {
        read.write(rows, outcome);
        OPEN.with_borrow_mut(|open| {
            if let Some(mine) = open.iter_mut().find(|o| o.id == id) {
                mine.reads.pop();
            }
        });
    }
    OPEN.with_borrow_mut(|open| open.retain(|o| o.id != id));
    executor::forget(id);
}

/// Called before a transaction commits: what was broken off in it is written.
pub fn before_commit() {
    while let Some((id, outcome)) = OPEN.with_borrow(|open| open.last().map(|o| (o.id, o.outcome))) {
        transaction::with_snapshot(|| write(id, outcome));
    }
}

/// Called at the end of transactions and subtransactions: neither fails nor panics.
pub fn on_end(end: End) {
    let from = match end {
        End::Abort | End::Commit | End::Prepare => 0,
        End::SubAbort(id) => id,
        End::SubStart(_) | End::SubCommit(_) => return,
    };
    // What began in a subtransaction, or in one inside it that is merged into it, has no smaller number.
    let ended: Vec<Open> = OPEN.with_borrow_mut(|open| open.extract_if(.., |o| o.within >= from).collect());
    for mut open in ended {
        let rows = executor::rows(open.id);
        for read in &mut open.reads {
            read.ended(rows, open.outcome);
            read.hand_over();
        }
        executor::forget(open.id);
    }
    if !matches!(end, End::SubAbort(_)) {
        let mut held = HELD.take();
        held.sort_unstable();
        if !held.is_empty() {
            outlet::release(&held);
        }
    }
}

thread_local! {
    static REGISTER: Statement = const {
        Statement::new(
            c"INSERT INTO authz.audited_view (surface_id, target, on_failure) VALUES ($1, $2, $3)",
            &[pg_sys::UUIDOID, pg_sys::REGCLASSOID, pg_sys::TEXTOID],
        )
    };
    static ALTER: Statement = const {
        Statement::new(
            c"UPDATE authz.audited_view SET on_failure = $2 WHERE target OPERATOR(pg_catalog.=) $1",
            &[pg_sys::REGCLASSOID, pg_sys::TEXTOID],
        )
    };
}

/// From now on reads of the view are recorded.
pub fn register(surface: &Uuid, view: Oid, on_failure: &str) {
    REGISTER.with(|s| {
        let values = [
            Parameter::uuid(Some(surface)),
            Parameter::oid(view),
            Parameter::text(Some(on_failure)),
        ];
        s.run("audited_view", &values);
    });
}

/// Changes what becomes of reads whose event cannot be written.
pub fn alter(view: Oid, on_failure: &str) {
    ALTER.with(|s| {
        s.run(
            "audited_view",
            &[Parameter::oid(view), Parameter::text(Some(on_failure))],
        )
    });
}
