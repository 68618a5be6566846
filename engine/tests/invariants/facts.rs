//! Random facts, and the policy that they make.

use crate::common::{Policy, id, node, nodes, place, principal};
use authz_engine::Interval;
use authz_engine::condition::Condition;
use authz_engine::resource::{Confidentiality, Parent, Resource};
use authz_engine::subject::{Assignment, PrincipalFacts, PrivilegedSession, Row, TeamMembership, What};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;
use std::sync::{Arc, LazyLock};
use uuid::Uuid;

const ROLES: [&str; 4] = ["reader", "editor", "lead", "guest"];
const PERMISSIONS: [&str; 7] = [
    "case.view",
    "case.edit",
    "case.view_deleted",
    "case.view_restricted",
    "case.view_sealed",
    "document.view",
    "document.edit",
];
const CONDITIONS: [&str; 4] = ["true", "false", "context.level > 3", "context.missing == 1"];
const PLACES: [&str; 12] = [
    "case:1",
    "case:1",
    "case:2",
    "team:1",
    "team:2",
    "team:4",
    "project:1",
    "organization:1",
    "organization:2",
    "tenant:1",
    "tenant:2",
    "document:1",
];
pub const GRANTEES: [&str; 11] = [
    "principal",
    "principal",
    "team:1",
    "team:2",
    "team:4",
    "organization:1",
    "organization:2",
    "role:reader",
    "role:editor",
    "role:lead",
    "role:guest",
];

static PARSED: LazyLock<[Arc<Condition>; 4]> =
    LazyLock::new(|| CONDITIONS.map(|c| Arc::new(Condition::parse(c).expect("a condition"))));

