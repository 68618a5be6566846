//! What holds of every policy, over random ones (PITFALLS 2, 9).
//!
//! A policy is a list of facts, so that adding, closing, dropping and shuffling are what they are called. The universe
//! is small: facts have to meet.

#[path = "../common/mod.rs"]
mod common;
mod facts;

use authz_engine::certain::{Held, Wanted, certain};
use authz_engine::decide::{Silent, decide};
use authz_engine::reach::{holds_everywhere, reach};
use authz_engine::resource::{Confidentiality, Parent};
use authz_engine::subject::{Grantee, Place, Row, SubjectBuilder, What};
use authz_engine::{Composition, Model, Reason, explain};
use common::place;
use facts::{Fact, GRANTEES, Rest, Stated, deny, facts, policy, rest, tenant_id};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use std::collections::HashSet;
use uuid::Uuid;

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
