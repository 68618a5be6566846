//! What one decision costs, without PostgreSQL around it: `cargo bench -p authz_engine`.
//!
//! Scenarios take turns, so that a disturbance of the machine meets all of them alike. Exits with an error where an
//! unconditional decision allocates, or its median exceeds the target for each resource that is decided about.

#[path = "../tests/common/allocations.rs"]
mod allocations;
#[path = "../tests/common/mod.rs"]
mod common;

use authz_engine::decide::{Silent, decide};
use std::hint::black_box;
use std::time::Instant;

const TARGET_NS: f64 = 100.0;
const ROUNDS: usize = 301;
const CALLS_A_ROUND: u32 = 2_000;

fn main() {
    let scenarios = common::scenarios::all();
    let questions: Vec<_> = scenarios.iter().map(|s| s.compiled.question(s.permission)).collect();
    let mut times = vec![Vec::with_capacity(ROUNDS); scenarios.len()];
    for _ in 0..ROUNDS {
        for (i, s) in scenarios.iter().enumerate() {
            let calls = if s.conditional {
                CALLS_A_ROUND / 50
            } else {
                CALLS_A_ROUND
            };
            let start = Instant::now();
            for _ in 0..calls {
                black_box(decide(black_box(&questions[i]), &mut Silent));
            }
            times[i].push(start.elapsed().as_nanos() as f64 / f64::from(calls));
        }
    }

    let mut missed = 0;
    println!(
        "{:<34} {:>10} {:>10} {:>12}  answer",
        "scenario", "median ns", "p95 ns", "allocations"
    );
    for ((s, question), times) in scenarios.iter().zip(&questions).zip(&mut times) {
        let (allocations, answer) = allocations::of(|| decide(question, &mut Silent));
        assert_eq!(answer, s.answer, "{}", s.name);
        times.sort_by(f64::total_cmp);
        let (median, p95) = (times[ROUNDS / 2], times[ROUNDS * 95 / 100]);
        println!(
            "{:<34} {median:>10.1} {p95:>10.1} {allocations:>12}  {}",
            s.name,
            answer.code()
        );
        if !s.conditional && (allocations > 0 || median > TARGET_NS * f64::from(s.resources)) {
            missed += 1;
        }
    }
    if missed > 0 {
        println!("{missed} scenarios miss the target: {TARGET_NS} ns a resource, no allocation");
        std::process::exit(1);
    }
}
