//! Bounded memory: what was used least recently goes out first.

use hashbrown::HashMap;
use std::hash::Hash;

/// Where room has to be made, this part of the limit is freed at once: finding what was used least recently looks at
/// every entry, which is then paid for by many insertions.
const FREED: usize = 16;

struct Entry<V> {
    value: V,
    bytes: usize,
    /// When it was used last, by the count of uses. A look-up writes nothing else: a linked list would touch its
    /// neighbours, which are anywhere in memory.
    used: u64,
}

/// A map that keeps its total size below a limit.
pub struct Lru<K, V> {
    entries: HashMap<K, Entry<V>>,
    uses: u64,
    bytes: usize,
    evictions: u64,
}

impl<K, V> Default for Lru<K, V> {
    fn default() -> Self {
        Lru {
            entries: HashMap::new(),
            uses: 0,
            bytes: 0,
            evictions: 0,
        }
    }
}

impl<K: Clone + Eq + Hash, V> Lru<K, V> {
    /// The value of `key`, which becomes the most recently used.
    #[inline]
    pub fn get(&mut self, key: &K) -> Option<&V> {
        let entry = self.entries.get_mut(key)?;
        self.uses += 1;
        entry.used = self.uses;
        Some(&entry.value)
    }

    /// Stores a value of about `bytes`, and evicts so that the total is at most `limit`. One that alone exceeds the
    /// limit is not stored.
    pub fn insert(&mut self, key: K, value: V, bytes: usize, limit: usize) {
        self.remove(&key);
        if bytes > limit {
            return;
        }
        if self.bytes + bytes > limit {
            self.shrink((limit - bytes).min(limit - limit / FREED));
        }
        self.uses += 1;
        let entry = Entry {
            value,
            bytes,
            used: self.uses,
        };
        self.entries.insert(key, entry);
        self.bytes += bytes;
    }

    /// Forgets `key`.
    pub fn remove(&mut self, key: &K) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= entry.bytes;
        }
    }

    /// Evicts until what is left is at most `limit` bytes.
    fn shrink(&mut self, limit: usize) {
        let mut by_use: Vec<_> = self.entries.iter().map(|(key, e)| (e.used, key.clone())).collect();
        by_use.sort_unstable_by_key(|(used, _)| *used);
        for (_, key) in by_use {
            if self.bytes <= limit {
                break;
            }
            self.remove(&key);
            self.evictions += 1;
        }
    }

    /// Bytes in use.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many entries had to make room for others.
    pub const fn evictions(&self) -> u64 {
        self.evictions
    }
}
