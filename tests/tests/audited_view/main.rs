//! Audited views (R43): each statement that reads one leaves exactly one event, however it reads and whatever fails; who may
//! make and change them, what they show, and what does not get past them.

mod by_itself;
mod by_statement;
mod crash;
mod definition;
mod event;
mod failure;
mod gate;
mod row_security;
mod ways;

use authz_tests::cluster::Cluster;
use authz_tests::reading::{line_of, logged};

/// A way of reading: its name, what is done, and the events in any order.
type Way = (&'static str, &'static [&'static str], &'static [&'static str]);

/// What was logged of a request, as `events` has it.
fn in_log(cluster: &Cluster, request: &str) -> Vec<String> {
    logged(cluster)
        .iter()
        .filter(|l| l["request_id"] == request)
        .map(line_of)
        .collect()
}
