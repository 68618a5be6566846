//! A table's columns as expressions.

use super::node::{any, column_below, copy, default_family, new_node, null_test};
use crate::pg::constraint;
use crate::pg::relation::Relation;
use pgrx::{IntoDatum, pg_sys};
use std::ffi::CStr;
use std::ptr::null_mut;

/// A table's columns as expressions.
pub struct Row {
    /// Its key: a column of the query that is being planned, or of relation 1 of a constraint. A valid node.
    pub key_var: *mut pg_sys::Var,
    /// Its table, open.
    pub relation: Relation,
}

impl Row {
    /// A row of a table as constraints know it: as relation 1.
    pub fn first(relation: Relation, key: &str) -> Option<Row> {
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
    pub unsafe fn column(&self, name: &str) -> Option<(*mut pg_sys::Var, pg_sys::Oid)> {
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

    /// The table that the row is in; NULL where it is none.
    pub unsafe fn table(&self) -> *mut pg_sys::Node {
        // SAFETY: the copy is changed to refer to a column that every table has.
        unsafe {
            let var = copy(self.key_var);
            (*var).varattno = pg_sys::TableOidAttributeNumber as i16;
            (*var).varattnosyn = (*var).varattno;
            (*var).vartype = pg_sys::OIDOID;
            (*var).vartypmod = -1;
            (*var).varcollid = pg_sys::InvalidOid;
            var.cast()
        }
    }

    /// The row itself.
    pub unsafe fn whole(&self) -> Option<*mut pg_sys::Node> {
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
    pub unsafe fn as_type(&self, name: &str, to: pg_sys::Oid) -> Option<*mut pg_sys::Node> {
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
    pub unsafe fn says_deleted(&self, name: &str) -> Option<*mut pg_sys::Node> {
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
    pub unsafe fn has_known_level(&self, name: &str) -> Option<*mut pg_sys::Node> {
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
    pub unsafe fn level_is_certain(&self, name: &str) -> bool {
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

/// Has the column no NULL? (PostgreSQL 18 knows constraints that have not been checked for all rows.)
pub fn is_not_null(relation: &Relation, attno: i16) -> bool {
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
