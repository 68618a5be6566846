//! The SQL surface: thin functions that take arguments apart, call, and convert the answer. One file a family.

/// The three forms of a function, by the type of the resource's key.
macro_rules! by_key {
    ($form:ident: $uuid:ident, $int:ident, $text:ident) => {
        $form!($uuid, Uuid, r => Given::Uuid(id(r)));
        $form!($int, i64, r => Given::Int(r));
        $form!($text, &str, r => Given::Text(r));
    };
}

mod audit;
mod audited_view;
mod authority;
mod can;
mod can_at;
mod explain;
mod export;
mod guard;
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