/// A row of some table.
#[derive(Clone, Debug)]
pub enum Fact {
    Active,
    Membership(u8),
    Team(&'static str),
    RolePermission(&'static str, &'static str, Option<usize>),
    Inherits(&'static str, &'static str),
    Assign(&'static str, &'static str),
    Grant(&'static str, &'static str, &'static str),
    Rule(bool, &'static str, Option<&'static str>, &'static str, i32),
    Session(bool, Option<u8>, Option<&'static str>, bool),
}

/// A fact with its primary key, its tenant and its interval.
#[derive(Clone, Debug)]
pub struct Stated {
    pub id: u128,
    pub tenant: u8,
    pub valid: Interval,
    pub fact: Fact,
}

/// Everything else.
#[derive(Clone, Debug)]
pub struct Rest {
    pub resource: usize,
    pub level: Confidentiality,
    pub deleted: bool,
    pub owner: usize,
    pub owner_role: bool,
    pub clearance: u8,
    pub needed: u8,
    pub mfa: (bool, bool, bool),
    pub context_level: i32,
    pub implications: Vec<(&'static str, &'static str)>,
    pub permission: &'static str,
    pub at: i64,
}

fn interval() -> impl Strategy<Value = Interval> {
    prop_oneof![
        4 => Just(Interval::ALWAYS),
        1 => (0i64..5, 0i64..5).prop_map(|(a, b)| Interval::new(a, b)),
    ]
}

pub fn tenant() -> impl Strategy<Value = u8> {
    prop_oneof![6 => Just(1u8), 1 => Just(2u8)]
}

fn rule_grantee() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => select(&GRANTEES[..]), 1 => Just("any")]
}

fn rule_place() -> impl Strategy<Value = &'static str> {
    prop_oneof![5 => select(&PLACES[..]), 1 => select(&["case:*", "team:*", "document:*"][..])]
}

pub fn deny() -> impl Strategy<Value = Stated> {
    let rule = (
        rule_grantee(),
        proptest::option::weighted(0.8, select(&PERMISSIONS[..])),
        rule_place(),
        0..3,
    )
        .prop_map(|(grantee, permission, at, priority)| Fact::Rule(true, grantee, permission, at, priority));
    (tenant(), interval(), rule).prop_map(|(tenant, valid, fact)| Stated {
        id: 9_999,
        tenant,
        valid,
        fact,
    })
}

pub fn fact() -> impl Strategy<Value = Fact> {
    let role = || select(&ROLES[..]);
    let permission = || select(&PERMISSIONS[..]);
    prop_oneof![
        2 => tenant().prop_map(Fact::Membership),
        3 => select(&["team:1", "team:4"][..]).prop_map(Fact::Team),
        6 => (role(), permission(), proptest::option::weighted(0.25, 0..CONDITIONS.len()))
            .prop_map(|(r, p, c)| Fact::RolePermission(r, p, c)),
        2 => (role(), role()).prop_map(|(a, b)| Fact::Inherits(a, b)),
        5 => (role(), prop_oneof![5 => select(&PLACES[..]), 1 => Just("platform")])
            .prop_map(|(r, at)| Fact::Assign(r, at)),
        4 => (select(&GRANTEES[..]), permission(), select(&PLACES[..])).prop_map(|(g, p, at)| Fact::Grant(g, p, at)),
        3 => (any::<bool>(), rule_grantee(), proptest::option::weighted(0.8, permission()), rule_place(), 0..3)
            .prop_map(|(deny, g, p, at, priority)| Fact::Rule(deny, g, p, at, priority)),
        1 => (
            any::<bool>(),
            proptest::option::of(1u8..3),
            proptest::option::of(select(&["team:2", "case:1", "platform:0", "team:4"][..])),
            any::<bool>(),
        )
            .prop_map(|(b, tenant, scope, sensitive)| Fact::Session(b, tenant, scope, sensitive)),
    ]
}

/// Facts in any order of meaning; most principals are active and members, or little would be reached.
pub fn facts() -> impl Strategy<Value = Vec<Stated>> {
    let usual = (
        proptest::bool::weighted(0.97).prop_flat_map(|always| {
            if always {
                Just(Interval::ALWAYS).boxed()
            } else {
                interval().boxed()
            }
        }),
        proptest::option::weighted(0.85, Just(Fact::Membership(1))),
    );
    (usual, proptest::collection::vec((tenant(), interval(), fact()), 3..26)).prop_map(|((active, member), more)| {
        let mut all = vec![(1, active, Fact::Active)];
        all.extend(member.map(|m| (1, Interval::ALWAYS, m)));
        all.extend(more);
        let number = |(i, (tenant, valid, fact))| Stated {
            id: i as u128,
            tenant,
            valid,
            fact,
        };
        all.into_iter().enumerate().map(number).collect()
    })
}

pub fn rest() -> impl Strategy<Value = Rest> {
    use Confidentiality::*;
    let first = (
        prop_oneof![6 => Just(0usize), 3 => Just(1), 1 => Just(2), 1 => Just(3), 1 => Just(4)],
        prop_oneof![6 => Just(Normal), 2 => Just(Restricted), 1 => Just(Sealed), 1 => Just(Unknown)],
        proptest::bool::weighted(0.15),
        0usize..5,
        any::<bool>(),
        0u8..4,
        prop_oneof![2 => Just(0u8), 1 => 1u8..4],
    );
    let second = (
        (proptest::bool::weighted(0.2), any::<bool>(), any::<bool>()),
        select(&[0, 5][..]),
        proptest::collection::vec((select(&PERMISSIONS[..]), select(&PERMISSIONS[..])), 0..3),
        select(&PERMISSIONS[..]),
        0i64..5,
    );
    (first, second).prop_map(
        |(
            (resource, level, deleted, owner, owner_role, clearance, needed),
            (mfa, context_level, implications, permission, at),
        )| Rest {
            resource,
            level,
            deleted,
            owner,
            owner_role,
            clearance,
            needed,
            mfa,
            context_level,
            implications,
            // A question about a case is about a permission of cases.
            permission: match resource {
                1 => "document.view",
                _ if permission.starts_with("document") => "case.view",
                _ => permission,
            },
            at,
        },
    )
}

pub fn resource(rest: &Rest) -> Result<Resource, &'static str> {
    let of = |chain: &str, tenant: &str| {
        let chain = nodes(chain);
        let mut r = Resource::scope(chain[0].clone(), id(tenant), chain);
        r.owner = [
            None,
            Some(principal()),
            Some(id("team:2")),
            Some(id("organization:2")),
            Some(id("team:9")),
        ][rest.owner];
        r.confidentiality = rest.level;
        r.deleted = rest.deleted;
        r
    };
    let case = || {
        of(
            "case:1 team:1 team:2 project:1 organization:1 organization:2 tenant:1",
            "tenant:1",
        )
    };
    match rest.resource {
        0 => Ok(case()),
        1 => {
            let mut chain = vec![node("document:1")];
            chain.extend(case().chain);
            let mut document = Resource::scope(node("document:1"), id("tenant:1"), chain);
            document.parent = Parent::Resource(std::rc::Rc::new(case()));
            Ok(document)
        }
        2 => Ok(of("case:2 team:4 organization:3 tenant:2", "tenant:2")),
        3 => {
            let mut platforms = of("case:1", "tenant:1");
            platforms.tenant = None;
            Ok(platforms)
        }
        _ => Err("not there"),
    }
}

