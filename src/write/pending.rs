//! The events of the open transaction, as lines: forgotten at commit, handed over at rollback.
//!
//! What a subtransaction and those inside it have added is the end of the list, so that its rollback cuts the list.

use super::outlet;
use super::spill::{Lines, Spill};
use crate::pg::transaction::End;
use std::cell::RefCell;

#[derive(Default)]
struct Pending {
    lines: Spill,
    /// Open subtransactions and where each began.
    open: Vec<(u32, u64)>,
}

thread_local! {
    static PENDING: RefCell<Pending> = RefCell::default();
}

/// Keeps a line until the transaction ends.
pub fn keep(line: &str) {
    PENDING.with_borrow_mut(|p| p.lines.push(line.as_bytes()));
}

/// Called at the end of transactions and subtransactions: neither fails nor panics.
pub fn on_end(end: End) {
    // Nothing is borrowed while the lines are handed over, as that may write to the log.
    let (lines, to) = PENDING.with_borrow_mut(|p| match end {
        End::Commit => {
            p.lines.clear();
            p.open.clear();
            (Lines::default(), To::Anywhere)
        }
        End::Abort => {
            p.open.clear();
            (p.lines.cut(0), To::Anywhere)
        }
        // Whoever rolls a prepared transaction back is another one: the log then has the only copy.
        End::Prepare => {
            p.open.clear();
            (p.lines.cut(0), To::Log)
        }
        End::SubStart(id) => {
            let at = p.lines.len();
            p.open.push((id, at));
            (Lines::default(), To::Anywhere)
        }
        End::SubCommit(id) => {
            p.leave(id);
            (Lines::default(), To::Anywhere)
        }
        End::SubAbort(id) => {
            let at = p.leave(id);
            (p.lines.cut(at), To::Anywhere)
        }
    });
    for line in lines {
        match to {
            To::Anywhere => outlet::hand_over(&line),
            To::Log => outlet::log(&line),
        }
    }
}

enum To {
    Anywhere,
    Log,
}

impl Pending {
    /// Forgets a subtransaction and those inside it; where it began. One that began before the library was loaded has
    /// everything.
    fn leave(&mut self, id: u32) -> u64 {
        let mut at = None;
        while let Some((_, begin)) = self.open.pop_if(|(open, _)| *open >= id) {
            at = Some(begin);
        }
        at.unwrap_or(0)
    }
}
