//! What the planner is told of the parts: index conditions, how many rows, at what cost.

use super::call::in_named_tenant;
use super::node::{any, call, column_below, copy, default_family, function, is_a, length, nth, text_constant};
use super::row::Row;
use crate::pg::relation::Relation;
use crate::pg::user_table::ColumnType;
use pgrx::{FromDatum, IntoDatum, pg_sys};
use std::ptr::null_mut;

/// A call of `authz.row_exact` whose selectivity is asked for.
pub struct Exact(pub(super) *mut pg_sys::SupportRequestSelectivity);

impl Exact {
    /// The places have done the narrowing: of the rows that are left nearly all are allowed.
    pub fn nearly_all(&self) -> *mut pg_sys::Node {
        // SAFETY: the planner's request.
        unsafe { (*self.0).selectivity = 0.95 };
        self.0.cast()
    }
}

/// A call of `authz.via` whose selectivity is asked for.
pub struct Estimate {
    pub(super) raw: *mut pg_sys::SupportRequestSelectivity,
    /// The permission.
    pub permission: String,
    /// `tenant`, `team`, `key`, …
    pub place: String,
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
    pub(super) unsafe fn of(raw: *mut pg_sys::SupportRequestIndexCondition) -> Option<Condition> {
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

/// A request for what a call of `authz.reach_…` costs.
pub struct Cost(pub(super) *mut pg_sys::SupportRequestCost);

impl Cost {
    /// A call of `authz.reach_…` costs what fetching its rows does: its last argument.
    pub fn answer(&self) -> Option<*mut pg_sys::Node> {
        // SAFETY: the planner's request; tags are compared before casts.
        unsafe {
            let r = &mut *self.0;
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
            Some(self.0.cast())
        }
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
        Exact(self.raw).nearly_all()
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
