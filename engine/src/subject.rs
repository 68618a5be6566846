//! One principal with everything that is bound to it, indexed by the node that it is bound at.

mod binding;
mod builder;
mod facts;

use crate::name::Kind;
use crate::resource::Resource;
use crate::role::Composition;
use crate::time::{Instant, Interval};
use builder::{Identity, place_row};
use hashbrown::HashMap;
use serde_json::Value;
use std::sync::Arc;
use uuid::Uuid;

pub(crate) use binding::fingerprint;
pub use binding::{Binding, BindingIndex, Place, What};
pub use builder::SubjectBuilder;
pub use facts::{Assignment, Grantee, PrincipalFacts, PrivilegedSession, Row, TeamMembership};

/// A compiled principal.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The principal.
    pub id: Uuid,
    /// 0 = none, 1 to 3 = L1 to L3.
    pub clearance: u8,
    /// Has it enrolled a second factor?
    pub mfa_enrolled: bool,
    /// `principal` in conditions.
    pub attributes: Arc<Value>,
    /// Its bindings.
    pub index: BindingIndex,
    /// Its privileged sessions.
    pub sessions: Box<[PrivilegedSession]>,
    /// Grantees whose grants are not in `index`.
    pub large: Box<[Grantee]>,
    active: Box<[Interval]>,
    locked_until: Option<Instant>,
    memberships: Box<[(Uuid, Interval)]>,
    owner_ids: Box<[(Uuid, Option<Uuid>, Interval)]>,
    identities: HashMap<Grantee, Vec<Identity>>,
}

impl Subject {
    /// Privileged sessions that are in force at an instant and cover the resource.
    #[inline]
    pub fn privileged(&self, resource: &Resource, at: Instant) -> impl Iterator<Item = &PrivilegedSession> {
        self.sessions.iter().filter(move |s| {
            s.valid.contains(at)
                && (s.tenant.is_none() || s.tenant == resource.tenant)
                && match &s.scope {
                    None => true,
                    Some(node) if node.kind == Kind::PLATFORM => true,
                    Some(node) => resource.chain.contains(node),
                }
        })
    }

    /// Step 1.
    #[inline]
    pub fn is_active(&self, at: Instant) -> bool {
        self.active.iter().any(|i| i.contains(at)) && self.locked_until.is_none_or(|until| until <= at)
    }

    /// Has it an active membership in `tenant`?
    #[inline]
    pub fn is_member(&self, tenant: Uuid, at: Instant) -> bool {
        // Nearly every principal is a member of a handful of tenants.
        if self.memberships.len() <= 8 {
            return self
                .memberships
                .iter()
                .any(|(t, valid)| *t == tenant && valid.contains(at));
        }
        let from = self.memberships.partition_point(|(t, _)| *t < tenant);
        self.memberships[from..]
            .iter()
            .take_while(|(t, _)| *t == tenant)
            .any(|(_, valid)| valid.contains(at))
    }

    /// The largest interval around `at` in which none of what it has begins or ends.
    pub fn constant_around(&self, at: Instant) -> Interval {
        let lock = self.locked_until.map(|until| Interval::new(Instant::MIN, until));
        crate::time::constant_around(
            at,
            self.active
                .iter()
                .copied()
                .chain(lock)
                .chain(self.memberships.iter().map(|(_, valid)| *valid))
                .chain(self.owner_ids.iter().map(|(.., valid)| *valid))
                .chain(self.sessions.iter().map(|s| s.valid))
                .chain(self.index.platform().iter().map(|b| b.valid))
                .chain(self.index.everything().map(|(_, b)| b.valid)),
        )
    }

    /// The tenants that it is an active member of.
    pub fn tenants(&self, at: Instant) -> impl Iterator<Item = Uuid> + '_ {
        self.memberships
            .iter()
            .filter(move |(_, valid)| valid.contains(at))
            .map(|(tenant, _)| *tenant)
    }

    /// The ids that an owner column may hold for the subject to be the owner: its own, its teams' and organizations'.
    pub fn owner_ids(&self, at: Instant) -> impl Iterator<Item = Uuid> + '_ {
        self.owner_ids
            .iter()
            .filter(move |(_, _, valid)| valid.contains(at))
            .map(|(id, ..)| *id)
    }

    /// Is it, or a team or organization that it is in, `owner`?
    pub fn is_owner(&self, owner: Uuid, tenant: Uuid, at: Instant) -> bool {
        let from = self.owner_ids.partition_point(|(id, _, _)| *id < owner);
        self.owner_ids[from..]
            .iter()
            .take_while(|(id, _, _)| *id == owner)
            .any(|(_, t, valid)| t.is_none_or(|t| t == tenant) && valid.contains(at))
    }

    /// The privileged sessions in force in `tenant` (`None`: in any), break-glass first, then those approved to reach
    /// confidential data.
    pub fn privileged_sessions(&self, tenant: Option<Uuid>, at: Instant) -> Vec<&PrivilegedSession> {
        let covers = |s: &&PrivilegedSession| {
            s.valid.contains(at) && (s.tenant.is_none() || tenant.is_none() || s.tenant == tenant)
        };
        let mut found: Vec<_> = self.sessions.iter().filter(covers).collect();
        found.sort_by_key(|s| (!s.break_glass, !s.includes_sensitive, -i128::from(s.valid.from), s.id));
        found
    }

    /// Does a rule or grant of `tenant` that addresses `grantee` address this principal?
    pub fn is_addressed(&self, grantee: Grantee, tenant: Uuid, composition: &Composition, at: Instant) -> bool {
        match grantee {
            Grantee::Any => true,
            Grantee::Principal(id) => id == self.id,
            Grantee::Team(id) | Grantee::Organization(id) => self.is_owner(id, tenant, at),
            Grantee::Role(role) => self.index.everything().any(|(_, b)| match b.what {
                What::Role(held) => {
                    b.tenant.is_none_or(|t| t == tenant)
                        && b.valid.contains(at)
                        && composition.roles_of(held).any(|r| r == role)
                }
                _ => false,
            }),
        }
    }

    /// Indexes rows of [`Subject::large`] that were looked for at one resource.
    pub fn index_of(&self, rows: Vec<Row>) -> BindingIndex {
        let mut placed = Vec::new();
        rows.into_iter()
            .for_each(|row| place_row(&self.identities, row, &mut placed));
        BindingIndex::compile(placed)
    }

    /// Bytes of memory, near enough.
    pub fn bytes(&self) -> usize {
        size_of::<Subject>()
            + self.index.bytes()
            + self.active.len() * size_of::<Interval>()
            + self.memberships.len() * size_of::<(Uuid, Interval)>()
            + self.owner_ids.len() * size_of::<(Uuid, Option<Uuid>, Interval)>()
            + self.sessions.len() * size_of::<PrivilegedSession>()
            + self
                .identities
                .values()
                .map(|v| 64 + v.len() * size_of::<Identity>())
                .sum::<usize>()
            + 512
    }
}
