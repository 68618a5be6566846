//! The SQL surface: thin functions that take arguments apart, call, and convert the answer. One file a family.

mod audit;
mod audited_view;
mod authority;
mod can;
mod can_at;
mod explain;
mod export;
mod mask;
mod permissions;
mod principals;
mod privileged;
mod resources;
mod row;
mod seal;
mod session;
mod stats;
mod triggers;

use uuid::Uuid;

/// pgrx's uuid as the engine's.
fn id(uuid: pgrx::Uuid) -> Uuid {
    Uuid::from_bytes(*uuid.as_bytes())
}
