//! A policy written by hand, readably: names are texts, nodes are `team:1`, the resource is `case:1`.
//!
//! The world that [`Policy::new`] makes: a principal that is active and a member of `tenant:1`, and `case:1` in
//! `team:1` (within `team:2`), `project:1` and `organization:1` (within `organization:2`) of that tenant. Nothing is
//! bound to the principal yet.

// Each target that includes this module uses a part of it.
#![allow(dead_code)]

mod compiled;
mod policy;
pub mod scenarios;

use authz_engine::name::Kind;
use authz_engine::subject::Place;
use authz_engine::{Instant, Key, Node};
use uuid::Uuid;

pub use compiled::Compiled;
pub use policy::Policy;

/// The registered resource types.
pub const CASE: Kind = Kind(5);
/// A child of a case.
pub const DOCUMENT: Kind = Kind(6);
/// A child of a document.
pub const PAGE: Kind = Kind(7);

/// The instant at which [`Policy::new`] asks.
pub const NOW: Instant = 100;

/// `principal`, the one that asks.
pub fn principal() -> Uuid {
    Uuid::from_u128(0xffff)
}

/// The id of `team:1` and the like. No two nodes have the same, so that an id taken for another shows.
pub fn id(text: &str) -> Uuid {
    match &node(text).key {
        Key::Uuid(id) => *id,
        key => panic!("{key} is not a uuid"),
    }
}

/// `team:1`, `case:7`.
pub fn node(text: &str) -> Node {
    let (kind, number) = text.split_once(':').expect("kind:number");
    let kind = kind_of(kind);
    let number: u128 = number.parse().expect("a number after the colon");
    Node::uuid(kind, Uuid::from_u128(u128::from(kind.0) << 64 | number))
}

/// `team:1 team:2`.
pub fn nodes(text: &str) -> Vec<Node> {
    text.split_whitespace().map(node).collect()
}

/// `platform`, `case:*` or a node.
pub fn place(text: &str) -> Place {
    match text.split_once(':') {
        None if text == "platform" => Place::Platform,
        Some((kind, "*")) => Place::Every(kind_of(kind)),
        _ => Place::Node(node(text)),
    }
}

fn kind_of(name: &str) -> Kind {
    let mut known = Kind::BUILT_IN.iter().chain(["case", "document", "page"].iter());
    let number = known.position(|k| *k == name);
    Kind(number.unwrap_or_else(|| panic!("no kind {name}")) as u32)
}

/// The chain of `case:1`, innermost first.
pub fn case_chain() -> Vec<Node> {
    nodes("case:1 team:1 team:2 project:1 organization:1 organization:2 tenant:1")
}
