//! What holds of every policy, over random ones (PITFALLS 2, 9).
//!
//! A policy is a list of facts, so that adding, closing, dropping and shuffling are what they are called. The universe
//! is small: facts have to meet.

mod common;

use authz_engine::certain::{Held, Wanted, certain};
use authz_engine::condition::Condition;
use authz_engine::decide::{Silent, decide};
use authz_engine::reach::{holds_everywhere, reach};
use authz_engine::resource::{Confidentiality, Parent, Resource};
use authz_engine::subject::{
    Assignment, Grantee, Place, PrincipalFacts, PrivilegedSession, Row, SubjectBuilder, TeamMembership, What,
};
use authz_engine::{Composition, Interval, Model, Reason, explain};
use common::{Policy, id, node, nodes, place, principal};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use std::collections::HashSet;
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
const GRANTEES: [&str; 11] = [
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
enum Fact {
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
struct Stated {
    id: u128,
    tenant: u8,
    valid: Interval,
    fact: Fact,
}

/// Everything else.
#[derive(Clone, Debug)]
struct Rest {
    resource: usize,
    level: Confidentiality,
    deleted: bool,
    owner: usize,
    owner_role: bool,
    clearance: u8,
    needed: u8,
    mfa: (bool, bool, bool),
    context_level: i32,
    implications: Vec<(&'static str, &'static str)>,
    permission: &'static str,
    at: i64,
}

fn interval() -> impl Strategy<Value = Interval> {
    prop_oneof![
        4 => Just(Interval::ALWAYS),
        1 => (0i64..5, 0i64..5).prop_map(|(a, b)| Interval::new(a, b)),
    ]
}

fn tenant() -> impl Strategy<Value = u8> {
    prop_oneof![6 => Just(1u8), 1 => Just(2u8)]
}

fn rule_grantee() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => select(&GRANTEES[..]), 1 => Just("any")]
}

fn rule_place() -> impl Strategy<Value = &'static str> {
    prop_oneof![5 => select(&PLACES[..]), 1 => select(&["case:*", "team:*", "document:*"][..])]
}

