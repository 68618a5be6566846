//! Opening relations, scanning them, taking rows apart.

use authz_engine::{Instant, Interval};
use pgrx::{FromDatum, JsonB, pg_sys};
use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use uuid::Uuid;

/// A relation opened with `AccessShareLock`. The lock is kept until the end of the transaction, as for every
/// table that a query reads.
pub struct Relation {
    raw: pg_sys::Relation,
}

impl Relation {
    /// Opens it; `None` if there is no such relation (any more).
    pub fn open(oid: pg_sys::Oid) -> Option<Relation> {
        // SAFETY: locks first and looks then, so that a concurrent DROP cannot slip in between; NULL = gone.
        let raw = unsafe { pg_sys::try_table_open(oid, pg_sys::AccessShareLock as i32) };
        (!raw.is_null()).then(|| Relation { raw })
    }

    /// Locks a table as an INSERT does, until the end of the transaction, and learns what others have done to it.
    pub fn lock_for_insert(oid: pg_sys::Oid) {
        // SAFETY: takes a heavyweight lock, and receives invalidations as every lock does.
        unsafe { pg_sys::LockRelationOid(oid, pg_sys::RowExclusiveLock as i32) }
    }

    /// Its OID.
    pub fn oid(&self) -> pg_sys::Oid {
        // SAFETY: open.
        unsafe { (*self.raw).rd_id }
    }

    /// PostgreSQL's pointer, valid while `self` is.
    pub(super) fn raw(&self) -> pg_sys::Relation {
        self.raw
    }

    /// The attribute number of a column.
    pub fn column(&self, name: &str) -> Option<i16> {
        let name = CString::new(name).ok()?;
        // SAFETY: a syscache look-up by a NUL-terminated name.
        match unsafe { pg_sys::get_attnum(self.oid(), name.as_ptr()) } {
            0 => None,
            attno => Some(attno),
        }
    }

    /// Scans under `snapshot`.
    pub fn scan(
        &self,
        snapshot: &Snapshot,
        index: Option<pg_sys::Oid>,
        keys: &[ScanKey],
        each: impl FnMut(&Tuple<'_>) -> bool,
    ) {
        // SAFETY: registered for as long as `snapshot` lives.
        unsafe { self.scan_raw(snapshot.0, index, keys, each) }
    }

    /// Scans under the snapshot of the running statement.
    pub fn scan_active(&self, index: Option<pg_sys::Oid>, keys: &[ScanKey], each: impl FnMut(&Tuple<'_>) -> bool) {
        // SAFETY: a function called by the executor has an active snapshot, which outlives the call.
        unsafe { self.scan_raw(pg_sys::GetActiveSnapshot(), index, keys, each) }
    }

    /// # Safety
    /// `snapshot` is valid until this returns.
    unsafe fn scan_raw(
        &self,
        snapshot: pg_sys::Snapshot,
        index: Option<pg_sys::Oid>,
        keys: &[ScanKey],
        mut each: impl FnMut(&Tuple<'_>) -> bool,
    ) {
        let mut raw_keys = [pg_sys::ScanKeyData::default(); 4];
        assert!(keys.len() <= raw_keys.len(), "at most four keys a scan");
        // SAFETY: keys name operators of the columns' own types; index, keys and relation outlive the scan, and the
        // scan is ended by its guard, or by the resource owner when an error unwinds past us.
        unsafe {
            for (key, raw) in keys.iter().zip(&mut raw_keys) {
                key.fill(raw);
            }
            let desc = (*self.raw).rd_att;
            let scan = Scan(pg_sys::systable_beginscan(
                self.raw,
                index.unwrap_or(pg_sys::InvalidOid),
                index.is_some(),
                snapshot,
                keys.len() as i32,
                raw_keys.as_mut_ptr(),
            ));
            loop {
                pgrx::check_for_interrupts!();
                let tuple = pg_sys::systable_getnext(scan.0);
                if tuple.is_null() || !each(&Tuple::new(tuple, desc)) {
                    break;
                }
            }
        }
    }
}

impl Drop for Relation {
    fn drop(&mut self) {
        // While an error unwinds, PostgreSQL's own clean-up closes the relation; calling into it now could raise a
        // second error, which would abort the process.
        if !std::thread::panicking() {
            // SAFETY: opened by us, closed once.
            unsafe { pg_sys::table_close(self.raw, pg_sys::NoLock as i32) }
        }
    }
}

/// A snapshot newer than every invalidation message received so far, whatever the isolation level.
///
/// It is the one that PostgreSQL reads its catalogs by, which is taken anew for every table that is none. Unlike
/// `GetLatestSnapshot` it works in parallel workers. One is used for all that belongs together: two would let a
/// commit in between show one half of itself.
pub struct Snapshot(pg_sys::Snapshot);

impl Snapshot {
    /// Takes one.
    pub fn fresh() -> Snapshot {
        // SAFETY: registering copies the static snapshot and ties the copy to the current resource owner.
        Snapshot(unsafe { pg_sys::RegisterSnapshot(pg_sys::GetCatalogSnapshot(pg_sys::InvalidOid)) })
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: registered by us, unregistered once.
            unsafe { pg_sys::UnregisterSnapshot(self.0) }
        }
    }
}

/// The name of a relation with its schema, quoted as SQL needs it; of one that is gone, its number.
pub fn qualified_name(oid: pg_sys::Oid) -> String {
    // SAFETY: syscache look-ups, whose names are palloc'ed copies or NULL.
    unsafe {
        let name = pg_sys::get_rel_name(oid);
        let namespace = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(oid));
        if name.is_null() || namespace.is_null() {
            return oid.to_u32().to_string();
        }
        let quoted = pg_sys::quote_qualified_identifier(namespace, name);
        CStr::from_ptr(quoted).to_string_lossy().into_owned()
    }
}

/// May the current role do with a relation what its owner may?
pub fn is_owned(oid: pg_sys::Oid) -> bool {
    // SAFETY: a look-up of a relation that exists.
    unsafe {
        let role = pg_sys::GetUserId();
        #[cfg(feature = "pg15")]
        return pg_sys::pg_class_ownercheck(oid, role);
        #[cfg(not(feature = "pg15"))]
        return pg_sys::object_ownercheck(pg_sys::RelationRelationId, oid, role);
    }
}

struct Scan(pg_sys::SysScanDesc);

impl Drop for Scan {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: begun by us, ended once.
            unsafe { pg_sys::systable_endscan(self.0) }
        }
    }
}

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
    unsafe fn fill(&self, raw: &mut pg_sys::ScanKeyData) {
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

/// A row, valid until the scan moves on.
pub struct Tuple<'a> {
    tuple: pg_sys::HeapTuple,
    desc: pg_sys::TupleDesc,
    _scan: PhantomData<&'a ()>,
}

impl Tuple<'_> {
    /// # Safety
    /// `tuple` is a valid tuple of the row type `desc`, for as long as the result lives.
    pub(super) const unsafe fn new(tuple: pg_sys::HeapTuple, desc: pg_sys::TupleDesc) -> Self {
        Tuple {
            tuple,
            desc,
            _scan: PhantomData,
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
