//! The call in the body of an audited view, as the planner shows it, and queries as the parser reads them.

use super::plan::node::{is_a, length, nth};
use super::relation::Relation;
use super::support::SupportRequest;
use super::user_table::kind_of;
use crate::error;
use pgrx::pg_sys;
use std::ffi::CString;
use uuid::Uuid;

/// Marks an entry of a plan's list of what it depends on as ours. No catalog cache has this number, so that no change of a
/// catalog is taken for one of it. Copies of the plan have the entry, too; what parallel workers get of it does not.
const MARK: i32 = -0x0061_757a;

/// A call of `authz_audited` that is being planned.
pub struct Gate {
    root: *mut pg_sys::PlannerInfo,
    /// The surface that it names.
    pub surface: Uuid,
}

impl Gate {
    /// The call, if that is what the planner asks about, and it names its surface by a constant.
    pub fn of(request: SupportRequest) -> Option<Gate> {
        let request = request.node();
        // SAFETY: tags are compared before casts, NULLs before values are read. A uuid is 16 bytes.
        unsafe {
            if (*request).type_ != pg_sys::NodeTag::T_SupportRequestSimplify {
                return None;
            }
            let request = request.cast::<pg_sys::SupportRequestSimplify>();
            // An expression that is simplified by itself belongs to no statement.
            if (*request).root.is_null() || (*(*request).root).glob.is_null() {
                return None;
            }
            Some(Gate {
                root: (*request).root,
                surface: surface_of((*request).fcall)?,
            })
        }
    }

    /// What the call becomes: true, in a plan that says which view it reads.
    pub fn open(&self, view: pg_sys::Oid) -> *mut pg_sys::Node {
        // SAFETY: the planner's own structures while it plans; lists that are appended to until it is done.
        unsafe {
            let glob = (*self.root).glob;
            // A change of the view's registration makes the plan anew, also where the call stands in another view.
            (*glob).relationOids = pg_sys::lappend_oid((*glob).relationOids, view);
            let size = size_of::<pg_sys::PlanInvalItem>();
            let mark: *mut pg_sys::PlanInvalItem = pg_sys::palloc0(size).cast();
            (*mark).type_ = pg_sys::NodeTag::T_PlanInvalItem;
            (*mark).cacheId = MARK;
            (*mark).hashValue = view.to_u32();
            (*glob).invalItems = pg_sys::lappend((*glob).invalItems, mark.cast());
            pg_sys::makeBoolConst(true, false)
        }
    }
}

/// The surface that a call of `authz_audited`, a valid node, names by a constant.
unsafe fn surface_of(call: *mut pg_sys::FuncExpr) -> Option<Uuid> {
    // SAFETY: a valid call; tags are compared before casts, NULLs before values are read. A uuid is 16 bytes.
    unsafe {
        if length((*call).args) != 1 || !is_a(nth((*call).args, 0), pg_sys::NodeTag::T_Const) {
            return None;
        }
        let constant = &*nth((*call).args, 0).cast::<pg_sys::Const>();
        (!constant.constisnull && constant.consttype == pg_sys::UUIDOID)
            .then(|| Uuid::from_bytes(*constant.constvalue.cast_mut_ptr::<[u8; 16]>()))
    }
}

/// The surface whose gate nobody gets round who reads the view: a call of `function` that all of its rows have to pass,
/// in its one WHERE. Anywhere else (in one arm of a UNION, behind an OR) the planner could do without it.
pub fn surface_of_view(view: pg_sys::Oid, function: pg_sys::Oid) -> Option<Uuid> {
    let relation = Relation::open(view)?;
    if kind_of(&relation) != pg_sys::RELKIND_VIEW {
        return None;
    }
    // SAFETY: an open view has its query, in which tags are compared before casts.
    unsafe {
        let query = pg_sys::get_view_query(relation.raw());
        if !(*query).setOperations.is_null() {
            return None;
        }
        surface_among((*(*query).jointree).quals, function)
    }
}

/// That of a call which `condition`, NULL or a valid node, consists of, alone or with others after AND.
unsafe fn surface_among(condition: *mut pg_sys::Node, function: pg_sys::Oid) -> Option<Uuid> {
    // SAFETY: NULL or a valid node; tags are compared before casts.
    unsafe {
        if is_a(condition, pg_sys::NodeTag::T_FuncExpr) {
            let call = condition.cast::<pg_sys::FuncExpr>();
            return if (*call).funcid == function {
                surface_of(call)
            } else {
                None
            };
        }
        if !is_a(condition, pg_sys::NodeTag::T_BoolExpr) {
            return None;
        }
        let all = condition.cast::<pg_sys::BoolExpr>();
        if (*all).boolop != pg_sys::BoolExprType::AND_EXPR {
            return None;
        }
        (0..length((*all).args)).find_map(|n| surface_among(nth((*all).args, n), function))
    }
}

/// The views of the gates that a statement was planned with; some may come twice.
///
/// # Safety
/// `plan` is valid for as long as the result lives.
pub unsafe fn views_of(plan: *const pg_sys::PlannedStmt) -> impl Iterator<Item = pg_sys::Oid> {
    // SAFETY: by the caller; NULL is the empty list, and this one has nothing but nodes of this type.
    let (list, length) = unsafe {
        let list = (*plan).invalItems;
        (list, if list.is_null() { 0 } else { (*list).length as usize })
    };
    (0..length)
        // SAFETY: as above.
        .map(move |n| unsafe { &*(*(*list).elements.add(n)).ptr_value.cast::<pg_sys::PlanInvalItem>() })
        .filter(|item| item.cacheId == MARK)
        .map(|item| pg_sys::Oid::from(item.hashValue))
}

/// The text of the only statement in `query`, which must be a SELECT that writes nothing.
pub fn one_select(query: &str) -> &str {
    let Ok(source) = CString::new(query) else {
        error::not_one_select("It has a NUL.");
    };
    // SAFETY: the parser gets a NUL-terminated string and returns a list of statements, each with its place in it; tags
    // are compared before casts.
    let (from, to) = unsafe {
        let list = pg_sys::raw_parser(source.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
        if list.is_null() || (*list).length != 1 {
            error::not_one_select("It is no statement, or more than one.");
        }
        let raw = &*(*(*list).elements).ptr_value.cast::<pg_sys::RawStmt>();
        if (*raw.stmt).type_ != pg_sys::NodeTag::T_SelectStmt {
            error::not_one_select("It is another statement.");
        }
        if writes_a_table(raw.stmt.cast()) {
            error::not_one_select("It writes its result to a table (INTO).");
        }
        let from = usize::try_from(raw.stmt_location).unwrap_or(0);
        match usize::try_from(raw.stmt_len) {
            Ok(len) if len > 0 => (from, from + len),
            _ => (from, query.len()),
        }
    };
    query.get(from..to).unwrap_or(query)
}

/// Does the leftmost arm of a SELECT have INTO? (Others must not.)
unsafe fn writes_a_table(mut select: *mut pg_sys::SelectStmt) -> bool {
    // SAFETY: the caller's statement, whose arms are statements.
    unsafe {
        while !(*select).larg.is_null() {
            select = (*select).larg;
        }
        !(*select).intoClause.is_null()
    }
}