fn deny() -> impl Strategy<Value = Stated> {
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

fn fact() -> impl Strategy<Value = Fact> {
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
fn facts() -> impl Strategy<Value = Vec<Stated>> {
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

fn rest() -> impl Strategy<Value = Rest> {
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

fn resource(rest: &Rest) -> Result<Resource, &'static str> {
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

fn tenant_id(tenant: u8) -> Uuid {
    id(&format!("tenant:{tenant}"))
}

fn policy(facts: &[Stated], rest: &Rest) -> Policy {
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

fn answer(facts: &[Stated], rest: &Rest) -> Reason {
    let compiled = policy(facts, rest).compile();
    decide(&compiled.question(rest.permission), &mut Silent)
}

/// Whom the principal is at the instant, in tenant 1 and tenant 2.
fn subjects(facts: &[Stated], rest: &Rest) -> HashSet<Grantee> {
    let in_force: Vec<_> = facts.iter().filter(|f| f.valid.contains(rest.at)).cloned().collect();
    let mut p = policy(&in_force, rest);
    let model = Model::compile(p.names.clone(), p.facts.clone());
    SubjectBuilder::new(p.who().clone(), &Composition::compile(&model, rest.at))
        .grantees()
        .into_iter()
        .collect()
}

fn without(facts: &[Stated], i: usize) -> Vec<Stated> {
    let mut rest = facts.to_vec();
    rest.remove(i);
    rest
}

fn is_deny(fact: &Fact) -> bool {
    matches!(fact, Fact::Rule(true, ..))
}

proptest! {
    #![proptest_config(Config { cases: 2_000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn explaining_is_deciding(facts in facts(), rest in rest()) {
        let compiled = policy(&facts, &rest).compile();
        let question = compiled.question(rest.permission);
        let e = explain(&question);
        prop_assert_eq!(e.reason, decide(&question, &mut Silent));
        // An allow names the binding that gave it, a deny the rule; what decided was valid.
        prop_assert_eq!(e.binding().is_some(), matches!(e.reason, Reason::Allowed | Reason::ExplicitDeny));
        if let Some(binding) = e.binding() {
            prop_assert_eq!(binding.deny, e.reason == Reason::ExplicitDeny);
        }
        let last = e.parts.last().and_then(|p| p.steps.last()).expect("a step");
        prop_assert_eq!(last.passed, e.reason == Reason::Allowed);
    }

    /// Row security looks for rows in the reach only: what is allowed outside of it would be hidden.
    #[test]
    fn whatever_is_allowed_lies_in_the_reach(facts in facts(), rest in rest()) {
        let c = policy(&facts, &rest).compile();
        if answer(&facts, &rest) != Reason::Allowed {
            return Ok(());
        }
        let (Ok(resource), Some(subject)) = (&c.resource, &c.subject) else {
            panic!("allowed without resource or principal");
        };
        let permission = c.model.permission(rest.permission).expect("a defined permission");
        let found = reach(&c.model, &c.composition, subject, |_| Some(&c.any), permission, c.at);
        let in_tenant = |t: Option<Uuid>| t.is_none() || t == resource.tenant;
        let reached = found.everywhere
            || resource.tenant.is_some_and(|t| found.tenants.contains(&t))
            || found.nodes.iter().any(|(t, n)| in_tenant(*t) && resource.chain.contains(n))
            || found.owned && resource.owned().any(|(_, o)| subject.owner_ids(c.at).any(|id| id == o));
        prop_assert!(reached, "{found:?} misses {resource:?}");
    }

    /// For whom everything is open, no row is looked at: every row that is there must be allowed.
    #[test]
    fn who_holds_it_everywhere_is_allowed(facts in facts(), rest in rest()) {
        let c = policy(&facts, &rest).compile();
        let (Ok(resource), Some(subject)) = (&c.resource, &c.subject) else {
            return Ok(());
        };
        let known = resource.confidentiality != Confidentiality::Unknown;
        // The caller sees to these: children are decided one by one, and so is everything where rules address everybody.
        if !known || !matches!(resource.parent, Parent::None) || c.any.everything().next().is_some() {
            return Ok(());
        }
        let permission = c.model.permission(rest.permission).expect("a defined permission");
        let kind = c.model.definition(permission).map(|d| d.kind);
        let rows_can_be = (resource.confidentiality != Confidentiality::Normal, resource.deleted);
        let everywhere = Some(resource.kind) == kind
            && holds_everywhere(&c.model, &c.composition, subject, permission, rows_can_be, c.mfa_used, c.at);
        prop_assert!(!everywhere || answer(&facts, &rest) == Reason::Allowed);
    }

    /// Row security shows what is certain without a decision: the decision must be the same.
    #[test]
    fn what_is_certain_is_allowed(facts in facts(), rest in rest()) {
        let c = policy(&facts, &rest).compile();
        let (Ok(resource), Some(subject)) = (&c.resource, &c.subject) else {
            return Ok(());
        };
        let permission = c.model.permission(rest.permission).expect("a defined permission");
        let kind = c.model.definition(permission).map(|d| d.kind);
        // The caller sees to these.
        if Some(resource.kind) != kind || resource.deleted || !matches!(resource.parent, Parent::None) {
            return Ok(());
        }
        let Some(tenant) = resource.tenant else {
            return Ok(());
        };
        let wanted = Wanted { permission, tenant, mfa_used: c.mfa_used, at: c.at };
        let Some(found) = certain(&c.model, &c.composition, subject, Some(&c.any), &wanted) else {
            return Ok(());
        };
        let at = |held: &Held| held.everywhere || held.nodes.iter().any(|n| resource.chain.contains(n));
        let opened = match resource.confidentiality {
            Confidentiality::Normal => true,
            Confidentiality::Restricted => at(&found.restricted),
            Confidentiality::Sealed => at(&found.sealed),
            Confidentiality::Unknown => false,
        };
        let doubtful = found.doubtful.iter().any(|n| resource.chain.contains(n));
        let is_certain = opened && at(&found.permission) && !doubtful;
        prop_assert!(!is_certain || answer(&facts, &rest) == Reason::Allowed, "{:?} but {found:?} of {resource:?}", answer(&facts, &rest));
    }

    #[test]
    fn a_deny_never_allows(facts in facts(), rest in rest(), deny in deny()) {
        let before = answer(&facts, &rest);
        let mut more = facts.clone();
        more.push(deny);
        let after = answer(&more, &rest);
        prop_assert!(after != Reason::Allowed || before == Reason::Allowed, "{before:?} became {after:?}");
    }

    #[test]
    fn closing_never_allows_but_by_lifting_denies(facts in facts(), rest in rest()) {
        let before = answer(&facts, &rest);
        if before == Reason::Allowed {
            return Ok(());
        }
        for i in (0..facts.len()).filter(|&i| !is_deny(&facts[i].fact)) {
            let closed = without(&facts, i);
            if answer(&closed, &rest) != Reason::Allowed {
                continue;
            }
            // The exception follows from the words: what made the principal a subject of denies is gone.
            prop_assert!(
                matches!(facts[i].fact, Fact::Assign(..) | Fact::Team(_) | Fact::Inherits(..)),
                "closing {:?} allowed", facts[i]
            );
            // A deny of view_deleted, view_restricted or view_sealed fails the step that asks for them.
            prop_assert!(
                matches!(before, Reason::ExplicitDeny | Reason::ResourceDeleted | Reason::Confidentiality),
                "closing {:?} allowed what was {before:?}", facts[i]
            );
            // And it is that alone: with the subject in place, dropping just those denies allows as well.
            let mut p = policy(&facts, &rest);
            let lost: HashSet<_> = &subjects(&facts, &rest) - &subjects(&closed, &rest);
            let lifted = |row: &Row| {
                let by_tenant = !lost.contains(&row.grantee) && still_in_another_tenant(&closed, &rest, row);
                matches!(row.what, What::Rule { deny: true, .. }) && (lost.contains(&row.grantee) || by_tenant)
            };
            prop_assert!(p.rows.iter().any(&lifted), "closing {:?} lifted no deny", facts[i]);
            p.rows.retain(|row| !lifted(row));
            prop_assert_eq!(p.ask(rest.permission), Reason::Allowed, "closing {:?}", facts[i]);
        }
    }

    #[test]
    fn the_suspended_are_allowed_nothing(facts in facts(), rest in rest()) {
        let facts: Vec<_> = facts.into_iter().filter(|f| !matches!(f.fact, Fact::Active)).collect();
        prop_assert_eq!(answer(&facts, &rest), Reason::PrincipalInactive);
    }

    #[test]
    fn a_suspended_membership_leaves_nothing_behind(facts in facts(), rest in rest()) {
        let outside: Vec<_> = facts.into_iter().filter(|f| !matches!(f.fact, Fact::Membership(_))).collect();
        let inside = |f: &Stated| match f.fact {
            Fact::Assign(_, at) => at != "platform",
            Fact::Session(..) => false,
            _ => true,
        };
        let from_inside_only: Vec<_> = outside.iter().filter(|f| inside(f)).cloned().collect();
        prop_assert_ne!(answer(&from_inside_only, &rest), Reason::Allowed);
        // For those who enter otherwise, what lives in the tenant is as good as not there. (Assignments stay, for
        // their holder is the role for which denies are meant, but at a place that is nowhere.)
        let mut stripped = policy(&outside, &rest);
        stripped.rows.retain(|row| matches!(row.what, What::Rule { deny: true, .. }));
        stripped.facts.types.iter_mut().for_each(|t| t.owner_role = None);
        let assignments = &mut stripped.who().assignments;
        assignments.iter_mut().filter(|a| a.place != Place::Platform).for_each(|a| a.place = place("project:99"));
        prop_assert_eq!(answer(&outside, &rest), stripped.ask(rest.permission));
    }

    #[test]
    fn only_rows_in_force_count(facts in facts(), rest in rest()) {
        let in_force: Vec<_> = facts.iter().filter(|f| f.valid.contains(rest.at)).cloned().collect();
        prop_assert_eq!(answer(&facts, &rest), answer(&in_force, &rest));
    }

    #[test]
    fn the_order_of_rows_does_not_show(
        (facts, shuffled) in facts().prop_flat_map(|f| (Just(f.clone()), Just(f).prop_shuffle())),
        rest in rest(),
    ) {
        let (a, b) = (policy(&facts, &rest).explain(rest.permission), policy(&shuffled, &rest).explain(rest.permission));
        prop_assert_eq!(a.reason, b.reason);
        let decided = |e: &authz_engine::Explanation| e.binding().map(|l| (l.origin, l.id));
        prop_assert_eq!(decided(&a), decided(&b));
    }

    #[test]
    fn what_is_left_out_is_found_at_the_resource(facts in facts(), rest in rest(), out in select(&GRANTEES[..])) {
        let loaded = policy(&facts, &rest);
        let mut left_out = loaded.clone();
        let grantee = left_out.grantee(out);
        left_out.left_out.push(grantee);
        let (a, b) = (loaded.explain(rest.permission), left_out.explain(rest.permission));
        prop_assert_eq!(a.reason, b.reason);
        let decided = |e: &authz_engine::Explanation| e.binding().map(|l| (l.origin, l.id));
        prop_assert_eq!(decided(&a), decided(&b));
    }
}

/// Is the row's grantee still one of the principal's subjects, but no longer in the row's tenant?
fn still_in_another_tenant(closed: &[Stated], rest: &Rest, row: &Row) -> bool {
    let there: Vec<_> = closed
        .iter()
        .filter(|f| match f.fact {
            Fact::Assign(_, at) => at == "platform" || tenant_id(f.tenant) == row.tenant,
            _ => true,
        })
        .cloned()
        .collect();
    matches!(row.grantee, Grantee::Role(_)) && !subjects(&there, rest).contains(&row.grantee)
}

/// The properties above say something only if random policies come to every answer.
#[test]
fn random_policies_come_to_every_answer() {
    let mut runner = TestRunner::deterministic();
    let strategy = (facts(), rest());
    let mut seen = std::collections::HashMap::new();
    let mut lifted = 0;
    for _ in 0..6_000 {
        let (facts, rest) = strategy.new_tree(&mut runner).expect("a policy").current();
        let before = answer(&facts, &rest);
        *seen.entry(before.code()).or_insert(0) += 1;
        if before == Reason::ExplicitDeny {
            let closed = (0..facts.len()).filter(|&i| !is_deny(&facts[i].fact));
            lifted += closed
                .filter(|&i| answer(&without(&facts, i), &rest) == Reason::Allowed)
                .count();
        }
    }
    println!("{seen:?}, {lifted} times closing lifted a deny");
    for (reason, least) in [
        (Reason::Allowed, 200),
        (Reason::PrincipalInactive, 20),
        (Reason::ResourceNotFound, 100),
        (Reason::OutsideTenant, 200),
        (Reason::ResourceDeleted, 100),
        (Reason::ExplicitDeny, 200),
        (Reason::NoGrant, 500),
        (Reason::Confidentiality, 100),
        (Reason::ConditionFailed, 20),
        (Reason::MfaRequired, 20),
    ] {
        let times = seen.get(reason.code()).copied().unwrap_or(0);
        assert!(times >= least, "{} came up {times} times", reason.code());
    }
    assert!(lifted >= 5, "the exception came up {lifted} times");
}
