//! What is bound to a principal, by where it is bound.

use super::Grantee;
use crate::name::{Kind, Permission, Role};
use crate::node::{Key, Node};
use crate::time::{Instant, Interval};
use hashbrown::HashMap;
use uuid::Uuid;

/// What a binding does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A role assignment.
    Role(Role),
    /// An access grant.
    Grant(Permission),
    /// A rule.
    Rule {
        /// Deny, or allow?
        deny: bool,
        /// The highest wins.
        priority: i32,
        /// `None` = every permission.
        permission: Option<Permission>,
    },
}

/// One fact that can allow or deny, in force in an interval.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// Primary key of its row.
    pub id: Uuid,
    /// The tenant that it belongs to; `None` = the platform.
    pub tenant: Option<Uuid>,
    /// When it counts: its own interval within the one of the subject that it reaches the principal through.
    pub valid: Interval,
    /// What it does.
    pub what: What,
    /// Whom it addresses.
    pub grantee: Grantee,
}

/// Bindings by node.
#[derive(Clone, Debug, Default)]
pub struct BindingIndex {
    nodes: HashMap<Node, (u32, u32)>,
    bindings: Box<[Binding]>,
    platform: Box<[Binding]>,
    wide: Box<[(Kind, Binding)]>,
    /// A bit for each fingerprint of a node that has a binding: most nodes of a chain have none, and are told by
    /// this at a fraction of the cost of a look into `nodes`. Its length is a power of two.
    filter: Box<[u64]>,
}

/// Where a binding is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At a node of the scope chain.
    Node(Node),
    /// At the platform.
    Platform,
    /// At every resource of a type.
    Every(Kind),
}

impl BindingIndex {
    /// Indexes `bindings`.
    pub fn compile(mut placed: Vec<(Place, Binding)>) -> BindingIndex {
        let mut index = BindingIndex::default();
        let (mut platform, mut wide, mut at) = (Vec::new(), Vec::new(), Vec::new());
        for (place, binding) in placed.drain(..) {
            match place {
                Place::Platform => platform.push(binding),
                Place::Every(kind) => wide.push((kind, binding)),
                Place::Node(node) => at.push((node, binding)),
            }
        }
        at.sort_by(|(a, x), (b, y)| a.cmp(b).then_with(|| x.id.cmp(&y.id)));
        // The order of rows in their tables must not show, in explanations either.
        platform.sort_by_key(|b| b.id);
        wide.sort_by_key(|(kind, b)| (*kind, b.id));
        let mut from = 0u32;
        let mut runs = Vec::new();
        for run in at.chunk_by(|(a, _), (b, _)| a == b) {
            let until = from + u32::try_from(run.len()).expect("more than four billion bindings");
            runs.push((run[0].0.clone(), (from, until)));
            from = until;
        }
        if !runs.is_empty() {
            // Sixteen bits for each node: one in sixteen looks for nothing at most.
            index.filter = vec![0; (runs.len() / 4).next_power_of_two()].into();
            runs.iter().for_each(|(node, _)| {
                let (word, bit) = slot(fingerprint(node), index.filter.len());
                index.filter[word] |= bit;
            });
        }
        index.nodes = runs.into_iter().collect();
        index.bindings = at.into_iter().map(|(_, b)| b).collect();
        index.platform = platform.into();
        index.wide = wide.into();
        index
    }

    /// Is there perhaps a binding at the node of that fingerprint?
    #[inline]
    pub(crate) fn may_have(&self, fingerprint: u64) -> bool {
        let (word, bit) = slot(fingerprint, self.filter.len());
        self.filter.get(word).is_some_and(|w| w & bit != 0)
    }

    /// The bindings at `node`, of whatever tenant.
    #[inline]
    pub fn at(&self, node: &Node) -> &[Binding] {
        match self.nodes.get(node) {
            Some(&(from, until)) => &self.bindings[from as usize..until as usize],
            None => &[],
        }
    }

    /// The bindings at the platform.
    #[inline]
    pub fn platform(&self) -> &[Binding] {
        &self.platform
    }

    /// The rules about every resource of a type.
    #[inline]
    pub fn wide(&self) -> &[(Kind, Binding)] {
        &self.wide
    }

    /// Every binding but those at the platform, with its node; rules about every resource of a type have none.
    pub fn everything(&self) -> impl Iterator<Item = (Option<&Node>, &Binding)> {
        let placed = self.nodes.iter().flat_map(|(node, &(from, until))| {
            self.bindings[from as usize..until as usize]
                .iter()
                .map(move |b| (Some(node), b))
        });
        placed.chain(self.wide.iter().map(|(_, b)| (None, b)))
    }

    /// The largest interval around `at` in which none of them begins or ends.
    pub fn constant_around(&self, at: Instant) -> Interval {
        let platform = self.platform.iter().map(|b| b.valid);
        crate::time::constant_around(at, platform.chain(self.everything().map(|(_, b)| b.valid)))
    }

    /// How many bindings there are.
    pub fn len(&self) -> usize {
        self.bindings.len() + self.platform.len() + self.wide.len()
    }

    /// No binding at all?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of heap, near enough.
    pub fn bytes(&self) -> usize {
        let texts = |n: &Node| match &n.key {
            Key::Text(t) => t.len() + 16,
            _ => 0,
        };
        self.nodes.capacity() * (size_of::<(Node, (u32, u32))>() + 1)
            + self.nodes.keys().map(texts).sum::<usize>()
            + self.filter.len() * size_of::<u64>()
            + self.len() * size_of::<Binding>()
    }
}

/// Where a filter of so many words keeps its bit.
#[inline]
fn slot(fingerprint: u64, words: usize) -> (usize, u64) {
    (
        (fingerprint >> 32) as usize & words.wrapping_sub(1),
        1 << (fingerprint >> 58),
    )
}

/// Not a hash that withstands malice: whoever finds nodes that fall together makes the filter useless for them, and
/// nothing else.
#[inline]
pub(crate) fn fingerprint(node: &Node) -> u64 {
    let key = match &node.key {
        Key::Uuid(id) => {
            let (high, low) = id.as_u64_pair();
            high.rotate_left(32) ^ low
        }
        Key::Int(i) => *i as u64,
        // The ends of texts differ more than their beginnings, and this takes the same time for all lengths.
        Key::Text(t) => {
            let bytes = t.as_bytes();
            let end = bytes.len().saturating_sub(7);
            bytes[end..]
                .iter()
                .fold(bytes.len() as u64, |sum, b| sum << 8 | u64::from(*b))
        }
    };
    (key ^ u64::from(node.kind.0) << 56).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
