//! Instants and half-open intervals.

/// Microseconds since 2000-01-01 00:00 UTC, which is how PostgreSQL stores `timestamptz`.
/// `i64::MIN` and `i64::MAX` are its `-infinity` and `infinity`.
pub type Instant = i64;

/// `[from, until)`: in force at `from`, no longer at `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interval {
    /// First instant in force.
    pub from: Instant,
    /// First instant no longer in force.
    pub until: Instant,
}

impl Interval {
    /// Every instant.
    pub const ALWAYS: Interval = Interval {
        from: Instant::MIN,
        until: Instant::MAX,
    };

    /// `[from, until)`.
    pub const fn new(from: Instant, until: Instant) -> Self {
        Interval { from, until }
    }

    /// Is `at` in the interval?
    #[inline]
    pub const fn contains(&self, at: Instant) -> bool {
        self.from <= at && at < self.until
    }

    /// The instants that both contain, or `None`.
    pub fn intersect(&self, other: &Interval) -> Option<Interval> {
        let both = Interval::new(self.from.max(other.from), self.until.min(other.until));
        (both.from < both.until).then_some(both)
    }
}

/// The largest interval around `at` in which none of `intervals` begins or ends: whatever was computed from
/// them at `at` stays right for that long.
pub fn constant_around(at: Instant, intervals: impl Iterator<Item = Interval>) -> Interval {
    intervals.fold(Interval::ALWAYS, |slice, i| {
        [i.from, i.until].into_iter().fold(slice, |mut s, edge| {
            if edge <= at {
                s.from = s.from.max(edge);
            } else {
                s.until = s.until.min(edge);
            }
            s
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_open() {
        let i = Interval::new(10, 20);
        assert!(i.contains(10) && i.contains(19) && !i.contains(20) && !i.contains(9));
        assert!(
            !Interval::new(10, 10).contains(10),
            "an empty interval is never in force"
        );
    }

    #[test]
    fn intersections() {
        let i = Interval::new(10, 20);
        assert_eq!(i.intersect(&Interval::new(15, 30)), Some(Interval::new(15, 20)));
        assert_eq!(i.intersect(&Interval::new(20, 30)), None);
    }

    #[test]
    fn slices() {
        let edges = [Interval::new(0, 10), Interval::new(5, Instant::MAX)];
        assert_eq!(constant_around(7, edges.into_iter()), Interval::new(5, 10));
        assert_eq!(constant_around(10, edges.into_iter()), Interval::new(10, Instant::MAX));
    }
}
