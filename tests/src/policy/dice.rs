//! Random choices.

use super::{DAY, PERMISSIONS, Place, Policy};
use chrono::TimeDelta;
use rand::Rng;
use rand::seq::{IndexedRandom, IteratorRandom};
use serde_json::Value;
use uuid::Uuid;

impl Policy {
    pub(super) fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_ratio(percent, 100)
    }

    pub(super) fn uuid(&mut self) -> Uuid {
        Uuid::from_u128(self.rng.random())
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from.choose(&mut self.rng).expect("something to pick from").clone()
    }

    pub(super) fn pick_option<T: Clone>(&mut self, from: &[T], percent: u32) -> Option<T> {
        if from.is_empty() || !self.chance(percent) {
            None
        } else {
            Some(self.pick(from))
        }
    }

    pub(super) fn place(&mut self) -> Place {
        let kinds = [
            "tenant",
            "tenant",
            "organization",
            "organization",
            "team",
            "team",
            "project",
            "case",
            "case",
            "document",
            "page",
        ];
        loop {
            let kind = self.pick(&kinds);
            let found = self
                .places
                .iter()
                .filter(|p| p.kind == kind && p.tenant.is_some())
                .choose(&mut self.rng);
            if let Some(place) = found {
                return place.clone();
            }
        }
    }

    pub(super) fn places_of(&self, tenant: Uuid, kind: &str) -> Vec<Uuid> {
        self.places
            .iter()
            .filter(|p| p.tenant == Some(tenant) && p.kind == kind)
            .map(|p| p.key)
            .collect()
    }

    pub(super) fn permission_of(&mut self, kind: &str) -> String {
        let (kind, actions) = PERMISSIONS
            .iter()
            .find(|(k, _)| *k == kind)
            .expect("a type of the fixture");
        // `view` is asked for most, and given most.
        if self.chance(30) {
            format!("{kind}.view")
        } else {
            format!("{kind}.{}", self.pick(actions))
        }
    }

    pub(super) fn permission(&mut self) -> String {
        let kind = self.pick(&[
            "case",
            "case",
            "case",
            "document",
            "document",
            "page",
            "tenant",
            "organization",
            "team",
            "project",
        ]);
        self.permission_of(kind)
    }

    pub(super) fn instant(&self, minutes: i64) -> String {
        (self.now + TimeDelta::minutes(minutes)).to_rfc3339()
    }

    /// An interval that mostly is in force; 15 % are over, 8 % have not begun.
    pub(super) fn interval(&mut self) -> (String, Option<String>) {
        let start = -self.rng.random_range(2 * DAY..200 * DAY);
        let (from, until) = match self.rng.random_range(0..100) {
            0..15 => (start, Some(start + self.rng.random_range(DAY..=-start - 5))),
            15..23 => (self.rng.random_range(DAY..50 * DAY), None),
            23..40 => (start, Some(self.rng.random_range(DAY..100 * DAY))),
            _ => (start, None),
        };
        (self.instant(from), until.map(|until| self.instant(until)))
    }

    /// As in a table with both an expiry and a revocation.
    pub(super) fn closable(&mut self) -> (String, Option<String>, Option<String>) {
        let (from, until) = self.interval();
        if self.chance(50) {
            (from, until, None)
        } else {
            (from, None, until)
        }
    }

    pub(super) fn once(&mut self, identity: String) -> bool {
        self.taken.insert(identity)
    }

    pub(super) fn row(&mut self, table: &'static str, row: Value) {
        self.rows.push((table, row));
    }
}
