//! From facts to a compiled principal: the subjects that it is, and the grants and rules that address one of them.

use super::binding::{Binding, BindingIndex, Place, What};
use super::{Grantee, PrincipalFacts, Row, Subject};
use crate::name::Kind;
use crate::node::Key;
use crate::role::Composition;
use crate::time::Interval;
use hashbrown::HashMap;
use std::collections::BTreeSet;
use uuid::Uuid;

/// A subject that the principal is in an interval, in a tenant or (`None`) in all of them.
#[derive(Clone, Debug)]
pub(super) struct Identity {
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
pub(super) fn place_row(identities: &HashMap<Grantee, Vec<Identity>>, row: Row, placed: &mut Vec<(Place, Binding)>) {
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
