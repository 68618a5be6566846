//! A row passed as an argument.

use super::relation::Tuple;
use pgrx::callconv::{Arg, ArgAbi};
use pgrx::nullable::Nullable;
use pgrx::{FromDatum, pg_sys};
use serde_json::Value;

/// A row of whatever type, as JSON: its columns by name.
pub struct Record(pub Value);

impl FromDatum for Record {
    unsafe fn from_polymorphic_datum(datum: pg_sys::Datum, is_null: bool, _: pg_sys::Oid) -> Option<Self> {
        if is_null {
            return None;
        }
        // SAFETY: the argument is declared as record, whose header says which row type it is of. The tuple points into
        // the detoasted copy, and the descriptor is a copy as well: both outlive the call.
        unsafe {
            let header = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::HeapTupleHeaderData>();
            let of = (*header).t_choice.t_datum;
            let desc = pg_sys::lookup_rowtype_tupdesc_copy(of.datum_typeid, of.datum_typmod);
            let mut tuple = pg_sys::HeapTupleData {
                t_len: pgrx::varsize_any(header.cast()) as u32,
                t_data: header,
                ..Default::default()
            };
            Some(Record(Tuple::new(&raw mut tuple, desc).json()))
        }
    }
}

// SAFETY: the same conversion as for every type that is made of its datum.
unsafe impl<'fcx> ArgAbi<'fcx> for Record {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: by the caller.
        unsafe { arg.unbox_arg_using_from_datum() }.unwrap_or(Record(Value::Null))
    }

    unsafe fn unbox_nullable_arg(arg: Arg<'_, 'fcx>) -> Nullable<Self> {
        // SAFETY: by the caller.
        unsafe { arg.unbox_arg_using_from_datum() }.into()
    }
}

pgrx::impl_sql_translatable!(Record, arg_only = "record");
