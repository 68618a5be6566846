//! Each of the nine steps, and each line of the small print of `docs/decision-rule.md` (R6, R10, R12 to R18, R25, R26).

#[path = "../common/mod.rs"]
mod common;
mod entry;
mod explanation;
mod order;
mod rule;
mod size;
mod source;
mod stricter;

use common::Policy;

/// A member whose team has `case.view` and `case.edit` at `case:1`.
fn reader() -> Policy {
    let mut p = Policy::new();
    p.role("reader", &["case.view", "case.edit"]);
    p.assign("reader", "team:1");
    p
}

/// The note of a step of the part at hand.
fn note(p: &Policy, permission: &str, part: usize, step: usize) -> String {
    p.explain(permission).parts[part].steps[step - 1].note.clone()
}
