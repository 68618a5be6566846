//! Tests whose world is drawn at random: the seed that repeats them, and how long they go on.
//!
//! A world may be plain by luck: nobody is allowed anything in it. That is no fault, and proves nothing; so these tests
//! draw another until enough has been tried, instead of hoping that a fixed number of worlds is enough.

/// A number from the environment: `AUTHZ_SEED`, `AUTHZ_POLICIES`.
pub fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// `AUTHZ_SEED`, or one drawn now; printed, so that a failure can be repeated.
pub fn seed() -> u64 {
    let seed = number("AUTHZ_SEED").unwrap_or_else(|| rand::random_range(0..1_000_000_000));
    println!("AUTHZ_SEED={seed} repeats this run");
    seed
}

/// Runs `one` with a seed after another, `times` of them at least, until its counts of what it tried add up to `enough`.
///
/// # Panics
///
/// Where twenty times `times` were not enough: then it is not luck.
pub fn until(times: u64, enough: u64, mut one: impl FnMut(u64) -> u64) {
    let first = seed();
    let (mut run, mut tried) = (0, 0);
    while run < times || tried < enough {
        assert!(run < 20 * times, "{run} runs tried only {tried} things of {enough}");
        tried += one(first + run);
        run += 1;
    }
    println!("{tried} tried in {run} runs");
}
