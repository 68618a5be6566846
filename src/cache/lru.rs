//! Bounded memory: what was used least recently goes out first.

use hashbrown::HashMap;
use std::hash::Hash;

/// Position in [`Lru::slots`]; `NONE` ends a list.
type Slot = usize;
const NONE: Slot = usize::MAX;

struct Entry<K, V> {
    key: K,
    value: V,
    bytes: usize,
    newer: Slot,
    older: Slot,
}

/// A map that keeps its total size below a limit.
pub struct Lru<K, V> {
    places: HashMap<K, Slot>,
    slots: Vec<Option<Entry<K, V>>>,
    free: Vec<Slot>,
    newest: Slot,
    oldest: Slot,
    bytes: usize,
    evictions: u64,
}

impl<K, V> Default for Lru<K, V> {
    fn default() -> Self {
        Lru {
            places: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            bytes: 0,
            evictions: 0,
        }
    }
}

impl<K: Clone + Eq + Hash, V> Lru<K, V> {
    /// The value of `key`, which becomes the most recently used.
    #[inline]
    pub fn get(&mut self, key: &K) -> Option<&V> {
        let slot = *self.places.get(key)?;
        if slot != self.newest {
            self.unlink(slot);
            self.link(slot);
        }
        self.slots[slot].as_ref().map(|e| &e.value)
    }

    /// Stores a value of about `bytes`, and evicts until the total is at most `limit`. One that alone exceeds the
    /// limit is not stored.
    pub fn insert(&mut self, key: K, value: V, bytes: usize, limit: usize) {
        self.remove(&key);
        if bytes > limit {
            return;
        }
        while self.bytes + bytes > limit && self.oldest != NONE {
            let oldest = self.slots[self.oldest].as_ref().map(|e| e.key.clone());
            oldest.iter().for_each(|key| self.remove(key));
            self.evictions += 1;
        }
        let entry = Entry {
            key: key.clone(),
            value,
            bytes,
            newer: NONE,
            older: NONE,
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(entry);
        self.places.insert(key, slot);
        self.bytes += bytes;
        self.link(slot);
    }

    /// Forgets `key`.
    pub fn remove(&mut self, key: &K) {
        if let Some(slot) = self.places.remove(key) {
            self.unlink(slot);
            if let Some(entry) = self.slots[slot].take() {
                self.bytes -= entry.bytes;
            }
            self.free.push(slot);
        }
    }

    /// Bytes in use.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// How many entries had to make room for others.
    pub const fn evictions(&self) -> u64 {
        self.evictions
    }

    fn entry(&mut self, slot: Slot) -> Option<&mut Entry<K, V>> {
        self.slots.get_mut(slot).and_then(Option::as_mut)
    }

    fn unlink(&mut self, slot: Slot) {
        let Some((newer, older)) = self.entry(slot).map(|e| (e.newer, e.older)) else {
            return;
        };
        match self.entry(newer) {
            Some(e) => e.older = older,
            None => self.newest = older,
        }
        match self.entry(older) {
            Some(e) => e.newer = newer,
            None => self.oldest = newer,
        }
    }

    fn link(&mut self, slot: Slot) {
        let before = self.newest;
        if let Some(e) = self.entry(slot) {
            e.newer = NONE;
            e.older = before;
        }
        match self.entry(before) {
            Some(e) => e.newer = slot,
            None => self.oldest = slot,
        }
        self.newest = slot;
    }
}
