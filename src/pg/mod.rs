//! The boundary to PostgreSQL: all `unsafe` code of the extension is in here, in small wrappers whose safe
//! surface cannot be misused.

pub mod authority;
pub mod clock;
pub mod invalidation;
pub mod json;
pub mod plan;
pub mod relation;
pub mod session_setting;
pub mod trigger;
pub mod user_table;
