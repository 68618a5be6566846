//! What the planner may know: node trees in, node trees out.
//!
//! A policy is one call, opaque to the planner. Its support function turns the call into
//!
//! ```text
//! via within AND (via tenant OR via organization OR via team OR via project OR via owner OR via key) AND the exact decision
//! ```
//!
//! (`tenant = authz.named_tenant()` for `via within` where the session names a tenant; neither it nor the arms for who can
//! have rows anywhere)
//!
//! whose first parts say where rows can be, and can be looked for by index. Nothing about the caller is folded into
//! the plan: the arrays that indexes are searched for are computed when the plan runs, by whoever runs it.
//!
//! Conditions can ask for any column of the row. Where the statement only reads, the decision finds it by its key. Where
//! rows are written or locked, the row as it is then is passed: `COALESCE(authz.row_exact(…), authz.row_condition(…, row))`
//! makes a value of the row, which costs something, only where the decision depends on it.

mod call;
mod estimate;
pub mod node;
mod row;

use super::authority;
use super::support::SupportRequest;
use super::user_table;
use crate::decision::As;
use node::{is_a, length, nth, text_constant};
use pgrx::pg_sys;
use std::ffi::CStr;

pub use call::Call;
pub use estimate::{Condition, Cost, Estimate, Exact, Ids};

/// Names of the columns of a registered table, as far as row security needs them.
pub struct Registered {
    /// The table.
    pub target: pg_sys::Oid,
    /// Its columns.
    pub columns: user_table::ColumnNames,
    /// The tables of its rows' parents, of their parents, and so on, as far as those are rows of registered tables.
    pub above: Vec<(pg_sys::Oid, user_table::ColumnNames)>,
}

/// A place as [`arms`] writes it: the column, and as whom the call decides.
pub fn place(name: &str) -> (As, &str) {
    match name.strip_prefix(OF_PRINCIPAL) {
        Some(column) => (As::Principal, column),
        None => (As::Session, name),
    }
}

/// The place of [`within`].
pub const WITHIN: &str = "within";

/// What places begin with where the session's tenant and context do not count.
const OF_PRINCIPAL: &str = "principal's ";

/// A request to a support function, by its kind.
pub enum Request {
    /// Replace a call of `authz_row` or `authz_can`.
    Simplify(Call),
    /// Turn a call of `authz.via` into an index condition.
    IndexCondition(Condition),
    /// Estimate a call of `authz.via`.
    Selectivity(Estimate),
    /// Estimate a call of `authz.row_exact`.
    Exact(Exact),
    /// What a call of `authz.reach_…` costs.
    Cost(Cost),
    /// Nothing that we answer.
    Other,
}

/// Arguments of `authz_row`; `authz.row_exact` and `authz.row_condition` have two more.
const ROW_ARGUMENTS: usize = 10;
const EXACT_ARGUMENTS: usize = ROW_ARGUMENTS + 2;

/// Arguments of `authz.still`.
const STILL_ARGUMENTS: usize = 2;

/// Arguments of the `authz_can` that names the principal.
const CAN_ARGUMENTS: usize = 5;

/// Takes the planner's request apart.
pub fn request(request: SupportRequest) -> Request {
    let request = request.node();
    // SAFETY: the tag says which request it is.
    unsafe {
        match (*request).type_ {
            pg_sys::NodeTag::T_SupportRequestSimplify => {
                let raw = request.cast::<pg_sys::SupportRequestSimplify>();
                // Expressions of inheritance children are simplified again when sub-selects have been planned already.
                let root = (*raw).root;
                let early = !root.is_null() && (*root).simple_rel_array.is_null();
                let arguments = (*(*raw).fcall).args;
                let (who, first) = match length(arguments) {
                    2 | ROW_ARGUMENTS => (As::Session, 0),
                    CAN_ARGUMENTS if is_session_principal(nth(arguments, 0)) => (As::Principal, 1),
                    _ => return Request::Other,
                };
                match text_constant(nth(arguments, first)) {
                    Some(permission) if early => Request::Simplify(Call {
                        raw,
                        permission,
                        who,
                        key: first + 1,
                    }),
                    _ => Request::Other,
                }
            }
            pg_sys::NodeTag::T_SupportRequestIndexCondition => match Condition::of(request.cast()) {
                Some(condition) => Request::IndexCondition(condition),
                None => Request::Other,
            },
            pg_sys::NodeTag::T_SupportRequestCost => Request::Cost(Cost(request.cast())),
            pg_sys::NodeTag::T_SupportRequestSelectivity => {
                let raw = request.cast::<pg_sys::SupportRequestSelectivity>();
                // `authz.row_exact`, and `authz.still` of who sees everything.
                if matches!(length((*raw).args), STILL_ARGUMENTS | EXACT_ARGUMENTS) {
                    return Request::Exact(Exact(raw));
                }
                if (*raw).is_join || length((*raw).args) != 3 {
                    return Request::Other;
                }
                match (text_constant(nth((*raw).args, 0)), text_constant(nth((*raw).args, 1))) {
                    (Some(permission), Some(place)) => Request::Selectivity(Estimate { raw, permission, place }),
                    _ => Request::Other,
                }
            }
            _ => Request::Other,
        }
    }
}

/// Is it a call of our `authz_principal()`?
unsafe fn is_session_principal(node: *mut pg_sys::Node) -> bool {
    // SAFETY: the tag is compared before the cast; look-ups in the catalogs.
    unsafe {
        if !is_a(node, pg_sys::NodeTag::T_FuncExpr) {
            return false;
        }
        let call = &*node.cast::<pg_sys::FuncExpr>();
        let name = pg_sys::get_func_name(call.funcid);
        let ours = pg_sys::getExtensionOfObject(pg_sys::ProcedureRelationId, call.funcid);
        call.args.is_null()
            && !name.is_null()
            && CStr::from_ptr(name) == c"authz_principal"
            && ours != pg_sys::InvalidOid
            && ours == pg_sys::getExtensionOfObject(pg_sys::NamespaceRelationId, authority::namespace())
    }
}
