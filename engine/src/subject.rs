//! One principal with everything that is bound to it, indexed by the node that it is bound at.

mod binding;

use crate::name::{Kind, Role};
use crate::node::{Key, Node};
use crate::resource::Resource;
use crate::role::Composition;
use crate::time::{Instant, Interval};
use hashbrown::HashMap;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;

pub(crate) use binding::fingerprint;
pub use binding::{Binding, BindingIndex, Place, What};

/// Whom a grant or a rule addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Grantee {
    /// One principal.
    Principal(Uuid),
    /// The members of a team and of the teams in it.
    Team(Uuid),
    /// The members of an organization's teams.
    Organization(Uuid),
    /// Whoever holds the role.
    Role(Role),
    /// Everybody (rules only).
    Any,
}

/// A support or break-glass session.
#[derive(Clone, Debug)]
pub struct PrivilegedSession {
    /// Primary key of its row.
    pub id: Uuid,
    /// `break_glass`, or `support`?
    pub break_glass: bool,
    /// The tenant that it is limited to.
    pub tenant: Option<Uuid>,
    /// The scope that it is limited to.
    pub scope: Option<Node>,
    /// From its start to its expiry or end.
    pub valid: Interval,
    /// Approved by somebody else to reach confidential data.
    pub includes_sensitive: bool,
}

/// Membership in a team for an interval.
#[derive(Clone, Debug)]
pub struct TeamMembership {
    /// Tenant of the team.
    pub tenant: Uuid,
    /// When.
    pub valid: Interval,
    /// The team, its ancestors, their organizations and those's ancestors.
    pub within: Arc<[Node]>,
}

/// A role assignment.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// Primary key of its row.
    pub id: Uuid,
    /// `None` = platform.
    pub tenant: Option<Uuid>,
    /// The role.
    pub role: Role,
    /// Where.
    pub place: Place,
    /// When.
    pub valid: Interval,
}

/// What is known of a principal, apart from grants and rules.
#[derive(Clone, Debug)]
pub struct PrincipalFacts {
    /// The principal.
    pub id: Uuid,
    /// When its status is active.
    pub active: Vec<Interval>,
    /// Locked until then.
    pub locked_until: Option<Instant>,
    /// 0 = none, 1 to 3 = L1 to L3.
    pub clearance: u8,
    /// Has it enrolled a second factor?
    pub mfa_enrolled: bool,
    /// `principal` in conditions.
    pub attributes: Arc<Value>,
    /// Active memberships.
    pub memberships: Vec<(Uuid, Interval)>,
    /// Team memberships.
    pub teams: Vec<TeamMembership>,
    /// Role assignments.
    pub assignments: Vec<Assignment>,
    /// Privileged sessions.
    pub sessions: Vec<PrivilegedSession>,
}

/// A subject that the principal is in an interval, in a tenant or (`None`) in all of them.
#[derive(Clone, Debug)]
struct Identity {
    grantee: Grantee,
    tenant: Option<Uuid>,
    valid: Interval,
}

/// Takes the grants and rules of a principal's subjects.
pub struct SubjectBuilder {
    facts: PrincipalFacts,
    identities: HashMap<Grantee, Vec<Identity>>,
    placed: Vec<(Place, Binding)>,
    large: Vec<Grantee>,
}

/// A grant or rule as it stands in its table.
#[derive(Clone, Debug)]
pub struct Row {
    /// Primary key.
    pub id: Uuid,
    /// Its tenant.
    pub tenant: Uuid,
    /// Whom it addresses.
    pub grantee: Grantee,
    /// About what.
    pub place: Place,
    /// What it does.
    pub what: What,
    /// When.
    pub valid: Interval,
}

impl SubjectBuilder {
    /// Works out the principal's subjects.
    pub fn new(facts: PrincipalFacts, composition: &Composition) -> SubjectBuilder {
        let mut identities: HashMap<Grantee, Vec<Identity>> = HashMap::new();
        let mut add = |grantee, tenant, valid| {
            identities
                .entry(grantee)
                .or_default()
                .push(Identity { grantee, tenant, valid });
        };
        add(Grantee::Principal(facts.id), None, Interval::ALWAYS);
        for team in &facts.teams {
            for node in team.within.iter() {
                match (&node.key, node.kind) {
                    (Key::Uuid(id), Kind::TEAM) => add(Grantee::Team(*id), Some(team.tenant), team.valid),
                    (Key::Uuid(id), Kind::ORGANIZATION) => {
                        add(Grantee::Organization(*id), Some(team.tenant), team.valid);
                    }
                    _ => {}
                }
            }
        }
        for a in &facts.assignments {
            for role in composition.roles_of(a.role) {
                add(Grantee::Role(role), a.tenant, a.valid);
            }
        }
        let placed = facts
            .assignments
            .iter()
            .map(|a| {
                let binding = Binding {
                    id: a.id,
                    tenant: a.tenant,
                    valid: a.valid,
                    what: What::Role(a.role),
                    grantee: Grantee::Principal(facts.id),
                };
                (a.place.clone(), binding)
            })
            .collect();
        SubjectBuilder {
            facts,
            identities,
            placed,
            large: Vec::new(),
        }
    }

