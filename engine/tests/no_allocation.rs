//! A decision that reaches no condition allocates nothing, whatever the answer.

#[path = "common/allocations.rs"]
mod allocations;
mod common;

use authz_engine::decide::{Silent, decide};
use std::hint::black_box;

#[test]
fn the_counter_counts() {
    let (count, _) = allocations::of(|| black_box(Box::new(1)));
    assert_eq!(count, 1);
    let (count, _) = allocations::of(|| {
        let mut v = black_box(Vec::<u64>::with_capacity(1));
        v.extend([1, 2, 3]);
        v
    });
    assert_eq!(count, 2, "growing counts too");
}

#[test]
fn unconditional_decisions_allocate_nothing() {
    for s in common::scenarios::all() {
        let question = s.compiled.question(s.permission);
        let (count, answer) = allocations::of(|| decide(black_box(&question), &mut Silent));
        assert_eq!(answer, s.answer, "{}", s.name);
        assert_eq!(count > 0, s.conditional, "{}: {count} allocations", s.name);
    }
}
