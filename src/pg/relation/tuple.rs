//! Rows, taken apart.

use super::Spot;
use authz_engine::{Instant, Interval};
use pgrx::{FromDatum, JsonB, pg_sys};
use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use uuid::Uuid;

/// A row, valid until the scan moves on.
pub struct Tuple<'a> {
    tuple: pg_sys::HeapTuple,
    desc: pg_sys::TupleDesc,
    /// The slot that it is in, if it is in one.
    slot: *mut pg_sys::TupleTableSlot,
    _scan: PhantomData<&'a ()>,
}

impl Tuple<'_> {
    /// # Safety
    /// `tuple` is a valid tuple of the row type `desc`, for as long as the result lives.
    pub(in crate::pg) const unsafe fn new(tuple: pg_sys::HeapTuple, desc: pg_sys::TupleDesc) -> Self {
        Tuple {
            tuple,
            desc,
            slot: std::ptr::null_mut(),
            _scan: PhantomData,
        }
    }

    /// The same, in a slot.
    ///
    /// # Safety
    /// It is the tuple in that slot.
    pub(super) const unsafe fn in_slot(self, slot: *mut pg_sys::TupleTableSlot) -> Self {
        Tuple { slot, ..self }
    }

    /// Where it was found, if that can be used to find it again.
    pub fn spot(&self) -> Option<Spot> {
        // SAFETY: the slot's tuple, by construction.
        (!self.slot.is_null()).then(|| unsafe { Spot::of(self.slot, self.tuple) })?
    }

    /// The transaction that wrote this version.
    pub fn written_by(&self) -> pg_sys::TransactionId {
        // SAFETY: a stored row, by construction, which has a header with its transactions.
        let row = unsafe { &*(*self.tuple).t_data };
        if u32::from(row.t_infomask) & pg_sys::HEAP_XMIN_FROZEN == pg_sys::HEAP_XMIN_FROZEN {
            pg_sys::FrozenTransactionId
        } else {
            // SAFETY: as above.
            unsafe { row.t_choice.t_heap.t_xmin }
        }
    }

    /// The number of a column, by its name.
    pub fn column(&self, name: &str) -> Option<i16> {
        let name = CString::new(name).ok()?;
        // SAFETY: compares names in a row type that is valid by construction; needs no SPI connection.
        i16::try_from(unsafe { pg_sys::SPI_fnumber(self.desc, name.as_ptr()) })
            .ok()
            .filter(|attno| *attno > 0)
    }

    fn datum(&self, attno: i16) -> Option<pg_sys::Datum> {
        let mut null = false;
        // SAFETY: valid by construction; `attno` is a column of the relation.
        let datum = unsafe { pg_sys::heap_getattr(self.tuple, i32::from(attno), self.desc, &mut null) };
        (!null).then_some(datum)
    }

    /// A uuid column.
    pub fn uuid(&self, attno: i16) -> Option<Uuid> {
        // SAFETY: a uuid is 16 bytes, never compressed, at any alignment.
        self.datum(attno)
            .map(|d| unsafe { Uuid::from_bytes(*d.cast_mut_ptr::<[u8; 16]>()) })
    }

    /// A text or varchar column.
    pub fn text(&self, attno: i16) -> Option<String> {
        // SAFETY: the column is of a text type; the value is copied.
        self.datum(attno).and_then(|d| unsafe { String::from_datum(d, false) })
    }

    /// A bytea column.
    pub fn bytes(&self, attno: i16) -> Option<Vec<u8>> {
        // SAFETY: the column is of type bytea; the value is copied.
        self.datum(attno).and_then(|d| unsafe { Vec::from_datum(d, false) })
    }

    /// A `name` column.
    pub fn name(&self, attno: i16) -> Option<String> {
        // SAFETY: a name is a NUL-padded array of fixed length.
        self.datum(attno).map(|d| {
            unsafe { CStr::from_ptr(d.cast_mut_ptr()) }
                .to_string_lossy()
                .into_owned()
        })
    }

    /// A boolean column.
    pub fn bool(&self, attno: i16) -> Option<bool> {
        self.datum(attno).map(|d| d.value() != 0)
    }

    /// A smallint column.
    pub fn int2(&self, attno: i16) -> Option<i16> {
        self.datum(attno).map(|d| d.value() as i16)
    }

    /// An integer column.
    pub fn int4(&self, attno: i16) -> Option<i32> {
        self.datum(attno).map(|d| d.value() as i32)
    }

    /// A bigint column.
    pub fn int8(&self, attno: i16) -> Option<i64> {
        self.datum(attno).map(|d| d.value() as i64)
    }

    /// A `"char"` column.
    pub fn char(&self, attno: i16) -> Option<u8> {
        self.datum(attno).map(|d| d.value() as u8)
    }

    /// A column of type smallint[]; NULL is empty.
    pub fn int2s(&self, attno: i16) -> Vec<i16> {
        // SAFETY: the column is of that type; the values are copied.
        self.datum(attno)
            .and_then(|d| unsafe { Vec::<i16>::from_datum(d, false) })
            .unwrap_or_default()
    }

    /// An oid or regclass column.
    pub fn oid(&self, attno: i16) -> Option<pg_sys::Oid> {
        self.datum(attno).map(|d| pg_sys::Oid::from(d.value() as u32))
    }

    /// A timestamptz column.
    pub fn instant(&self, attno: i16) -> Option<Instant> {
        self.int8(attno)
    }

    /// The generated columns `active_from` and `active_until`.
    pub fn interval(&self, from: i16, until: i16) -> Interval {
        // Both are NOT NULL; were one missing, the row would never be in force.
        Interval::new(
            self.instant(from).unwrap_or(Instant::MAX),
            self.instant(until).unwrap_or(Instant::MIN),
        )
    }

    /// A jsonb column.
    pub fn jsonb(&self, attno: i16) -> Option<serde_json::Value> {
        // SAFETY: the column is of type jsonb; the value is copied.
        self.datum(attno)
            .and_then(|d| unsafe { JsonB::from_datum(d, false) })
            .map(|j| j.0)
    }

    /// An enum column's label.
    pub fn enum_label(&self, attno: i16) -> Option<String> {
        // SAFETY: the column is of an enum type; the function returns a palloc'ed C string.
        self.datum(attno).map(|d| unsafe {
            let out =
                pgrx::direct_function_call_as_datum(pg_sys::enum_out, &[Some(d)]).expect("enum_out returns a string");
            CStr::from_ptr(out.cast_mut_ptr()).to_string_lossy().into_owned()
        })
    }

    /// Is the column NULL?
    pub fn is_null(&self, attno: i16) -> bool {
        self.datum(attno).is_none()
    }

    /// The columns whose stored values are not those of another row of the same type: number and name. Generated
    /// columns are left out.
    pub fn differences(&self, other: &Tuple<'_>) -> Vec<(i16, String)> {
        // SAFETY: a descriptor has as many attributes as it says.
        let natts = unsafe { (*self.desc).natts };
        (0..natts)
            .filter_map(|n| {
                // SAFETY: as above; names end with a NUL.
                let attribute = unsafe { &*attribute(self.desc, n) };
                let compared = !attribute.attisdropped && attribute.attgenerated == 0;
                if !compared || self.is_same(other, attribute) {
                    return None;
                }
                // SAFETY: as above.
                let name = unsafe { CStr::from_ptr(attribute.attname.data.as_ptr()) };
                Some((attribute.attnum, name.to_string_lossy().into_owned()))
            })
            .collect()
    }

    fn is_same(&self, other: &Tuple<'_>, attribute: &pg_sys::FormData_pg_attribute) -> bool {
        match (self.datum(attribute.attnum), other.datum(attribute.attnum)) {
            (None, None) => true,
            // SAFETY: both values are of the attribute's type. An error (in unpacking one) becomes a panic, as it does
            // in every function of pg_sys.
            (Some(one), Some(two)) => unsafe {
                pg_sys::ffi::pg_guard_ffi_boundary(|| {
                    datum_image_eq(one, two, attribute.attbyval, i32::from(attribute.attlen))
                })
            },
            _ => false,
        }
    }

    /// The whole row as JSON.
    pub fn json(&self) -> serde_json::Value {
        // SAFETY: a composite datum made of a valid tuple is what `row_to_json` takes; it returns text, copied here.
        let text = unsafe {
            let datum = pg_sys::heap_copy_tuple_as_datum(self.tuple, self.desc);
            pgrx::direct_function_call::<String>(pg_sys::row_to_json, &[Some(datum)])
        };
        let mut row = text
            .and_then(|t| serde_json::from_str(&t).ok())
            .unwrap_or(serde_json::Value::Null);
        self.leave_out_virtual_columns(&mut row);
        row
    }

    /// Virtual generated columns are not stored: a tuple says NULL of them, which they are not.
    #[cfg(feature = "pg18")]
    fn leave_out_virtual_columns(&self, row: &mut serde_json::Value) {
        let Some(columns) = row.as_object_mut() else {
            return;
        };
        // SAFETY: a descriptor has as many attributes as it says.
        for n in 0..unsafe { (*self.desc).natts } {
            // SAFETY: as above; names end with a NUL.
            unsafe {
                let attribute = &*attribute(self.desc, n);
                if attribute.attgenerated as u8 == pg_sys::ATTRIBUTE_GENERATED_VIRTUAL {
                    let name = CStr::from_ptr(attribute.attname.data.as_ptr());
                    columns.remove(name.to_string_lossy().as_ref());
                }
            }
        }
    }

    #[cfg(not(feature = "pg18"))]
    const fn leave_out_virtual_columns(&self, _: &mut serde_json::Value) {}
}

unsafe extern "C-unwind" {
    /// Are two values stored as the same bytes, once they are unpacked?
    fn datum_image_eq(one: pg_sys::Datum, two: pg_sys::Datum, by_value: bool, length: i32) -> bool;
}

/// The nth attribute.
///
/// # Safety
/// The descriptor is valid and has more than `n` attributes.
#[cfg(feature = "pg18")]
unsafe fn attribute(desc: pg_sys::TupleDesc, n: i32) -> *const pg_sys::FormData_pg_attribute {
    // SAFETY: by the caller.
    unsafe { pg_sys::TupleDescAttr(desc, n) }
}

/// The nth attribute.
///
/// # Safety
/// The descriptor is valid and has more than `n` attributes.
#[cfg(not(feature = "pg18"))]
unsafe fn attribute(desc: pg_sys::TupleDesc, n: i32) -> *const pg_sys::FormData_pg_attribute {
    // SAFETY: by the caller.
    unsafe { (*desc).attrs.as_ptr().add(n as usize) }
}
