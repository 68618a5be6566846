//! A set of small numbers.

/// A bit set that grows as needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bits(Vec<u64>);

impl Bits {
    /// Is `n` in the set?
    #[inline]
    pub fn contains(&self, n: usize) -> bool {
        self.0.get(n / 64).is_some_and(|word| word >> (n % 64) & 1 == 1)
    }

    /// Adds `n`; true if it was not in the set.
    pub fn insert(&mut self, n: usize) -> bool {
        if self.0.len() <= n / 64 {
            self.0.resize(n / 64 + 1, 0);
        }
        let word = &mut self.0[n / 64];
        let bit = 1 << (n % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Adds all of `other`.
    pub fn union(&mut self, other: &Bits) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    /// The members in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0
            .iter()
            .enumerate()
            .flat_map(|(i, word)| (0..64).filter(move |b| word >> b & 1 == 1).map(move |b| i * 64 + b))
    }

    /// Bytes of heap.
    pub fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<u64>()
    }
}

/// For each of `size` numbers, everything reachable from it along `edges`, itself included.
/// Iterative: the depth of a graph that users draw must not become the depth of our stack.
pub fn reachable(size: usize, edges: &[(usize, usize)]) -> Vec<Bits> {
    let mut next = vec![Vec::new(); size];
    edges.iter().for_each(|&(from, to)| next[from].push(to));
    (0..size)
        .map(|start| {
            let mut seen = Bits::default();
            let mut todo = vec![start];
            while let Some(n) = todo.pop() {
                if seen.insert(n) {
                    todo.extend(&next[n]);
                }
            }
            seen
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set() {
        let mut b = Bits::default();
        assert!(b.insert(3) && b.insert(200) && !b.insert(3));
        assert!(b.contains(3) && b.contains(200) && !b.contains(4) && !b.contains(10_000));
        assert_eq!(b.iter().collect::<Vec<_>>(), [3, 200]);
    }

    #[test]
    fn closure_survives_cycles_and_depth() {
        let chain: Vec<_> = (0..5_000).map(|i| (i, (i + 1) % 5_000)).collect();
        assert_eq!(reachable(5_000, &chain)[17].iter().count(), 5_000);
        assert_eq!(reachable(3, &[(0, 1)])[0].iter().collect::<Vec<_>>(), [0, 1]);
    }
}
