//! Writing evidence: access events, and what becomes of them when their transaction does not commit.
//!
//! An event of a decision is a row of the transaction that asked. What is rolled back leaves its row invisible, so each
//! event is also kept as a line of JSON until its transaction ends: at commit the lines are forgotten, at rollback
//! (also of a subtransaction) they are handed over, which never fails and never waits. A denial that is raised as an
//! error is handed over at once instead of written. Either way there is exactly one event.
//!
//! | module | what it does |
//! |---|---|
//! | `event` | what an event says, and its JSON |
//! | `audit` | writes the row |
//! | `deliver` | what the background workers do |
//! | `ownership` | writes the owner of a resource |
//! | `reveal` | counts reveals past their transaction, and reads one field |
//! | `export` | writes the content of an export |
//! | `pending` | keeps the lines of the open transaction |
//! | `read` | events of statements that read audited views |
//! | `spill` | a list of lines that does not fill the memory |
//! | `chain` | what a seal is |
//! | `seal` | chains closed batches of events |
//! | `verify` | compares the events with the chain |
//! | `outlet` | hands lines over: to the queue of the background workers, or to the server's log |

pub mod audit;
mod chain;
pub mod deliver;
pub mod event;
pub mod export;
pub mod outlet;
pub mod ownership;
pub mod pending;
pub mod read;
pub mod reveal;
pub mod seal;
mod spill;
pub mod verify;
