//! Step 5 in every combination (R16): one allow rule and one deny rule, whomever each addresses, wherever each lies,
//! whatever permission each is about, whichever of them has the higher priority.

mod common;

use authz_engine::Reason::{self, Allowed, ExplicitDeny, NoGrant};
use common::Policy;

/// Grantees, and whether the principal is one of them.
const GRANTEES: [(&str, bool); 7] = [
    ("principal", true),
    ("team:1", true),
    ("organization:1", true),
    ("role:reader", true),
    ("any", true),
    ("team:3", false),
    ("role:other", false),
];

/// Places, and whether they are on the chain of the case.
const PLACES: [(&str, bool); 9] = [
    ("tenant:1", true),
    ("organization:2", true),
    ("organization:1", true),
    ("project:1", true),
    ("team:1", true),
    ("case:1", true),
    ("case:*", true),
    ("case:2", false),
    ("document:*", false),
];

/// Permissions, and whether a rule about them is about what is asked.
const PERMISSIONS: [(&str, bool); 3] = [("case.view", true), ("*", true), ("case.edit", false)];

#[derive(Clone, Copy)]
struct Rule {
    grantee: &'static str,
    place: &'static str,
    permission: &'static str,
    applies: bool,
}

fn rules() -> Vec<Rule> {
    let mut rules = Vec::new();
    for (grantee, addressed) in GRANTEES {
        for (place, on_chain) in PLACES {
            for (permission, asked) in PERMISSIONS {
                rules.push(Rule {
                    grantee,
                    place,
                    permission,
                    applies: addressed && on_chain && asked,
                });
            }
        }
    }
    rules
}

fn expected(allow: Rule, deny: Rule, deny_wins: bool) -> Reason {
    match (allow.applies, deny.applies) {
        (true, true) if deny_wins => ExplicitDeny,
        (true, _) => Allowed,
        (false, true) => ExplicitDeny,
        (false, false) => NoGrant,
    }
}

#[test]
fn r16_every_pair_of_an_allow_and_a_deny() {
    let mut world = Policy::new();
    world.role("reader", &[]);
    world.assign("reader", "tenant:1");
    world.team("team:1 team:2 organization:1 organization:2");
    let (mut asked, mut denied) = (0, 0);
    for allow in rules() {
        for deny in rules() {
            for (allows, denies) in [(2, 1), (1, 1), (1, 2)] {
                let mut p = world.clone();
                p.allow(allow.grantee, allow.permission, allow.place, allows);
                p.deny(deny.grantee, deny.permission, deny.place, denies);
                let expected = expected(allow, deny, denies >= allows);
                assert_eq!(
                    p.ask("case.view"),
                    expected,
                    "allow {} {} at {} priority {allows}, deny {} {} at {} priority {denies}",
                    allow.grantee,
                    allow.permission,
                    allow.place,
                    deny.grantee,
                    deny.permission,
                    deny.place,
                );
                asked += 1;
                denied += u32::from(expected == ExplicitDeny);
            }
        }
    }
    assert!(asked > 100_000 && denied > 20_000, "{denied} of {asked}");
}
