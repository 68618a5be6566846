//! What a scan looks for.

use authz_engine::Instant;
use pgrx::pg_sys;
use std::ffi::CString;
use uuid::Uuid;

/// `column operator value` in a scan.
#[derive(Clone, Copy)]
pub struct ScanKey {
    attno: i16,
    strategy: u32,
    procedure: pg_sys::Oid,
    collation: pg_sys::Oid,
    /// `None` = IS NULL.
    value: Option<pg_sys::Datum>,
}

impl ScanKey {
    const fn equal(attno: i16, procedure: u32, value: pg_sys::Datum) -> ScanKey {
        ScanKey {
            attno,
            strategy: pg_sys::BTEqualStrategyNumber,
            procedure: pg_sys::Oid::from_u32(procedure),
            collation: pg_sys::C_COLLATION_OID,
            value: Some(value),
        }
    }

    /// `column = id`. The id must outlive the scan.
    pub fn uuid(attno: i16, id: &Uuid) -> ScanKey {
        ScanKey::equal(attno, pg_sys::F_UUID_EQ, pg_sys::Datum::from(id.as_bytes().as_ptr()))
    }

    /// `column = number`, for a column of that width.
    pub fn int2(attno: i16, number: i16) -> ScanKey {
        ScanKey::equal(attno, pg_sys::F_INT2EQ, pg_sys::Datum::from(number))
    }

    /// `column = number`, for a column of that width.
    pub fn int4(attno: i16, number: i32) -> ScanKey {
        ScanKey::equal(attno, pg_sys::F_INT4EQ, pg_sys::Datum::from(number))
    }

    /// `column = number`, for a column of that width.
    pub fn int8(attno: i16, number: i64) -> ScanKey {
        ScanKey::equal(attno, pg_sys::F_INT8EQ, pg_sys::Datum::from(number))
    }

    /// `column = text`, for a column with collation "C".
    pub fn text(attno: i16, text: &str) -> ScanKey {
        // SAFETY: copies the bytes into a text in the current memory context, which outlives the scan.
        let datum = unsafe { pg_sys::cstring_to_text_with_len(text.as_ptr().cast(), text.len() as i32) };
        ScanKey::equal(attno, pg_sys::F_TEXTEQ, pg_sys::Datum::from(datum))
    }

    /// `column = name`.
    pub fn name(attno: i16, name: &str) -> ScanKey {
        let name = CString::new(name).unwrap_or_default();
        // SAFETY: copies into a `name` in the current memory context, which outlives the scan. What is longer than a
        // name is cut, as the server cuts identifiers.
        let datum =
            unsafe { pgrx::direct_function_call_as_datum(pg_sys::namein, &[Some(pg_sys::Datum::from(name.as_ptr()))]) };
        ScanKey::equal(attno, pg_sys::F_NAMEEQ, datum.unwrap_or(pg_sys::Datum::from(0usize)))
    }

    /// `column > instant`.
    pub fn after(attno: i16, at: Instant) -> ScanKey {
        ScanKey {
            strategy: pg_sys::BTGreaterStrategyNumber,
            ..ScanKey::equal(attno, pg_sys::F_TIMESTAMPTZ_GT, pg_sys::Datum::from(at))
        }
    }

    /// `column > id`. The id must outlive the scan.
    pub fn uuid_above(attno: i16, id: &Uuid) -> ScanKey {
        ScanKey {
            strategy: pg_sys::BTGreaterStrategyNumber,
            ..ScanKey::equal(attno, pg_sys::F_UUID_GT, pg_sys::Datum::from(id.as_bytes().as_ptr()))
        }
    }

    /// `column = oid`.
    pub fn oid(attno: i16, oid: pg_sys::Oid) -> ScanKey {
        ScanKey::equal(attno, pg_sys::F_OIDEQ, pg_sys::Datum::from(oid))
    }

    /// `column IS NULL`.
    pub fn null(attno: i16) -> ScanKey {
        ScanKey {
            value: None,
            ..ScanKey::equal(attno, 0, pg_sys::Datum::from(0usize))
        }
    }

    /// The same under another collation.
    pub fn collated(self, collation: pg_sys::Oid) -> ScanKey {
        ScanKey { collation, ..self }
    }

    /// # Safety
    /// The column's type must be the operator's.
    pub(super) unsafe fn fill(&self, raw: &mut pg_sys::ScanKeyData) {
        let (flags, strategy) = match self.value {
            Some(_) => (0, self.strategy),
            None => ((pg_sys::SK_ISNULL | pg_sys::SK_SEARCHNULL) as i32, 0),
        };
        // SAFETY: `raw` is ours; the procedure is a built-in one, or none for IS NULL.
        unsafe {
            pg_sys::ScanKeyEntryInitialize(
                raw,
                flags,
                self.attno,
                strategy as pg_sys::StrategyNumber,
                pg_sys::InvalidOid,
                self.collation,
                self.procedure,
                self.value.unwrap_or(pg_sys::Datum::from(0usize)),
            );
        }
    }
}
