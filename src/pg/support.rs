//! Planner support functions: a request comes in, a node goes out.

use pgrx::{Internal, pg_sys};

/// What the planner asks a support function: a valid node, as long as the function runs.
#[derive(Clone, Copy)]
pub struct SupportRequest(*mut pg_sys::Node);

impl SupportRequest {
    /// The node, whose tag says which kind of request it is.
    pub const fn node(self) -> *mut pg_sys::Node {
        self.0
    }
}

/// Answers a request. Only the planner makes any: SQL has no values of type `internal`.
///
/// "No idea" is a zero, not a NULL: the planner takes a NULL result for a broken function.
pub fn answer(request: Internal, with: impl FnOnce(SupportRequest) -> Option<*mut pg_sys::Node>) -> Internal {
    let request = request.unwrap().map(|datum| SupportRequest(datum.cast_mut_ptr()));
    let node = request.and_then(with);
    Internal::from(Some(node.map_or(pg_sys::Datum::from(0usize), pg_sys::Datum::from)))
}
