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

use super::constraint;
use super::relation::Relation;
use super::session_setting;
use super::user_table::{self, ColumnType};
use crate::decision::As;
use crate::places::Outlook;
use pgrx::{FromDatum, IntoDatum, pg_sys};
use std::ffi::CStr;
use std::ptr::null_mut;

/// Names of the columns of a registered table, as far as row security needs them.
pub struct Registered {
    /// The table.
    pub target: pg_sys::Oid,
    /// Its columns.
    pub columns: user_table::ColumnNames,
    /// The tables of its rows' parents, of their parents, and so on, as far as those are rows of registered tables.
    pub above: Vec<(pg_sys::Oid, user_table::ColumnNames)>,
}

/// What a call that can be simplified looks like.
pub struct Call {
    raw: *mut pg_sys::SupportRequestSimplify,
    /// The permission, a constant.
    pub permission: String,
    /// As whom it decides.
    pub who: As,
    /// Which argument is the key.
    key: usize,
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

/// Is `node` of that type?
///
/// # Safety
/// `node` is NULL or a valid node.
pub(super) unsafe fn is_a(node: *mut pg_sys::Node, tag: pg_sys::NodeTag) -> bool {
    // SAFETY: every node begins with its tag.
    !node.is_null() && unsafe { (*node).type_ } == tag
}

/// The nth element of a list of nodes.
///
/// # Safety
/// `list` has more than `n` nodes.
pub(super) unsafe fn nth(list: *mut pg_sys::List, n: usize) -> *mut pg_sys::Node {
    // SAFETY: by the caller.
    unsafe { (*(*list).elements.add(n)).ptr_value.cast() }
}

/// # Safety
/// `list` is NULL or a valid list.
pub(super) unsafe fn length(list: *mut pg_sys::List) -> usize {
    // SAFETY: by the caller; NULL is the empty list.
    if list.is_null() {
        0
    } else {
        unsafe { (*list).length as usize }
    }
}

/// The value of a text constant.
unsafe fn text_constant(node: *mut pg_sys::Node) -> Option<String> {
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
pub(super) unsafe fn column_below(mut node: *mut pg_sys::Node) -> Option<*mut pg_sys::Var> {
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

/// A request to a support function, by its kind.
pub enum Request {
    /// Replace a call of `authz_row` or `authz_can`.
    Simplify(Call),
    /// Turn a call of `authz.via` into an index condition.
    IndexCondition(Condition),
    /// Estimate a call of `authz.via`.
    Selectivity(Estimate),
    /// Estimate a call of `authz.row_exact`.
    Exact(*mut pg_sys::SupportRequestSelectivity),
    /// What a call of `authz.reach_…` costs.
    Cost(*mut pg_sys::SupportRequestCost),
    /// Nothing that we answer.
    Other,
}

/// Arguments of `authz_row`; `authz.row_exact` and `authz.row_condition` have two more.
const ROW_ARGUMENTS: usize = 10;

/// The key among them, and the tenant.
const KEY: usize = 1;
const TENANT: usize = 2;

/// Arguments of the `authz_can` that names the principal.
const CAN_ARGUMENTS: usize = 5;

/// The places have done the narrowing: of the rows that are left nearly all are allowed.
///
/// # Safety
/// `raw` is the planner's request.
pub unsafe fn nearly_all(raw: *mut pg_sys::SupportRequestSelectivity) -> *mut pg_sys::Node {
    // SAFETY: by the caller.
    unsafe { (*raw).selectivity = 0.95 };
    raw.cast()
}

/// A call of `authz.via` whose selectivity is asked for.
pub struct Estimate {
    raw: *mut pg_sys::SupportRequestSelectivity,
    /// The permission.
    pub permission: String,
    /// `tenant`, `team`, `key`, …
    pub place: String,
}

/// Takes the planner's request apart.
///
/// # Safety
/// `request` is what PostgreSQL passed to a support function.
pub unsafe fn request(request: *mut pg_sys::Node) -> Request {
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
            pg_sys::NodeTag::T_SupportRequestCost => Request::Cost(request.cast()),
            pg_sys::NodeTag::T_SupportRequestSelectivity => {
                let raw = request.cast::<pg_sys::SupportRequestSelectivity>();
                if length((*raw).args) == ROW_ARGUMENTS + 2 {
                    return Request::Exact(raw);
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
            && ours == pg_sys::getExtensionOfObject(pg_sys::NamespaceRelationId, super::authority::namespace())
    }
}

/// A function of ours, by name and argument types. Looked up in the catalog cache: the caller needs no privilege on the
/// schema to have its queries planned.
fn function(name: &CStr, types: &[pg_sys::Oid]) -> Option<pg_sys::Oid> {
    // SAFETY: the keys of that cache are name, argument types and schema; a missing function is no error.
    unsafe {
        let oid = pg_sys::GetSysCacheOid(
            pg_sys::SysCacheIdentifier::PROCNAMEARGSNSP as i32,
            pg_sys::Anum_pg_proc_oid as i16,
            pg_sys::Datum::from(name.as_ptr()),
            pg_sys::Datum::from(pg_sys::buildoidvector(types.as_ptr(), types.len() as i32)),
            pg_sys::Datum::from(super::authority::namespace()),
            pg_sys::Datum::from(0usize),
        );
        (oid != pg_sys::InvalidOid).then_some(oid)
    }
}

unsafe fn call(function: pg_sys::Oid, result: pg_sys::Oid, arguments: &[*mut pg_sys::Node]) -> *mut pg_sys::Node {
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

unsafe fn text_node(text: &str) -> *mut pg_sys::Node {
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

unsafe fn null_node(of: pg_sys::Oid) -> *mut pg_sys::Node {
    // As the parser makes it, so that the two compare as equal.
    let collation = if of == pg_sys::TEXTOID {
        pg_sys::DEFAULT_COLLATION_OID
    } else {
        pg_sys::InvalidOid
    };
    // SAFETY: makes a NULL constant.
    unsafe { pg_sys::makeNullConst(of, -1, collation).cast() }
}

unsafe fn copy<T>(node: *mut T) -> *mut T {
    // SAFETY: a valid node.
    unsafe { pg_sys::copyObjectImpl(node.cast()).cast() }
}

/// A table's columns as expressions.
struct Row {
    key_var: *mut pg_sys::Var,
    relation: Relation,
}

impl Row {
    /// A row of a table as constraints know it: as relation 1.
    unsafe fn first(relation: Relation, key: &str) -> Option<Row> {
        let attno = relation.column(key)?;
        let (mut oid, mut typmod, mut collation) = (pg_sys::InvalidOid, 0, pg_sys::InvalidOid);
        // SAFETY: the column is there.
        unsafe {
            pg_sys::get_atttypetypmodcoll(relation.oid(), attno, &mut oid, &mut typmod, &mut collation);
            let key_var = pg_sys::makeVar(1, attno, oid, typmod, collation, 0);
            Some(Row { key_var, relation })
        }
    }

    /// Another column of the row that `key_var` is of: joins that may leave the row out leave out all of it.
    unsafe fn column(&self, name: &str) -> Option<(*mut pg_sys::Var, pg_sys::Oid)> {
        let attno = self.relation.column(name)?;
        let (mut oid, mut typmod, mut collation) = (pg_sys::InvalidOid, 0, pg_sys::InvalidOid);
        // SAFETY: the column is there; the copy is changed to refer to it.
        unsafe {
            pg_sys::get_atttypetypmodcoll(self.relation.oid(), attno, &mut oid, &mut typmod, &mut collation);
            let var = copy(self.key_var);
            (*var).varattno = attno;
            (*var).varattnosyn = attno;
            (*var).vartype = oid;
            (*var).vartypmod = typmod;
            (*var).varcollid = collation;
            Some((var, oid))
        }
    }

    /// The row itself.
    unsafe fn whole(&self) -> Option<*mut pg_sys::Node> {
        // SAFETY: a row type of the open relation; the copy is changed to refer to the row.
        unsafe {
            let of = pg_sys::get_rel_type_id(self.relation.oid());
            let var = copy(self.key_var);
            (*var).varattno = 0;
            (*var).varattnosyn = 0;
            (*var).vartype = of;
            (*var).vartypmod = -1;
            (*var).varcollid = pg_sys::InvalidOid;
            (of != pg_sys::InvalidOid).then_some(var.cast())
        }
    }

    /// A column as an expression of type `to`.
    unsafe fn as_type(&self, name: &str, to: pg_sys::Oid) -> Option<*mut pg_sys::Node> {
        // SAFETY: a fresh column reference, cast as by `::`.
        unsafe {
            let (var, from) = self.column(name)?;
            let cast = pg_sys::coerce_to_target_type(
                null_mut(),
                var.cast(),
                from,
                to,
                -1,
                pg_sys::CoercionContext::COERCION_EXPLICIT,
                pg_sys::CoercionForm::COERCE_IMPLICIT_CAST,
                -1,
            );
            if cast.is_null() {
                return None;
            }
            // As the parser does it after casting, so that the two compare as equal.
            let collation = pg_sys::get_typcollation(to);
            if collation != pg_sys::InvalidOid && pg_sys::exprCollation(cast) == pg_sys::InvalidOid {
                pg_sys::exprSetCollation(cast, collation);
            }
            Some(cast)
        }
    }

    /// `column IS NOT NULL`, or the column itself where it is a boolean.
    unsafe fn says_deleted(&self, name: &str) -> Option<*mut pg_sys::Node> {
        // SAFETY: builds a test over a fresh column reference.
        unsafe {
            let (var, oid) = self.column(name)?;
            if oid == pg_sys::BOOLOID {
                let test = new_node::<pg_sys::BooleanTest>(pg_sys::NodeTag::T_BooleanTest);
                (*test).arg = var.cast();
                (*test).booltesttype = pg_sys::BoolTestType::IS_TRUE;
                (*test).location = -1;
                return Some(test.cast());
            }
            Some(null_test(var, pg_sys::NullTestType::IS_NOT_NULL))
        }
    }
}

impl Row {
    /// `level = ANY ('{normal,restricted,sealed}')`; of an enum those of the three that it has, so that no row's value is made
    /// a text of.
    unsafe fn has_known_level(&self, name: &str) -> Option<*mut pg_sys::Node> {
        // SAFETY: the column is there; a label of the column's own type is looked up before it is used.
        unsafe {
            let (var, oid) = self.column(name)?;
            if !pg_sys::type_is_enum(oid) {
                return known_level(self.as_type(name, pg_sys::TEXTOID)?);
            }
            let mut values: Vec<pg_sys::Datum> = [c"normal", c"restricted", c"sealed"]
                .into_iter()
                .filter_map(|label| enum_value(oid, label))
                .collect();
            let array = pg_sys::construct_array(values.as_mut_ptr(), values.len() as i32, oid, 4, true, b'i' as _);
            let of = pg_sys::get_array_type(oid);
            let datum = pg_sys::Datum::from(array);
            let array = pg_sys::makeConst(of, -1, pg_sys::InvalidOid, -1, datum, false, false);
            let family = default_family(pg_sys::ANYENUMOID)?;
            any(var.cast(), pg_sys::ANYENUMOID, array.cast(), family, pg_sys::InvalidOid)
        }
    }

    /// Do the table's constraints leave the column no value but the known levels? Then no row needs a look. When such a
    /// constraint goes, PostgreSQL makes plans of the table anew.
    unsafe fn level_is_certain(&self, name: &str) -> bool {
        // SAFETY: constraints are those of the open relation, whose columns their expressions know as relation 1.
        unsafe {
            let Some((var, oid)) = self.column(name) else {
                return false;
            };
            let attno = (*var).varattno;
            if !matches!(oid, pg_sys::TEXTOID | pg_sys::VARCHAROID)
                || !constraint::hold_below(&self.relation)
                || !is_not_null(&self.relation, attno)
            {
                return false;
            }
            let level = self.as_type(name, pg_sys::TEXTOID);
            if let Some(var) = level.and_then(|level| column_below(level)) {
                (*var).varno = 1;
                (*var).varnosyn = 1;
            }
            let constraints = (*(*self.relation.raw()).rd_att).constr;
            let Some(known) = level.and_then(|level| known_level(level)) else {
                return false;
            };
            if constraints.is_null() {
                return false;
            }
            let wanted = pg_sys::lappend(null_mut(), known.cast());
            (0..usize::from((*constraints).num_check)).any(|n| {
                let check = &*(*constraints).check.add(n);
                if !check.ccvalid {
                    return false;
                }
                let mut clause = pg_sys::stringToNode(check.ccbin).cast::<pg_sys::Node>();
                clause = pg_sys::eval_const_expressions(null_mut(), clause);
                clause = pg_sys::canonicalize_qual(clause.cast(), true).cast();
                // A check that is NULL passes as well. Over this column alone, which is not, those that the planner's
                // prover knows (comparisons with constants) are true.
                let mut columns = null_mut();
                pg_sys::pull_varattnos(clause, 1, &mut columns);
                let offset = pg_sys::FirstLowInvalidHeapAttributeNumber;
                let only =
                    pg_sys::bms_num_members(columns) == 1 && pg_sys::bms_is_member(i32::from(attno) - offset, columns);
                only && pg_sys::predicate_implied_by(wanted, pg_sys::make_ands_implicit(clause.cast()), false)
            })
        }
    }
}

unsafe fn new_node<T>(tag: pg_sys::NodeTag) -> *mut T {
    // SAFETY: zeroed memory of the node's size, with the node's tag, is how `makeNode` makes nodes.
    unsafe {
        let node = pg_sys::palloc0(size_of::<T>()).cast::<pg_sys::Node>();
        (*node).type_ = tag;
        node.cast()
    }
}

unsafe fn null_test(var: *mut pg_sys::Var, of: pg_sys::NullTestType::Type) -> *mut pg_sys::Node {
    // SAFETY: `var` is a valid node.
    unsafe {
        let test = new_node::<pg_sys::NullTest>(pg_sys::NodeTag::T_NullTest);
        (*test).arg = var.cast();
        (*test).nulltesttype = of;
        (*test).location = -1;
        test.cast()
    }
}

impl Call {
    /// The table whose key is an argument of the call: its OID and the attribute number of that key.
    pub fn key(&self) -> Option<(pg_sys::Oid, i16)> {
        // SAFETY: the call has at least two arguments; the range table entry of a column of the query exists.
        unsafe {
            let var = column_below(nth((*(*self.raw).fcall).args, self.key))?;
            let parse = (*(*self.raw).root).parse;
            let varno = (*var).varno as usize;
            if varno == 0 || varno > length((*parse).rtable) {
                return None;
            }
            let entry = nth((*parse).rtable, varno - 1).cast::<pg_sys::RangeTblEntry>();
            ((*entry).rtekind == pg_sys::RTEKind::RTE_RELATION).then_some(((*entry).relid, (*var).varattno))
        }
    }

    /// Is it a call of `authz_row`, with a row's columns, rather than of `authz_can`?
    pub fn is_row(&self) -> bool {
        // SAFETY: a valid call.
        unsafe { length((*(*self.raw).fcall).args) == ROW_ARGUMENTS }
    }

    /// The expression that answers the same for a row of a registered table; `None` where that cannot be said.
    pub fn replace(&self, registered: &Registered, outlook: Outlook) -> Option<*mut pg_sys::Node> {
        // SAFETY: all nodes are made of this call's own, or freshly.
        unsafe {
            let arguments = (*(*self.raw).fcall).args;
            let key_var = column_below(nth(arguments, self.key))?;
            let row = Row {
                key_var,
                relation: Relation::open(registered.target)?,
            };
            let names = &registered.columns;
            if !self.is_about(&row, names) {
                return None;
            }
            let permission = text_node(&self.permission);
            let parse = (*(*self.raw).root).parse;
            // After waiting for a row lock the row is decided again, by the newest authority and as it is then: what was
            // computed once for the query, or is looked up by its snapshot, must not take part in that.
            let only_reads = (*parse).commandType == pg_sys::CmdType::CMD_SELECT && (*parse).rowMarks.is_null();
            let exact = self.exact(&row, names, permission, only_reads)?;
            let is_insert = (*parse).commandType == pg_sys::CmdType::CMD_INSERT;
            if is_insert && (*parse).resultRelation == (*key_var).varno {
                // A new row is looked for nowhere.
                return Some(exact);
            }

            let (tenant, _) = row.column(&names.tenant)?;
            let arms = || arms(&row, names, permission, self.who);
            let narrowed = self.narrowed(&row, tenant, arms, exact, outlook)?;
            match outlook.all {
                // Who sees everything does not see rows of a tenant that does not exist, nor rows of no known level.
                true if only_reads && self.is_whole(&row, registered) => {
                    let all = function(c"sees_all", &[pg_sys::TEXTOID, pg_sys::BOOLOID])?;
                    let still = function(c"still", &[pg_sys::INT8OID])?;
                    let seen = once(call(all, pg_sys::INT8OID, &[permission, self.by_principal()]));
                    (*parse).hasSubLinks = true;
                    // Outside of policies, an outer join has rows that are none of the table's.
                    let (key, _) = row.column(&names.key)?;
                    let is_row = null_test(key, pg_sys::NullTestType::IS_NOT_NULL);
                    let still = call(still, pg_sys::BOOLOID, &[seen]);
                    let mut everything = and_or(pg_sys::BoolExprType::AND_EXPR, &[still, is_row]);
                    if let Some(name) = &names.confidentiality
                        && !row.level_is_certain(name)
                    {
                        let known = row.has_known_level(name)?;
                        everything = and_or(pg_sys::BoolExprType::AND_EXPR, &[everything, known]);
                    }
                    Some(and_or(pg_sys::BoolExprType::OR_EXPR, &[everything, narrowed]))
                }
                _ => Some(narrowed),
            }
        }
    }

    /// The same for a call of `authz_row` on rows of another table, which carries the columns that say where its rows
    /// belong; `None` where that is not plain to see. Conditions see no more of such rows than without a plan.
    pub fn narrow(&self, outlook: Outlook) -> Option<*mut pg_sys::Node> {
        if !self.is_row() {
            return None;
        }
        let (table, _) = self.key()?;
        // SAFETY: all nodes are made of this call's own, or freshly; the call has the arguments of `authz_row`.
        unsafe {
            let given: Vec<_> = (0..ROW_ARGUMENTS).map(|n| nth((*(*self.raw).fcall).args, n)).collect();
            let key = column_below(given[KEY])?;
            let row = Row {
                key_var: key,
                relation: Relation::open(table)?,
            };
            let parse = (*(*self.raw).root).parse;
            let tenant = column_below(given[TENANT]).filter(|t| (**t).varno == (*key).varno)?;
            if (*parse).commandType == pg_sys::CmdType::CMD_INSERT && (*parse).resultRelation == (*key).varno
                || (*tenant).vartype != pg_sys::UUIDOID
                || !is_not_null(&row.relation, (*tenant).varattno)
            {
                return None;
            }
            let via = |place: &str, argument: *mut pg_sys::Node| {
                let of = pg_sys::exprType(argument);
                let via = function(c"via", &[pg_sys::TEXTOID, pg_sys::TEXTOID, of])?;
                Some(call(
                    via,
                    pg_sys::BOOLOID,
                    &[text_node(&self.permission), text_node(place), copy(argument)],
                ))
            };
            let is_null = |node| is_a(node, pg_sys::NodeTag::T_Const) && (*node.cast::<pg_sys::Const>()).constisnull;
            let arms = || {
                let mut arms = vec![via("key", key.cast()).or_else(|| via("key", given[KEY]))?];
                for (n, place) in [
                    (TENANT, "tenant"),
                    (3, "organization"),
                    (4, "team"),
                    (5, "project"),
                    (6, "owner"),
                ] {
                    if !is_null(given[n]) {
                        arms.push(via(place, given[n])?);
                    }
                }
                Some(arms)
            };
            let types = given.iter().map(|a| pg_sys::exprType(*a));
            let types: Vec<_> = types.chain([pg_sys::BOOLOID, pg_sys::BOOLOID]).collect();
            let no = || pg_sys::makeBoolConst(false, false);
            let columns = given.iter().map(|a| copy(*a));
            let arguments: Vec<_> = columns.chain([no(), self.by_principal()]).collect();
            let exact = call(function(c"row_exact", &types)?, pg_sys::BOOLOID, &arguments);
            let either = new_node::<pg_sys::CoalesceExpr>(pg_sys::NodeTag::T_CoalesceExpr);
            (*either).coalescetype = pg_sys::BOOLOID;
            (*either).args = pg_sys::lappend(pg_sys::lappend(null_mut(), exact.cast()), no().cast());
            (*either).location = -1;
            self.narrowed(&row, tenant, arms, either.cast(), outlook)
        }
    }

    /// `exact`, and before it where rows can be, as far as that is of use to the session that plans.
    ///
    /// One that names a tenant has its rows looked for in that one: by equality, which plans can do more with than with a
    /// list. Other sessions' rows would not be found by such a plan, so that it is made anew for them
    /// (`session_setting::plan_names_tenant`).
    unsafe fn narrowed(
        &self,
        row: &Row,
        tenant: *mut pg_sys::Var,
        arms: impl FnOnce() -> Option<Vec<*mut pg_sys::Node>>,
        exact: *mut pg_sys::Node,
        outlook: Outlook,
    ) -> Option<*mut pg_sys::Node> {
        // SAFETY: as in `replace`.
        unsafe {
            let mut all = Vec::new();
            if outlook.one_tenant {
                all.push(in_named_tenant(tenant)?);
                session_setting::plan_names_tenant();
            } else if !outlook.anywhere && is_not_null(&row.relation, (*tenant).varattno) {
                all.push(within(tenant, text_node(&self.permission), self.who)?);
            }
            if !outlook.anywhere {
                all.push(and_or(pg_sys::BoolExprType::OR_EXPR, &arms()?));
            }
            all.push(exact);
            Some(and_or(pg_sys::BoolExprType::AND_EXPR, &all))
        }
    }

    /// Does the call, where it names the principal, name the row's own tenant or none, and no context?
    unsafe fn is_about(&self, row: &Row, names: &user_table::ColumnNames) -> bool {
        // SAFETY: a valid call.
        unsafe {
            let arguments = (*(*self.raw).fcall).args;
            if self.who == As::Session {
                return true;
            }
            let is_null = |node| is_a(node, pg_sys::NodeTag::T_Const) && (*node.cast::<pg_sys::Const>()).constisnull;
            let (tenant, context) = (nth(arguments, 3), nth(arguments, 4));
            let own_tenant = || {
                row.column(&names.tenant)
                    .is_some_and(|(own, _)| same(tenant, own.cast()))
            };
            is_null(context) && (is_null(tenant) || own_tenant())
        }
    }

    /// Do constraints promise that every row's tenant is there, and its parent in the same tenant, with a level that is known,
    /// and so on upwards? Plans that rely on it are made anew when one of those tables changes.
    unsafe fn is_whole(&self, row: &Row, registered: &Registered) -> bool {
        // SAFETY: tables are opened before they are looked at; the planner's list of tables may be appended to.
        unsafe {
            let tenant = Relation::open(super::authority::oid("tenant"));
            if !tenant.is_some_and(|t| {
                constraint::references(&row.relation, &[&registered.columns.tenant], &t, &["tenant_id"])
            }) {
                return false;
            }
            let mut child = Relation::open(registered.target);
            let mut names = &registered.columns;
            for (target, above) in &registered.above {
                let (Some(relation), Some(parent), Some(column)) = (child, Relation::open(*target), &names.parent)
                else {
                    return false;
                };
                let columns = [names.tenant.as_str(), column];
                if !constraint::references(&relation, &columns, &parent, &[&above.tenant, &above.key])
                    || !constraint::hold_below(&parent)
                {
                    return false;
                }
                let of = Row::first(parent, &above.key);
                if !of
                    .as_ref()
                    .is_some_and(|of| above.confidentiality.as_ref().is_none_or(|c| of.level_is_certain(c)))
                {
                    return false;
                }
                let planned = (*(*self.raw).root).glob;
                (*planned).relationOids = pg_sys::lappend_oid((*planned).relationOids, *target);
                child = of.map(|of| of.relation);
                names = above;
            }
            // A parent that is no row of a registered table.
            names.parent.is_none()
        }
    }

    unsafe fn by_principal(&self) -> *mut pg_sys::Node {
        // SAFETY: makes a constant.
        unsafe { pg_sys::makeBoolConst(self.who == As::Principal, false) }
    }

    /// `authz.row_exact(permission, key, tenant, …)`; where the row may not be stored as it is, with what decides where
    /// that has no answer.
    unsafe fn exact(
        &self,
        row: &Row,
        names: &user_table::ColumnNames,
        permission: *mut pg_sys::Node,
        stored: bool,
    ) -> Option<*mut pg_sys::Node> {
        // SAFETY: as in `replace`.
        unsafe {
            let (_, key_oid) = row.column(&names.key)?;
            let key_type = match key_oid {
                pg_sys::UUIDOID => pg_sys::UUIDOID,
                pg_sys::INT2OID | pg_sys::INT4OID | pg_sys::INT8OID => pg_sys::INT8OID,
                _ => pg_sys::TEXTOID,
            };
            let id = |name: &Option<String>| match name {
                Some(name) => row.as_type(name, pg_sys::UUIDOID),
                None => Some(null_node(pg_sys::UUIDOID)),
            };
            let text = |name: &Option<String>| match name {
                Some(name) => row.as_type(name, pg_sys::TEXTOID),
                None => Some(null_node(pg_sys::TEXTOID)),
            };
            let deleted = match &names.deleted_at {
                Some(name) => row.says_deleted(name)?,
                None => pg_sys::makeBoolConst(false, false),
            };
            let columns: [_; ROW_ARGUMENTS] = [
                permission,
                row.as_type(&names.key, key_type)?,
                row.as_type(&names.tenant, pg_sys::UUIDOID)?,
                id(&names.organization)?,
                id(&names.team)?,
                id(&names.project)?,
                id(&names.owner)?,
                text(&names.confidentiality)?,
                deleted,
                text(&names.parent)?,
            ];
            let given = (*(*self.raw).fcall).args;
            if self.is_row() && (0..ROW_ARGUMENTS).any(|n| !same(nth(given, n), columns[n])) {
                return None;
            }
            let (u, t, b) = (pg_sys::UUIDOID, pg_sys::TEXTOID, pg_sys::BOOLOID);
            let column_types = [t, key_type, u, u, u, u, u, t, b, t];
            let with = |name: &CStr, eleventh: *mut pg_sys::Node, of: pg_sys::Oid| {
                let types: Vec<_> = column_types.iter().copied().chain([of, b]).collect();
                let own = columns.iter().map(|c| copy(*c));
                let arguments: Vec<_> = own.chain([eleventh, self.by_principal()]).collect();
                Some(call(function(name, &types)?, b, &arguments))
            };
            let exact = with(c"row_exact", pg_sys::makeBoolConst(stored, false), b)?;
            if stored {
                return Some(exact);
            }
            let condition = with(c"row_condition", row.whole()?, pg_sys::RECORDOID)?;
            let either = new_node::<pg_sys::CoalesceExpr>(pg_sys::NodeTag::T_CoalesceExpr);
            (*either).coalescetype = b;
            (*either).args = pg_sys::lappend(pg_sys::lappend(null_mut(), exact.cast()), condition.cast());
            (*either).location = -1;
            Some(either.cast())
        }
    }
}

/// Do two arguments say the same of the row: the same constant, column, or test of a column?
unsafe fn same(a: *mut pg_sys::Node, b: *mut pg_sys::Node) -> bool {
    // SAFETY: valid nodes.
    unsafe {
        match (column_below(a), column_below(b)) {
            (Some(a), Some(b)) => (*a).varno == (*b).varno && (*a).varattno == (*b).varattno,
            _ => pg_sys::equal(a.cast(), b.cast()),
        }
    }
}

/// The name of a column's place.
unsafe fn place_node(place: &str, who: As) -> *mut pg_sys::Node {
    // SAFETY: makes a constant.
    unsafe {
        match who {
            As::Session => text_node(place),
            As::Principal => text_node(&format!("{OF_PRINCIPAL}{place}")),
        }
    }
}

/// `via within`: the row's tenant is one in which something can be reached. Indexes that begin with the tenant are of use
/// to every arm by it. Not where rows without a tenant would have to be found as well.
unsafe fn within(tenant: *mut pg_sys::Var, permission: *mut pg_sys::Node, who: As) -> Option<*mut pg_sys::Node> {
    // SAFETY: as in `replace`.
    unsafe {
        let via = function(c"via", &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::UUIDOID])?;
        let place = place_node(WITHIN, who);
        Some(call(via, pg_sys::BOOLOID, &[permission, place, copy(tenant).cast()]))
    }
}

/// `tenant = authz.named_tenant()`
unsafe fn in_named_tenant(tenant: *mut pg_sys::Var) -> Option<*mut pg_sys::Node> {
    // SAFETY: the operator and the function are looked up before they are used; both sides are of type uuid.
    unsafe {
        let equal = pg_sys::BTEqualStrategyNumber as i16;
        let family = default_family(pg_sys::UUIDOID)?;
        let operator = pg_sys::get_opfamily_member(family, pg_sys::UUIDOID, pg_sys::UUIDOID, equal);
        let named = call(function(c"named_tenant", &[])?, pg_sys::UUIDOID, &[]);
        let none = pg_sys::InvalidOid;
        if operator == none || (*tenant).vartype != pg_sys::UUIDOID {
            return None;
        }
        let equality = pg_sys::make_opclause(
            operator,
            pg_sys::BOOLOID,
            false,
            copy(tenant).cast(),
            named.cast(),
            none,
            none,
        );
        pg_sys::set_opfuncid(equality.cast());
        Some(equality.cast())
    }
}

/// `via tenant`, `via organization`, …, as far as the table has such columns.
unsafe fn arms<'n>(
    row: &Row,
    names: &'n user_table::ColumnNames,
    permission: *mut pg_sys::Node,
    who: As,
) -> Option<Vec<*mut pg_sys::Node>> {
    // SAFETY: as in `replace`.
    unsafe {
        let of = |place: &str| place_node(place, who);
        let own = |name: &'n Option<String>| name.as_ref().filter(|_| names.parent.is_none());
        let places = [
            ("tenant", Some(&names.tenant)),
            ("organization", own(&names.organization)),
            ("team", own(&names.team)),
            ("project", own(&names.project)),
            ("owner", own(&names.owner)),
            // Where rows have parents, who reaches some of them reaches the tenant or the parents.
            ("key", Some(&names.key).filter(|_| names.parent.is_none())),
            ("parent", names.parent.as_ref()),
        ];
        let mut arms = Vec::new();
        for (place, name) in places {
            let Some(name) = name else {
                continue;
            };
            let (var, oid) = row.column(name)?;
            let (argument, column_type): (*mut pg_sys::Node, _) = match oid {
                // Ids kept as text are compared as uuids, however they are spelled: by an index of that expression.
                pg_sys::TEXTOID | pg_sys::VARCHAROID if !matches!(place, "key" | "parent") => {
                    (row.as_type(name, pg_sys::UUIDOID)?, pg_sys::UUIDOID)
                }
                pg_sys::VARCHAROID => (row.as_type(name, pg_sys::TEXTOID)?, pg_sys::TEXTOID),
                _ => (var.cast(), oid),
            };
            if !matches!(place, "key" | "parent") && column_type != pg_sys::UUIDOID {
                return None;
            }
            let via = function(c"via", &[pg_sys::TEXTOID, pg_sys::TEXTOID, column_type])?;
            arms.push(call(via, pg_sys::BOOLOID, &[permission, of(place), argument]));
        }
        let (tenant, _) = row.column(&names.tenant)?;
        if let Some(name) = &names.parent
            && let (parent, _) = row.column(name)?
            && !is_not_null(&row.relation, (*parent).varattno)
        {
            let via = function(c"via", &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::UUIDOID])?;
            let of_tenant = call(
                via,
                pg_sys::BOOLOID,
                &[permission, of("orphan tenant"), copy(tenant).cast()],
            );
            let orphan = null_test(parent, pg_sys::NullTestType::IS_NULL);
            arms.push(and_or(pg_sys::BoolExprType::AND_EXPR, &[orphan, of_tenant]));
        }
        if !is_not_null(&row.relation, (*tenant).varattno) {
            arms.push(null_test(tenant, pg_sys::NullTestType::IS_NULL));
        }
        Some(arms)
    }
}

/// Has the column no NULL? (PostgreSQL 18 knows constraints that have not been checked for all rows.)
fn is_not_null(relation: &Relation, attno: i16) -> bool {
    let n = attno as usize - 1;
    // SAFETY: the descriptor of a relation that stays open while it is looked at.
    #[cfg(not(feature = "pg18"))]
    let not_null = unsafe {
        let desc = (*relation.raw()).rd_att;
        (*desc).attrs.as_slice((*desc).natts as usize)[n].attnotnull
    };
    // SAFETY: as above.
    #[cfg(feature = "pg18")]
    let not_null = unsafe {
        let desc = (*relation.raw()).rd_att;
        (*desc).compact_attrs.as_slice((*desc).natts as usize)[n].attnullability as u8 == pg_sys::ATTNULLABLE_VALID
    };
    not_null
}

unsafe fn and_or(operator: pg_sys::BoolExprType::Type, arguments: &[*mut pg_sys::Node]) -> *mut pg_sys::Node {
    // SAFETY: valid boolean expressions.
    unsafe {
        let list = arguments
            .iter()
            .fold(null_mut(), |list, a| pg_sys::lappend(list, a.cast()));
        pg_sys::makeBoolExpr(operator, list, -1).cast()
    }
}

/// `(SELECT expression)`: computed once for the query.
unsafe fn once(expression: *mut pg_sys::Node) -> *mut pg_sys::Node {
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
unsafe fn any(
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

/// The value of an enum with that label.
unsafe fn enum_value(of: pg_sys::Oid, label: &CStr) -> Option<pg_sys::Datum> {
    // SAFETY: the keys of that cache are type and label; a missing label is no error.
    let value = unsafe {
        pg_sys::GetSysCacheOid(
            pg_sys::SysCacheIdentifier::ENUMTYPOIDNAME as i32,
            pg_sys::Anum_pg_enum_oid as i16,
            pg_sys::Datum::from(of),
            pg_sys::Datum::from(label.as_ptr()),
            pg_sys::Datum::from(0usize),
            pg_sys::Datum::from(0usize),
        )
    };
    (value != pg_sys::InvalidOid).then(|| pg_sys::Datum::from(value))
}

/// `level = ANY ('{normal,restricted,sealed}')`
unsafe fn known_level(level: *mut pg_sys::Node) -> Option<*mut pg_sys::Node> {
    // SAFETY: `level` is a valid expression of type text.
    unsafe {
        let levels = vec!["normal", "restricted", "sealed"].into_datum()?;
        let collation = pg_sys::DEFAULT_COLLATION_OID;
        let array = pg_sys::makeConst(pg_sys::TEXTARRAYOID, -1, collation, -1, levels, false, false);
        any(
            level,
            pg_sys::TEXTOID,
            array.cast(),
            default_family(pg_sys::TEXTOID)?,
            collation,
        )
    }
}

/// The element type of a key argument of `authz.via`, and the function that gives the array to compare with.
fn array_function(element: pg_sys::Oid) -> Option<(pg_sys::Oid, pg_sys::Oid)> {
    let (name, array) = match element {
        pg_sys::UUIDOID => (c"reach_uuid", pg_sys::UUIDARRAYOID),
        pg_sys::INT2OID => (c"reach_int2", pg_sys::INT2ARRAYOID),
        pg_sys::INT4OID => (c"reach_int4", pg_sys::INT4ARRAYOID),
        pg_sys::INT8OID => (c"reach_int8", pg_sys::INT8ARRAYOID),
        pg_sys::TEXTOID => (c"reach_text", pg_sys::TEXTARRAYOID),
        _ => return None,
    };
    Some((
        function(name, &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::INT4OID])?,
        array,
    ))
}

/// A call of `authz.via` that an index could serve.
pub struct Condition {
    raw: *mut pg_sys::SupportRequestIndexCondition,
    /// The permission.
    pub permission: String,
    /// `tenant`, `team`, `key`, …
    pub place: String,
}

impl Condition {
    unsafe fn of(raw: *mut pg_sys::SupportRequestIndexCondition) -> Option<Condition> {
        // SAFETY: tags and argument counts are compared before casts.
        unsafe {
            let r = &*raw;
            if r.indexarg != 2 || !(*r.index).amsearcharray || !is_a(r.node, pg_sys::NodeTag::T_FuncExpr) {
                return None;
            }
            let arguments = (*r.node.cast::<pg_sys::FuncExpr>()).args;
            if length(arguments) != 3 {
                return None;
            }
            Some(Condition {
                raw,
                permission: text_constant(nth(arguments, 0))?,
                place: text_constant(nth(arguments, 1))?,
            })
        }
    }

    unsafe fn argument(&self, n: usize) -> *mut pg_sys::Node {
        // SAFETY: three arguments, as compared in `of`.
        unsafe { nth((*(*self.raw).node.cast::<pg_sys::FuncExpr>()).args, n) }
    }

    /// The type of the column.
    pub fn column_type(&self) -> Option<ColumnType> {
        // SAFETY: a valid expression.
        unsafe { column_type(self.argument(2)) }
    }

    /// `authz.via(permission, place, column)` as `column = ANY (authz.reach_…(permission, place, cost))`.
    pub fn answer(&self, ids: Option<&Ids>) -> Option<*mut pg_sys::Node> {
        // SAFETY: the request's nodes are valid.
        unsafe {
            let r = &mut *self.raw;
            let column = self.argument(2);
            let element = pg_sys::exprType(column);
            let (array_of, array_type) = array_function(element)?;
            let share = ids.map(|ids| {
                let estimate =
                    |clause| pg_sys::clause_selectivity(r.root, clause, 0, pg_sys::JoinType::JOIN_INNER, null_mut());
                ids.clause(column).map_or(0.0, |clause| estimate(clause) * ids.sampled)
            });
            let cost = share.map_or(0.0, |share| fetching(&*(*r.index).rel, share));
            let cost = pg_sys::makeConst(
                pg_sys::INT4OID,
                -1,
                pg_sys::InvalidOid,
                size_of::<i32>() as i32,
                (cost as i32).into_datum()?,
                false,
                true,
            );
            let arguments = [copy(self.argument(0)), copy(self.argument(1)), cost.cast()];
            let array = call(array_of, array_type, &arguments);
            let clause = any(copy(column), element, array, r.opfamily, r.indexcollation)?;
            // The index finds exactly the rows that the call is true for.
            r.lossy = false;
            Some(pg_sys::lappend(null_mut(), clause.cast()).cast())
        }
    }
}

/// What fetching a share of a table's rows costs, as the planner reckons where it knows how many they are. (Of an array that
/// is computed when the plan runs it assumes ten elements.)
unsafe fn fetching(table: &pg_sys::RelOptInfo, share: f64) -> f64 {
    // SAFETY: settings of this backend.
    let (random, sequential) = unsafe { (pg_sys::random_page_cost, pg_sys::seq_page_cost) };
    let (pages, rows) = (
        f64::from(table.pages).max(1.0),
        share.clamp(0.0, 1.0) * table.tuples.max(0.0),
    );
    // Mackert and Lohman, "Index scans using a finite LRU buffer" (1989).
    let fetched = (2.0 * pages * rows / (2.0 * pages + rows)).min(pages);
    fetched * (random - (random - sequential) * (fetched / pages).sqrt())
}

/// A call of `authz.reach_…` costs what fetching its rows does: its last argument.
///
/// # Safety
/// `raw` is the planner's request.
pub unsafe fn cost(raw: *mut pg_sys::SupportRequestCost) -> Option<*mut pg_sys::Node> {
    // SAFETY: by the caller; tags are compared before casts.
    unsafe {
        let r = &mut *raw;
        if !is_a(r.node, pg_sys::NodeTag::T_FuncExpr) {
            return None;
        }
        let arguments = (*r.node.cast::<pg_sys::FuncExpr>()).args;
        if length(arguments) != 3 || !is_a(nth(arguments, 2), pg_sys::NodeTag::T_Const) {
            return None;
        }
        let cost = &*nth(arguments, 2).cast::<pg_sys::Const>();
        if cost.consttype != pg_sys::INT4OID {
            return None;
        }
        r.startup = f64::from(i32::from_datum(cost.constvalue, cost.constisnull)?);
        r.per_tuple = 0.0;
        Some(raw.cast())
    }
}

/// Ids that the planning session can reach at a place: all, or a sample.
pub struct Ids {
    array: pg_sys::Datum,
    /// How many there are for each in the sample.
    sampled: f64,
}

impl Ids {
    /// `None`: there are none.
    pub fn new<T>(sample: Vec<T>, count: usize) -> Option<Ids>
    where
        Vec<T>: IntoDatum,
    {
        let sampled = count as f64 / sample.len() as f64;
        if sample.is_empty() {
            return None;
        }
        Some(Ids {
            array: sample.into_datum()?,
            sampled,
        })
    }

    /// `column = ANY (sample)`
    unsafe fn clause(&self, column: *mut pg_sys::Node) -> Option<*mut pg_sys::Node> {
        // SAFETY: the array is a constant of the array type of the column's type.
        unsafe {
            let element = pg_sys::exprType(column);
            let (_, array_type) = array_function(element)?;
            let array = pg_sys::makeConst(array_type, -1, pg_sys::InvalidOid, -1, self.array, false, false);
            let collation = pg_sys::exprCollation(column);
            any(copy(column), element, array.cast(), default_family(element)?, collation)
        }
    }
}

unsafe fn column_type(column: *mut pg_sys::Node) -> Option<ColumnType> {
    // SAFETY: a valid expression.
    match unsafe { pg_sys::exprType(column) } {
        pg_sys::UUIDOID => Some(ColumnType::Uuid),
        pg_sys::INT2OID => Some(ColumnType::Int2),
        pg_sys::INT4OID => Some(ColumnType::Int4),
        pg_sys::INT8OID => Some(ColumnType::Int8),
        pg_sys::TEXTOID => Some(ColumnType::Text),
        _ => None,
    }
}

impl Estimate {
    /// Nearly all rows: others say how many.
    pub fn nearly_all(&self) -> *mut pg_sys::Node {
        // SAFETY: the planner's request.
        unsafe { nearly_all(self.raw) }
    }

    /// Answers with the planner's own estimate for `column = ANY (ids)`. `tenant`: the column that the plan compares with
    /// the session's tenant besides. What is looked for lies in that tenant, which the planner would take for chance.
    pub fn answer(&self, ids: Option<&Ids>, tenant: Option<&str>) -> Option<*mut pg_sys::Node> {
        // SAFETY: the request's nodes are valid.
        unsafe {
            let r = &mut *self.raw;
            let estimate = |clause| pg_sys::clause_selectivity(r.root, clause, r.varRelid, r.jointype, r.sjinfo);
            r.selectivity = match ids {
                Some(ids) => {
                    let share = estimate(ids.clause(nth(r.args, 2))?) * ids.sampled;
                    let tenant = tenant.and_then(|name| self.in_named_tenant(name)).map_or(1.0, estimate);
                    (share / tenant.max(f64::MIN_POSITIVE)).clamp(0.0, 1.0)
                }
                None => 0.0,
            };
            Some(self.raw.cast())
        }
    }

    /// The comparison of the row's tenant with the session's.
    unsafe fn in_named_tenant(&self, name: &str) -> Option<*mut pg_sys::Node> {
        // SAFETY: the planner's table entries are indexed by the numbers that its columns have.
        unsafe {
            let root = &*(*self.raw).root;
            let var = column_below(nth((*self.raw).args, 2))?;
            let number = (*var).varno as usize;
            if root.simple_rte_array.is_null() || number >= root.simple_rel_array_size as usize {
                return None;
            }
            let entry = *root.simple_rte_array.add(number);
            if entry.is_null() || (*entry).rtekind != pg_sys::RTEKind::RTE_RELATION {
                return None;
            }
            let row = Row {
                key_var: var,
                relation: Relation::open((*entry).relid)?,
            };
            in_named_tenant(row.column(name)?.0)
        }
    }

    /// The type of the column.
    pub fn column_type(&self) -> Option<ColumnType> {
        // SAFETY: three arguments, as compared when the request was taken apart.
        unsafe { column_type(nth((*self.raw).args, 2)) }
    }
}

/// The B-tree operator family of a type.
fn default_family(of: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: look-ups in the catalogs.
    unsafe {
        let class = pg_sys::GetDefaultOpClass(of, pg_sys::BTREE_AM_OID);
        (class != pg_sys::InvalidOid).then(|| pg_sys::get_opclass_family(class))
    }
}
