//! Attempts to see, change or find out about rows that are not allowed, by people without privileges: each named by
//! what is attempted, each with what it must end in (R20, R21, R27; PITFALLS 11, 16, 19, 23 to 25).
//!
//! Every attempt is watched for the same things as well: nothing that the server says to the attacker (rows, notices,
//! the text of errors) may hold what is in hidden rows, and the hidden rows must be as they were.

mod identity;
mod leak;
mod machinery;
mod shadow;
mod ways;
mod world;
