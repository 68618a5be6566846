//! Opening relations and scanning them.

mod scan_key;
mod spot;
mod tuple;

use pgrx::pg_sys;
use std::ffi::{CStr, CString};

pub use scan_key::ScanKey;
pub use spot::Spot;
pub use tuple::Tuple;

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
                if tuple.is_null() || !each(&Tuple::new(tuple, desc).in_slot((*scan.0).slot)) {
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

    /// Does it see what that transaction, which is the current one or has committed, has done?
    pub fn sees(&self, by: pg_sys::TransactionId) -> bool {
        // SAFETY: registered for as long as `self` lives.
        unsafe { pg_sys::TransactionIdIsCurrentTransactionId(by) || !pg_sys::XidInMVCCSnapshot(by, self.0) }
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

/// The transaction that wrote a relation's row of pg_class.
pub fn class_written_by(oid: pg_sys::Oid) -> pg_sys::TransactionId {
    // SAFETY: a syscache look-up; its result is a row, released when it has been looked at.
    unsafe {
        let row = pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::RELOID as i32, oid.into());
        if row.is_null() {
            return pg_sys::FrozenTransactionId;
        }
        let by = Tuple::new(row, std::ptr::null_mut()).written_by();
        pg_sys::ReleaseSysCache(row);
        by
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
