//! Classes of columns, masks and safe views: what they show to whom, what is refused, what is reported (R40 to R42), and that
//! what they hide is not found out by a role that reads them and may create functions of its own (R27).

mod classes;
mod leak;
mod machinery;
mod masks;
mod rising;
mod views;

use authz_tests::execute;
use authz_tests::people::People;
use postgres::Client;

/// Ben, who sees the rows 1, 3 and 5 of `person_safe` with all masks, in a role that may create what it likes.
fn ben(people: &People) -> Client {
    execute(
        &mut people.admin(),
        &format!("CREATE SCHEMA lab AUTHORIZATION {}", people.app),
    );
    let mut c = people.of("ben");
    execute(&mut c, "SET search_path = lab, public");
    c
}

/// What the values that Ben may not see look like.
const SECRETS: [&str; 6] = ["222-22-000", "p1@example", "05-17", "10007", "1000.5", "4111111"];

#[track_caller]
fn no_secret(text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}
