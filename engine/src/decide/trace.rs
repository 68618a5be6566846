//! What a decision tells of itself.

use super::{Found, Source};
use crate::name::Permission;
use crate::role::Gives;

/// What a decision looks at, told as it goes. The hot path listens with [`Silent`], which compiles to nothing.
pub trait Trace {
    /// Is anybody listening? Guards work that only a listener needs.
    const LISTENING: bool;
    /// The steps that follow are about this permission and resource (the child's first, then its parent's).
    fn about(&mut self, permission: Permission, resource: Found<'_>);
    /// A step was taken.
    fn step(&mut self, number: u8, passed: bool, note: impl FnOnce() -> String);
    /// A source of `wanted` was looked at.
    fn source(&mut self, wanted: Permission, source: Source<'_>, gives: Gives);
    /// A condition was evaluated.
    fn condition(&mut self, wanted: Permission, source: Source<'_>, text: &str, outcome: &Result<bool, String>);
}

/// A [`Trace`] that nobody listens to.
pub struct Silent;

impl Trace for Silent {
    const LISTENING: bool = false;
    #[inline]
    fn about(&mut self, _: Permission, _: Found<'_>) {}
    #[inline]
    fn step(&mut self, _: u8, _: bool, _: impl FnOnce() -> String) {}
    #[inline]
    fn source(&mut self, _: Permission, _: Source<'_>, _: Gives) {}
    #[inline]
    fn condition(&mut self, _: Permission, _: Source<'_>, _: &str, _: &Result<bool, String>) {}
}
