//! Calls about a column: what the planner's support functions see of them, and calls that only the planner can make.
//!
//! A hash mask must not be a function that whoever likes may call with a value of their choice: they would try all values
//! and compare. But what a view calls is called by its reader. So the planner's support function looks at the argument: if it
//! is the column itself, of the table itself, the call is marked. The mark is a form of call that the parser gives to
//! functions of pg_catalog alone (`EXTRACT(... FROM ...)` and its like), so that no SQL text, and no stored view, can have
//! it on a call of ours. It changes nothing else, and goes with the plan into parallel workers.

use super::plan::node::{column_below, is_a, length, nth, text_constant};
use super::support::SupportRequest;
use pgrx::callconv::{Arg, ArgAbi};
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::{FromDatum, pg_sys};
use uuid::Uuid;

const MARK: pg_sys::CoercionForm::Type = pg_sys::CoercionForm::COERCE_SQL_SYNTAX;

/// A call of two arguments: a column of a table, and a constant.
pub struct ColumnCall {
    call: *mut pg_sys::FuncExpr,
    /// The table.
    pub table: pg_sys::Oid,
    /// The attribute number of its column.
    pub column: i16,
}

impl ColumnCall {
    /// Takes the planner's request apart; `None` where the first argument is not a column of a table, or the second no
    /// constant.
    pub fn from_request(request: SupportRequest) -> Option<ColumnCall> {
        let request = request.node();
        // SAFETY: tags are compared before casts; the range table entry of a column of the query exists.
        unsafe {
            if !is_a(request, pg_sys::NodeTag::T_SupportRequestSimplify) {
                return None;
            }
            let raw = request.cast::<pg_sys::SupportRequestSimplify>();
            let call = (*raw).fcall;
            if (*raw).root.is_null() || length((*call).args) != 2 {
                return None;
            }
            let column = column_below(nth((*call).args, 0))?;
            if !is_a(nth((*call).args, 1), pg_sys::NodeTag::T_Const) {
                return None;
            }
            let rtable = (*(*(*raw).root).parse).rtable;
            let varno = (*column).varno as usize;
            if varno == 0 || varno > length(rtable) {
                return None;
            }
            let entry = nth(rtable, varno - 1).cast::<pg_sys::RangeTblEntry>();
            ((*entry).rtekind == pg_sys::RTEKind::RTE_RELATION).then(|| ColumnCall {
                call,
                table: (*entry).relid,
                column: (*column).varattno,
            })
        }
    }

    /// The constant, if it is a uuid.
    pub fn id(&self) -> Option<Uuid> {
        // SAFETY: the second argument is a constant, of the type that it says.
        unsafe {
            let constant = nth((*self.call).args, 1).cast::<pg_sys::Const>();
            if (*constant).consttype != pg_sys::UUIDOID {
                return None;
            }
            pgrx::Uuid::from_datum((*constant).constvalue, (*constant).constisnull)
                .map(|id| Uuid::from_bytes(*id.as_bytes()))
        }
    }

    /// The constant, if it is a text.
    pub fn text(&self) -> Option<String> {
        // SAFETY: the second argument is a node.
        unsafe { text_constant(nth((*self.call).args, 1)) }
    }

    /// The same call with the mark.
    pub fn marked(&self) -> *mut pg_sys::Node {
        // SAFETY: a valid call, copied before it is changed.
        unsafe {
            let call = pg_sys::copyObjectImpl(self.call.cast()).cast::<pg_sys::FuncExpr>();
            (*call).funcformat = MARK;
            call.cast()
        }
    }
}

/// A constant.
pub fn constant(value: bool) -> *mut pg_sys::Node {
    // SAFETY: makes a node.
    unsafe { pg_sys::makeBoolConst(value, false) }
}

/// Has the call that is being executed the mark? An argument that SQL does not see.
pub struct IsMarked(pub bool);

/// # Safety
/// `call` is what PostgreSQL passed to a function.
unsafe fn is_marked(call: pg_sys::FunctionCallInfo) -> bool {
    // SAFETY: by the caller; the tag is compared before the cast.
    unsafe {
        let function = (*call).flinfo;
        if function.is_null() {
            return false;
        }
        let expression = (*function).fn_expr;
        is_a(expression, pg_sys::NodeTag::T_FuncExpr) && (*expression.cast::<pg_sys::FuncExpr>()).funcformat == MARK
    }
}

// SAFETY: made of the call itself, which is PostgreSQL's.
unsafe impl<'fcx> ArgAbi<'fcx> for IsMarked {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: by the caller.
        unsafe { IsMarked(is_marked(pg_sys::FunctionCallInfo::unbox_arg_unchecked(arg))) }
    }

    fn is_virtual_arg() -> bool {
        true
    }
}

// SAFETY: it is no argument in SQL.
unsafe impl SqlTranslatable for IsMarked {
    const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!(IsMarked);
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::Skip);
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> = Err(ReturnsError::Datum);
}
