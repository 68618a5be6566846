//! Crowded chains, keys of every type.

use crate::common;
use crate::common::{Policy, node};
use authz_engine::Reason::{Allowed, ExplicitDeny, NoGrant};

#[test]
fn a_crowded_chain_is_looked_at_to_its_end() {
    // More nodes with bindings than a decision keeps at hand, the one that counts being the outermost.
    for length in [5_u32, 8, 9, 30, 200] {
        let mut p = Policy::new();
        p.role("other", &["case.edit"]);
        p.role("reader", &["case.view"]);
        let chain: Vec<_> = (1..=length).map(|n| format!("case:{n}")).collect();
        p.it().chain = chain.iter().map(|n| node(n)).collect();
        chain.iter().for_each(|n| {
            p.assign("other", n);
            p.deny("any", "case.edit", n, 1);
        });
        assert_eq!((p.ask("case.view"), p.ask("case.edit")), (NoGrant, ExplicitDeny));
        let last = p.assign("reader", chain.last().unwrap());
        assert_eq!(
            p.explain("case.view").binding().unwrap().id,
            Some(last),
            "{length} nodes"
        );
        p.deny("any", "case.view", chain.last().unwrap(), 1);
        assert_eq!(p.ask("case.view"), ExplicitDeny);
    }
}

#[test]
fn keys_of_every_type_are_found() {
    use authz_engine::{Key, Node};
    for key in [
        "17",
        "-3",
        "",
        "A",
        "case-2024-000017",
        "ÄÖÜ straße",
        "0f0e0d0c-0b0a-0908-0706-050403020100",
    ] {
        let mut p = Policy::new();
        for n in 0..100 {
            p.grant("principal", "case.view", &format!("case:{n}"));
        }
        let mine = Node::new(common::CASE, Key::from_text(key));
        p.it().key = mine.key.clone();
        p.it().chain = vec![mine.clone(), node("tenant:1")].into();
        assert_eq!(p.ask("case.view"), NoGrant, "{key:?}");
        p.rows[57].place = authz_engine::subject::Place::Node(mine);
        assert_eq!(p.ask("case.view"), Allowed, "{key:?}");
        // The same key of another type is another node.
        p.rows[57].place = authz_engine::subject::Place::Node(Node::new(common::DOCUMENT, Key::from_text(key)));
        assert_eq!(p.ask("case.view"), NoGrant, "{key:?}");
    }
}
