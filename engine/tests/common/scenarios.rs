//! Questions of a realistic size, whose cost is measured and whose allocations are counted.

use super::{Compiled, Policy};
use authz_engine::Reason;
use authz_engine::resource::Confidentiality;

/// A question, ready to be asked, and the answer that it must have.
pub struct Scenario {
    /// What is special about it.
    pub name: &'static str,
    /// The policy.
    pub compiled: Compiled,
    /// The permission asked for.
    pub permission: &'static str,
    /// The answer.
    pub answer: Reason,
    /// How many resources are decided about: a child's parent is one more, with nine steps of its own.
    pub resources: u32,
    /// Does the decision reach a condition? Evaluating one takes time and memory.
    pub conditional: bool,
}

/// A case worker: two teams, fifteen assignments at teams, organizations, cases, and two dozen grants and rules,
/// most of which are about other cases.
fn worker() -> Policy {
    let mut p = Policy::new();
    for action in [
        "view",
        "edit",
        "close",
        "assign",
        "export",
        "view_restricted",
        "view_sealed",
        "view_deleted",
    ] {
        p.permission(&format!("case.{action}"));
        p.permission(&format!("document.{action}"));
    }
    p.implies("case.edit", "case.view");
    p.role("reader", &["case.view", "document.view"]);
    p.role("editor", &["case.edit", "document.edit"]);
    p.role("lead", &["case.assign", "case.close"]);
    p.role("archivist", &["case.view_deleted"]);
    p.inherits("editor", "reader");
    p.inherits("lead", "editor");
    p.team("team:1 team:2 organization:1 organization:2");
    p.team("team:7 organization:1 organization:2");
    p.assign("editor", "team:1");
    p.assign("archivist", "organization:2");
    for n in 10..18 {
        p.assign("lead", &format!("case:{n}"));
    }
    for n in 5..10 {
        p.assign("reader", &format!("team:{n}"));
    }
    for n in 30..50 {
        p.grant("principal", "case.view", &format!("case:{n}"));
    }
    p.grant("team:7", "case.export", "project:9");
    p.grant("organization:2", "document.view", "organization:1");
    p.deny("role:archivist", "case.export", "tenant:1", 10);
    p.deny("any", "case.edit", "case:99", 100);
    p
}

fn scenario(name: &'static str, policy: Policy, permission: &'static str, answer: Reason) -> Scenario {
    Scenario {
        name,
        compiled: policy.compile(),
        permission,
        answer,
        resources: 1,
        conditional: false,
    }
}

/// All of them.
pub fn all() -> Vec<Scenario> {
    let by_team = worker();

    let mut by_grant = worker();
    by_grant.grant("principal", "case.export", "case:1");
    by_grant
        .rows
        .retain(|r| !matches!(r.what, authz_engine::subject::What::Rule { .. }));

    let denied = worker();
    let nothing = worker();

    let mut restricted = worker();
    restricted.role("cleared", &["case.view_restricted"]);
    restricted.assign("cleared", "organization:1");
    restricted.resource_type().clearance_restricted = 2;
    restricted.who().clearance = 3;
    restricted.it().confidentiality = Confidentiality::Restricted;

    let mut child = worker();
    child.child("document:1");

    let mut auditor = worker();
    let who = auditor.who();
    who.memberships.clear();
    who.teams.clear();
    who.assignments.clear();
    auditor.assign("reader", "platform");

    let mut crowded = worker();
    for n in 1_000..11_000 {
        crowded.grant("principal", "case.view", &format!("case:{n}"));
    }

    let mut large = crowded.clone();
    large.grant("principal", "case.export", "case:1");
    large
        .rows
        .retain(|r| !matches!(r.what, authz_engine::subject::What::Rule { .. }));
    let grantee = large.grantee("principal");
    large.left_out.push(grantee);

    let mut conditional = worker();
    conditional.role_if(
        "editor",
        "case.export",
        "context.level > 3 && resource.confidentiality == 'normal'",
    );
    conditional
        .rows
        .retain(|r| !matches!(r.what, authz_engine::subject::What::Rule { .. }));
    conditional.context = serde_json::json!({"level": 5});
    let mut conditional = scenario("allow under a condition", conditional, "case.export", Reason::Allowed);
    conditional.conditional = true;

    let mut child = scenario("child and its parent", child, "document.view", Reason::Allowed);
    child.resources = 2;

    let all = vec![
        scenario("allow by a role at a team", by_team, "case.view", Reason::Allowed),
        scenario(
            "allow by a grant on the resource",
            by_grant,
            "case.export",
            Reason::Allowed,
        ),
        scenario("deny by a rule", denied, "case.export", Reason::ExplicitDeny),
        scenario("no grant", nothing, "case.assign", Reason::NoGrant),
        scenario("restricted row, cleared", restricted, "case.view", Reason::Allowed),
        child,
        scenario("platform auditor", auditor, "case.view", Reason::Allowed),
        scenario("10,000 grants, loaded", crowded, "case.view", Reason::Allowed),
        scenario("10,000 grants, left out", large, "case.export", Reason::Allowed),
        conditional,
    ];
    for s in &all {
        let chain = s.compiled.resource.as_ref().expect("a resource").chain.len();
        assert!((6..=8).contains(&chain), "{}: a chain of {chain}", s.name);
        assert!(s.name == "platform auditor" || s.compiled.subject.as_ref().is_some_and(|s| s.index.len() >= 15));
    }
    all
}
