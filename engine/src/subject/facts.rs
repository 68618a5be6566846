//! What is known of a principal, as it stands in tables.

use super::binding::{Place, What};
use crate::name::Role;
use crate::node::Node;
use crate::time::{Instant, Interval};
use serde_json::Value;
use std::sync::Arc;
use uuid::Uuid;

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
