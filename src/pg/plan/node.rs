//! Nodes of the planner: looked at, and made.
//!
//! Unsafe functions here and in the modules beside ask for valid nodes: made by the parser, the planner or a function of
//! this module, in memory that lasts as long as planning does. Where one asks for more, it says so.

use pgrx::{FromDatum, IntoDatum, pg_sys};
use std::ffi::CStr;
use std::ptr::null_mut;

/// Is `node` of that type?
///
/// # Safety
/// `node` is NULL or a valid node.
pub unsafe fn is_a(node: *mut pg_sys::Node, tag: pg_sys::NodeTag) -> bool {
    // SAFETY: every node begins with its tag.
    !node.is_null() && unsafe { (*node).type_ } == tag
}

/// The nth element of a list of nodes.
///
/// # Safety
/// `list` has more than `n` nodes.
pub unsafe fn nth(list: *mut pg_sys::List, n: usize) -> *mut pg_sys::Node {
    // SAFETY: by the caller.
    unsafe { (*(*list).elements.add(n)).ptr_value.cast() }
}

/// # Safety
/// `list` is NULL or a valid list.
pub unsafe fn length(list: *mut pg_sys::List) -> usize {
    // SAFETY: by the caller; NULL is the empty list.
    if list.is_null() {
        0
    } else {
        unsafe { (*list).length as usize }
    }
}

/// The value of a text constant.
pub unsafe fn text_constant(node: *mut pg_sys::Node) -> Option<String> {
    // SAFETY: the tag is compared before the cast, the type before the datum is read.
    unsafe {
        if !is_a(node, pg_sys::NodeTag::T_Const) {
            return None;
        }
        let constant = &*node.cast::<pg_sys::Const>();
        if constant.consttype != pg_sys::TEXTOID {
            return None;
        }
        String::from_datum(constant.constvalue, constant.constisnull)
    }
}

/// The column reference below casts that change no value.
///
/// # Safety
/// A valid node.
pub unsafe fn column_below(mut node: *mut pg_sys::Node) -> Option<*mut pg_sys::Var> {
    // SAFETY: tags are compared before casts.
    unsafe {
        loop {
            if is_a(node, pg_sys::NodeTag::T_Var) {
                let var = node.cast::<pg_sys::Var>();
                return ((*var).varlevelsup == 0 && (*var).varattno > 0).then_some(var);
            } else if is_a(node, pg_sys::NodeTag::T_RelabelType) {
                node = (*node.cast::<pg_sys::RelabelType>()).arg.cast();
            } else if is_a(node, pg_sys::NodeTag::T_FuncExpr) {
                let call = node.cast::<pg_sys::FuncExpr>();
                let is_cast = (*call).funcformat == pg_sys::CoercionForm::COERCE_IMPLICIT_CAST
                    || (*call).funcformat == pg_sys::CoercionForm::COERCE_EXPLICIT_CAST;
                if !is_cast || length((*call).args) != 1 {
                    return None;
                }
                node = nth((*call).args, 0);
            } else {
                return None;
            }
        }
    }
}

/// A function of ours, by name and argument types. Looked up in the catalog cache: the caller needs no privilege on the
/// schema to have its queries planned.
pub fn function(name: &CStr, types: &[pg_sys::Oid]) -> Option<pg_sys::Oid> {
    // SAFETY: the keys of that cache are name, argument types and schema; a missing function is no error.
    unsafe {
        let oid = pg_sys::GetSysCacheOid(
            pg_sys::SysCacheIdentifier::PROCNAMEARGSNSP as i32,
            pg_sys::Anum_pg_proc_oid as i16,
            pg_sys::Datum::from(name.as_ptr()),
            pg_sys::Datum::from(pg_sys::buildoidvector(types.as_ptr(), types.len() as i32)),
            pg_sys::Datum::from(crate::pg::authority::namespace()),
            pg_sys::Datum::from(0usize),
        );
        (oid != pg_sys::InvalidOid).then_some(oid)
    }
}

/// A call of a function, which takes arguments of these types.
pub unsafe fn call(function: pg_sys::Oid, result: pg_sys::Oid, arguments: &[*mut pg_sys::Node]) -> *mut pg_sys::Node {
    // SAFETY: arguments are valid nodes of the function's argument types.
    unsafe {
        let list = arguments
            .iter()
            .fold(null_mut(), |list, a| pg_sys::lappend(list, a.cast()));
        let form = pg_sys::CoercionForm::COERCE_EXPLICIT_CALL;
        let collation = pg_sys::DEFAULT_COLLATION_OID;
        pg_sys::makeFuncExpr(function, result, list, pg_sys::InvalidOid, collation, form).cast()
    }
}

/// A constant.
pub fn text_node(text: &str) -> *mut pg_sys::Node {
    // SAFETY: the datum is copied into the planner's memory.
    unsafe {
        let datum = text.into_datum().unwrap_or(pg_sys::Datum::from(0usize));
        pg_sys::makeConst(
            pg_sys::TEXTOID,
            -1,
            pg_sys::DEFAULT_COLLATION_OID,
            -1,
            datum,
            false,
            false,
        )
        .cast()
    }
}

