//! The boundary to PostgreSQL: all `unsafe` code of the extension is in here, in small wrappers whose safe
//! surface cannot be misused.

pub mod authority;
pub mod bare;
pub mod clock;
pub mod constraint;
pub mod executor;
pub mod gate;
pub mod history;
pub mod identity;
pub mod invalidation;
pub mod json;
pub mod mark;
pub mod plan;
pub mod query;
pub mod queue;
pub mod reader;
pub mod record;
pub mod relation;
pub mod server_log;
pub mod session_setting;
pub mod statement;
pub mod subtransaction;
pub mod support;
pub mod transaction;
pub mod trigger;
pub mod user_table;
pub mod view;
pub mod worker;
