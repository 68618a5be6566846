//! A jsonb argument whose faults are errors with an SQLSTATE of their own.

use crate::error;
use pgrx::callconv::{Arg, ArgAbi};
use pgrx::nullable::Nullable;
use pgrx::{FromDatum, pg_sys};
use serde_json::Value;
use std::ffi::CStr;

/// A jsonb argument. Unlike [`pgrx::JsonB`], which panics, it refuses with 22023 what cannot be read: jsonb may be
/// nested more deeply than any reader should follow.
pub struct JsonArgument(pub Value);

impl FromDatum for JsonArgument {
    unsafe fn from_polymorphic_datum(datum: pg_sys::Datum, is_null: bool, _: pg_sys::Oid) -> Option<Self> {
        if is_null {
            return None;
        }
        // SAFETY: the argument is declared as jsonb; the text lives in the current memory context and is copied.
        let value = unsafe {
            let detoasted = pg_sys::pg_detoast_datum(datum.cast_mut_ptr());
            let text = pgrx::direct_function_call::<&CStr>(pg_sys::jsonb_out, &[Some(detoasted.into())]);
            text.and_then(|t| t.to_str().ok())
                .and_then(|t| serde_json::from_str(t).ok())
        };
        Some(JsonArgument(value.unwrap_or_else(|| error::unreadable_json())))
    }
}

// SAFETY: the same conversion as for every type that is made of its datum.
unsafe impl<'fcx> ArgAbi<'fcx> for JsonArgument {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: by the caller.
        unsafe { arg.unbox_arg_using_from_datum() }.unwrap_or(JsonArgument(Value::Null))
    }

    unsafe fn unbox_nullable_arg(arg: Arg<'_, 'fcx>) -> Nullable<Self> {
        // SAFETY: by the caller.
        unsafe { arg.unbox_arg_using_from_datum() }.into()
    }
}

pgrx::impl_sql_translatable!(JsonArgument, arg_only = "jsonb");
