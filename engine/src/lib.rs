//! The decision of `authz_ext`, without PostgreSQL: **policy facts in, compiled policy, decision out**.
//!
//! A reader walks the modules in this order; each depends only on those above it:
//!
//! | module | what it holds |
//! |---|---|
//! | [`bits`] | sets of small numbers |
//! | [`time`] | instants and `[from, until)` intervals |
//! | [`name`] | names of roles, permissions and resource types as small numbers |
//! | [`node`] | keys, nodes and the containment closure that makes a scope chain |
//! | [`resource`] | one protected row: its boundary and its scope chain |
//! | [`condition`] | CEL conditions |
//! | [`model`] | roles, permissions, resource types: what is the same for every principal |
//! | [`role`] | the role DAG at an instant, flattened into bit sets |
//! | [`subject`] | one principal with everything that is bound to it, indexed by node |
//! | [`mod@decide`] | the nine steps |
//! | [`mod@explain`] | the same nine steps, written down |
//! | [`delegate`] | what a subject may hand on |
//! | [`reach`] | where a subject may have a permission: a superset for row security |
//! | [`certain`] | where it has one for sure: a subset, for row security |
//!
//! The rule and its small print are in `docs/decision-rule.md`.

#![forbid(unsafe_code)]

pub mod bits;
pub mod certain;
pub mod condition;
pub mod decide;
pub mod delegate;
pub mod explain;
pub mod model;
pub mod name;
pub mod node;
pub mod reach;
pub mod resource;
pub mod role;
pub mod subject;
pub mod time;

pub use decide::{Found, Question, Reason, decide};
pub use explain::{Explanation, explain};
pub use model::Model;
pub use node::{Key, Node};
pub use resource::Resource;
pub use role::Composition;
pub use subject::Subject;
pub use time::{Instant, Interval};