fn within(team: &str) -> &'static str {
    match team {
        "team:1" => "team:1 team:2 organization:1 organization:2",
        _ => "team:4 organization:3",
    }
}

pub fn tenant_id(tenant: u8) -> Uuid {
    id(&format!("tenant:{tenant}"))
}

pub fn policy(facts: &[Stated], rest: &Rest) -> Policy {
    let mut p = Policy::new();
    // Numbers of names must not depend on the order of facts.
    PERMISSIONS.iter().for_each(|code| _ = p.permission(code));
    ROLES.iter().for_each(|role| _ = p.names.role(role));
    rest.implications.iter().for_each(|(a, b)| p.implies(a, b));
    if rest.mfa.0 {
        p.requires_mfa(rest.permission);
    }
    let mut context = json!({"level": rest.context_level});
    if rest.mfa.2 {
        context["mfa"] = true.into();
    }
    p.context = context;
    p.at = rest.at;
    p.resource = resource(rest);
    let owner_role = rest.owner_role.then(|| p.names.role("guest"));
    p.facts.types.iter_mut().for_each(|t| {
        t.owner_role = owner_role;
        t.clearance_restricted = rest.needed;
        t.clearance_sealed = rest.needed;
    });
    let mut who = PrincipalFacts {
        active: Vec::new(),
        memberships: Vec::new(),
        clearance: rest.clearance,
        mfa_enrolled: rest.mfa.1,
        ..p.who().clone()
    };
    for Stated {
        id: key,
        tenant,
        valid,
        fact,
    } in facts
    {
        let (key, valid, tenant) = (Uuid::from_u128(*key), *valid, tenant_id(*tenant));
        let row = |grantee, at: &str, what| Row {
            id: key,
            tenant,
            grantee,
            place: place(at),
            what,
            valid,
        };
        match *fact {
            Fact::Active => who.active.push(valid),
            Fact::Membership(t) => who.memberships.push((tenant_id(t), valid)),
            Fact::Team(team) => who.teams.push(TeamMembership {
                tenant: tenant_id(if team == "team:1" { 1 } else { 2 }),
                valid,
                within: nodes(within(team)).into(),
            }),
            Fact::RolePermission(role, permission, condition) => {
                p.during(valid.from, valid.until);
                p.role_has_parsed(role, permission, condition.map(|c| PARSED[c].clone()), None);
            }
            Fact::Inherits(a, b) => p.during(valid.from, valid.until).inherits(a, b),
            Fact::Assign(role, at) => who.assignments.push(Assignment {
                id: key,
                tenant: (at != "platform").then_some(tenant),
                role: p.names.role(role),
                place: place(at),
                valid,
            }),
            Fact::Grant(grantee, permission, at) => {
                let row = row(p.grantee(grantee), at, What::Grant(p.permission(permission)));
                p.rows.push(row);
            }
            Fact::Rule(deny, grantee, permission, at, priority) => {
                let permission = permission.map(|code| p.permission(code));
                let row = row(
                    p.grantee(grantee),
                    at,
                    What::Rule {
                        deny,
                        priority,
                        permission,
                    },
                );
                p.rows.push(row);
            }
            Fact::Session(break_glass, tenant, scope, includes_sensitive) => who.sessions.push(PrivilegedSession {
                id: key,
                break_glass,
                tenant: tenant.map(tenant_id),
                scope: scope.map(node),
                valid,
                includes_sensitive,
            }),
        }
    }
    p.principal = Some(who);
    p
}
