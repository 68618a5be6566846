//! One protected row: its boundary and its scope chain.

use crate::name::Kind;
use crate::node::{Chain, Key, Node};
use std::rc::Rc;
use uuid::Uuid;

/// How confidential a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confidentiality {
    /// Nothing more is asked for.
    Normal,
    /// Asks for `type.view_restricted`.
    Restricted,
    /// Asks for `type.view_sealed`.
    Sealed,
    /// The row has no level, or one that is none of these: nobody may.
    Unknown,
}

impl Confidentiality {
    /// The level that a column holds.
    pub fn from_text(level: Option<&str>) -> Confidentiality {
        match level {
            Some("normal") => Confidentiality::Normal,
            Some("restricted") => Confidentiality::Restricted,
            Some("sealed") => Confidentiality::Sealed,
            _ => Confidentiality::Unknown,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Confidentiality::Normal => "normal",
            Confidentiality::Restricted => "restricted",
            Confidentiality::Sealed => "sealed",
            Confidentiality::Unknown => "unknown",
        }
    }
}

/// The parent of a resource.
#[derive(Clone, Debug)]
pub enum Parent {
    /// The type has none, or this row names none.
    None,
    /// The row names one that is not there.
    Missing,
    /// It.
    Resource(Rc<Resource>),
}

/// A resource with what decides about it.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Its type.
    pub kind: Kind,
    /// Its key.
    pub key: Key,
    /// Its tenant; `None` = it belongs to the platform.
    pub tenant: Option<Uuid>,
    /// What the owner column holds.
    pub owner: Option<Uuid>,
    /// Its level.
    pub confidentiality: Confidentiality,
    /// Is it soft-deleted?
    pub deleted: bool,
    /// Itself and every scope that contains it but the platform, innermost first.
    pub chain: Chain,
    /// Its parent, whose chain is part of `chain`.
    pub parent: Parent,
}

impl Resource {
    /// A resource that is nothing but a scope.
    pub fn scope(node: Node, tenant: Uuid, chain: impl Into<Chain>) -> Resource {
        Resource {
            kind: node.kind,
            key: node.key,
            tenant: Some(tenant),
            owner: None,
            confidentiality: Confidentiality::Normal,
            deleted: false,
            chain: chain.into(),
            parent: Parent::None,
        }
    }

    /// Type and owner of itself and of the parents that contain it, as far as they have an owner.
    pub fn owned(&self) -> impl Iterator<Item = (Kind, Uuid)> + '_ {
        std::iter::successors(Some(self), |r| match &r.parent {
            Parent::Resource(parent) => Some(parent),
            Parent::None | Parent::Missing => None,
        })
        .filter_map(|r| Some((r.kind, r.owner?)))
    }

    /// Its own node.
    pub fn node(&self) -> Node {
        Node::new(self.kind, self.key.clone())
    }

    /// Bytes of memory, near enough.
    pub fn bytes(&self) -> usize {
        let spilled = if self.chain.spilled() { self.chain.capacity() } else { 0 };
        size_of::<Resource>() + spilled * size_of::<Node>()
    }
}
