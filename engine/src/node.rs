//! Keys, nodes, and the containment closure that makes a scope chain.

use crate::name::Kind;
use smallvec::SmallVec;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use uuid::Uuid;

/// The key of a row. Two keys are equal exactly if their canonical texts are: a text is a `Uuid` or an `Int`
/// when it is the canonical form of one, whatever the type of the column that it came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A uuid.
    Uuid(Uuid),
    /// An integer of any width.
    Int(i64),
    /// Everything else.
    Text(Arc<str>),
}

impl Key {
    /// The key whose canonical text is `text`.
    pub fn from_text(text: &str) -> Key {
        // Length and first byte settle nearly every case before anything is parsed.
        if text.len() == 36
            && let Ok(uuid) = Uuid::try_parse(text)
            && uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text
        {
            return Key::Uuid(uuid);
        }
        if text.len() <= 20
            && let Ok(int) = text.parse::<i64>()
            && is_canonical_int(text)
        {
            return Key::Int(int);
        }
        Key::Text(text.into())
    }
}

/// `-12`, `0`, `7`: no plus sign, no padding, no `-0`.
fn is_canonical_int(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.bytes().all(|b| b.is_ascii_digit())
        && (digits == "0" && digits.len() == text.len() || !digits.starts_with('0'))
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Uuid(u) => u.fmt(f),
            Key::Int(i) => i.fmt(f),
            Key::Text(t) => f.write_str(t),
        }
    }
}

/// A resource, or a scope that contains resources. The tenant is not part of it: whoever compares nodes of
/// possibly different tenants compares the tenants as well.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Which one.
    pub key: Key,
}

impl Hash for Node {
    /// One number for the hasher where that is possible: nodes are looked up in every decision.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let kind = u128::from(self.kind.0) << 64;
        match &self.key {
            Key::Uuid(id) => state.write_u128(id.as_u128() ^ kind),
            Key::Int(i) => state.write_u128(u128::from(*i as u64) ^ kind),
            Key::Text(t) => {
                self.kind.hash(state);
                t.hash(state);
            }
        }
    }
}

impl Node {
    /// The node of a row.
    pub const fn new(kind: Kind, key: Key) -> Node {
        Node { kind, key }
    }

    /// The node of a row with a uuid key.
    pub const fn uuid(kind: Kind, id: Uuid) -> Node {
        Node {
            kind,
            key: Key::Uuid(id),
        }
    }
}

/// A scope chain. Most are short enough to be where their resource is: looking at one then costs no further access to
/// memory, nor making one an allocation.
pub type Chain = SmallVec<[Node; 8]>;

/// Adds `start` and everything that contains it to `chain`, innermost first, each node once.
///
/// `containers` is asked once for every node and adds the nodes that directly contain it. Iterative, and safe
/// where the data has a cycle.
pub fn close<E>(
    start: Node,
    chain: &mut Chain,
    mut containers: impl FnMut(&Node, &mut Vec<Node>) -> Result<(), E>,
) -> Result<(), E> {
    let mut next = chain.len();
    add(chain, start);
    let mut found = Vec::new();
    while let Some(node) = chain.get(next).cloned() {
        next += 1;
        containers(&node, &mut found)?;
        found.drain(..).for_each(|n| add(chain, n));
    }
    Ok(())
}

/// Adds `node` unless it is there. Chains are short: a scan beats a hash set.
pub fn add(chain: &mut Chain, node: Node) {
    if !chain.contains(&node) {
        chain.push(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_canonical_or_text() {
        let id = "0f0e0d0c-0b0a-0908-0706-050403020100";
        assert!(matches!(Key::from_text(id), Key::Uuid(_)));
        assert!(matches!(Key::from_text(&id.to_uppercase()), Key::Text(_)));
        assert!(matches!(Key::from_text(&id.replace('-', "")), Key::Text(_)));
        for canonical in ["0", "-1", "42", "9223372036854775807", "-9223372036854775808"] {
            assert!(matches!(Key::from_text(canonical), Key::Int(_)), "{canonical}");
        }
        for other in ["", "-", "-0", "+1", "01", "1 ", "9223372036854775808", "1e3", "٣"] {
            assert!(matches!(Key::from_text(other), Key::Text(_)), "{other}");
        }
    }

    #[test]
    fn a_key_shows_as_the_text_it_came_from() {
        for text in ["0f0e0d0c-0b0a-0908-0706-050403020100", "-7", "007", "A b"] {
            assert_eq!(Key::from_text(text).to_string(), text);
        }
    }

    #[test]
    fn closure_keeps_order_and_ends_on_cycles() {
        let n = |i| Node::new(Kind::TEAM, Key::Int(i));
        let mut chain = Chain::new();
        close::<()>(n(1), &mut chain, |node, found| {
            match node.key {
                Key::Int(1) => found.extend([n(2), n(3)]),
                Key::Int(2) => found.push(n(1)),
                _ => {}
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(chain[..], [n(1), n(2), n(3)]);
    }
}