/// NULL of a type.
pub fn null_node(of: pg_sys::Oid) -> *mut pg_sys::Node {
    // As the parser makes it, so that the two compare as equal.
    let collation = if of == pg_sys::TEXTOID {
        pg_sys::DEFAULT_COLLATION_OID
    } else {
        pg_sys::InvalidOid
    };
    // SAFETY: makes a NULL constant.
    unsafe { pg_sys::makeNullConst(of, -1, collation).cast() }
}

/// A copy, which may be changed: the planner shares nodes.
pub unsafe fn copy<T>(node: *mut T) -> *mut T {
    // SAFETY: a valid node.
    unsafe { pg_sys::copyObjectImpl(node.cast()).cast() }
}

/// A node that is all zeroes but for its tag, which is that of `T`.
pub unsafe fn new_node<T>(tag: pg_sys::NodeTag) -> *mut T {
    // SAFETY: zeroed memory of the node's size, with the node's tag, is how `makeNode` makes nodes.
    unsafe {
        let node = pg_sys::palloc0(size_of::<T>()).cast::<pg_sys::Node>();
        (*node).type_ = tag;
        node.cast()
    }
}

/// `var IS NULL` or `var IS NOT NULL`
pub unsafe fn null_test(var: *mut pg_sys::Var, of: pg_sys::NullTestType::Type) -> *mut pg_sys::Node {
    // SAFETY: `var` is a valid node.
    unsafe {
        let test = new_node::<pg_sys::NullTest>(pg_sys::NodeTag::T_NullTest);
        (*test).arg = var.cast();
        (*test).nulltesttype = of;
        (*test).location = -1;
        test.cast()
    }
}

/// Do two arguments say the same of the row: the same constant, column, or test of a column?
pub unsafe fn same(a: *mut pg_sys::Node, b: *mut pg_sys::Node) -> bool {
    // SAFETY: valid nodes.
    unsafe {
        match (column_below(a), column_below(b)) {
            (Some(a), Some(b)) => (*a).varno == (*b).varno && (*a).varattno == (*b).varattno,
            _ => pg_sys::equal(a.cast(), b.cast()),
        }
    }
}

/// `a AND b …` or `a OR b …`
pub unsafe fn and_or(operator: pg_sys::BoolExprType::Type, arguments: &[*mut pg_sys::Node]) -> *mut pg_sys::Node {
    // SAFETY: valid boolean expressions.
    unsafe {
        let list = arguments
            .iter()
            .fold(null_mut(), |list, a| pg_sys::lappend(list, a.cast()));
        pg_sys::makeBoolExpr(operator, list, -1).cast()
    }
}

/// `(SELECT expression)`: computed once for the query.
pub unsafe fn once(expression: *mut pg_sys::Node) -> *mut pg_sys::Node {
    // SAFETY: the smallest query that the parser would make of it.
    unsafe {
        let query = new_node::<pg_sys::Query>(pg_sys::NodeTag::T_Query);
        (*query).commandType = pg_sys::CmdType::CMD_SELECT;
        (*query).canSetTag = true;
        (*query).jointree = pg_sys::makeFromExpr(null_mut(), null_mut());
        let entry = pg_sys::makeTargetEntry(expression.cast(), 1, null_mut(), false);
        (*query).targetList = pg_sys::lappend(null_mut(), entry.cast());
        let link = new_node::<pg_sys::SubLink>(pg_sys::NodeTag::T_SubLink);
        (*link).subLinkType = pg_sys::SubLinkType::EXPR_SUBLINK;
        (*link).subselect = query.cast();
        (*link).location = -1;
        link.cast()
    }
}

/// `column = ANY (array)` by the equality of `opfamily`, or of the column's own type.
pub unsafe fn any(
    column: *mut pg_sys::Node,
    element: pg_sys::Oid,
    array: *mut pg_sys::Node,
    opfamily: pg_sys::Oid,
    collation: pg_sys::Oid,
) -> Option<*mut pg_sys::Node> {
    // SAFETY: valid nodes; the operator is looked up before it is used.
    unsafe {
        let equal = pg_sys::BTEqualStrategyNumber as i16;
        let operator = pg_sys::get_opfamily_member(opfamily, element, element, equal);
        if operator == pg_sys::InvalidOid {
            return None;
        }
        let clause = new_node::<pg_sys::ScalarArrayOpExpr>(pg_sys::NodeTag::T_ScalarArrayOpExpr);
        (*clause).opno = operator;
        (*clause).opfuncid = pg_sys::get_opcode(operator);
        (*clause).useOr = true;
        (*clause).inputcollid = collation;
        (*clause).args = pg_sys::lappend(pg_sys::lappend(null_mut(), column.cast()), array.cast());
        (*clause).location = -1;
        Some(clause.cast())
    }
}

/// The B-tree operator family of a type.
pub fn default_family(of: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: look-ups in the catalogs.
    unsafe {
        let class = pg_sys::GetDefaultOpClass(of, pg_sys::BTREE_AM_OID);
        (class != pg_sys::InvalidOid).then(|| pg_sys::get_opclass_family(class))
    }
}