    /// Whose grants and rules are wanted, in a fixed order.
    pub fn grantees(&self) -> Vec<Grantee> {
        let mut all: Vec<_> = self.identities.keys().copied().collect();
        all.sort_by_key(|g| match g {
            Grantee::Principal(id) => (0, id.as_u128()),
            Grantee::Team(id) => (1, id.as_u128()),
            Grantee::Organization(id) => (2, id.as_u128()),
            Grantee::Role(role) => (3, u128::from(role.0)),
            Grantee::Any => (4, 0),
        });
        all
    }

    /// Whose grants are wanted, and of which tenants: what lives in a tenant counts for its members only, so that a role
    /// which many tenants share is not loaded with the grants of all of them.
    pub fn grants_wanted(&self) -> Vec<(Grantee, Vec<Uuid>)> {
        let members: BTreeSet<Uuid> = self.facts.memberships.iter().map(|(tenant, _)| *tenant).collect();
        let tenants_of = |grantee: &Grantee| {
            let identities = &self.identities[grantee];
            let anywhere = identities.iter().any(|i| i.tenant.is_none());
            let named: BTreeSet<Uuid> = identities.iter().filter_map(|i| i.tenant).collect();
            members
                .iter()
                .filter(|t| anywhere || named.contains(t))
                .copied()
                .collect()
        };
        self.grantees().into_iter().map(|g| (g, tenants_of(&g))).collect()
    }

    /// The tenants whose rules are wanted; `None` = all, for who can come into a tenant without being a member.
    pub fn rules_wanted(&self) -> Option<Vec<Uuid>> {
        let beyond =
            !self.facts.sessions.is_empty() || self.facts.assignments.iter().any(|a| a.place == Place::Platform);
        let members: BTreeSet<Uuid> = self.facts.memberships.iter().map(|(tenant, _)| *tenant).collect();
        (!beyond).then(|| members.into_iter().collect())
    }

    /// Adds a row of one of the grantees.
    pub fn add(&mut self, row: Row) {
        place_row(&self.identities, row, &mut self.placed);
    }

    /// Notes that the grants of `grantee` are too many to be held: they will be looked for at each resource.
    pub fn leave_out(&mut self, grantee: Grantee) {
        self.large.push(grantee);
    }

    /// Compiles.
    pub fn finish(self) -> Subject {
        let mut memberships = self.facts.memberships;
        memberships.sort_by_key(|(tenant, valid)| (*tenant, valid.from));
        let mut owner_ids: Vec<_> = self
            .identities
            .values()
            .flatten()
            .filter_map(|i| match i.grantee {
                Grantee::Principal(id) | Grantee::Team(id) | Grantee::Organization(id) => Some((id, i.tenant, i.valid)),
                Grantee::Role(_) | Grantee::Any => None,
            })
            .collect();
        owner_ids.sort_by_key(|(id, tenant, valid)| (*id, *tenant, valid.from));
        let keep: HashMap<_, _> = if self.large.is_empty() {
            HashMap::new()
        } else {
            self.identities
        };
        Subject {
            id: self.facts.id,
            active: self.facts.active.into(),
            locked_until: self.facts.locked_until,
            clearance: self.facts.clearance,
            mfa_enrolled: self.facts.mfa_enrolled,
            attributes: self.facts.attributes,
            memberships: memberships.into(),
            owner_ids: owner_ids.into(),
            index: BindingIndex::compile(self.placed),
            sessions: self.facts.sessions.into(),
            large: self.large.into(),
            identities: keep,
        }
    }
}

/// A row counts in each interval in which both it and the subject that it addresses do.
fn place_row(identities: &HashMap<Grantee, Vec<Identity>>, row: Row, placed: &mut Vec<(Place, Binding)>) {
    for identity in identities.get(&row.grantee).into_iter().flatten() {
        if identity.tenant.is_some_and(|t| t != row.tenant) {
            continue;
        }
        if let Some(valid) = identity.valid.intersect(&row.valid) {
            let binding = Binding {
                id: row.id,
                tenant: Some(row.tenant),
                valid,
                what: row.what,
                grantee: row.grantee,
            };
            placed.push((row.place.clone(), binding));
        }
    }
}

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
