//! The extension's own tables, found by name and read by index.
//!
//! They are read as PostgreSQL reads its catalogs: by index scans under a snapshot taken after pending invalidations
//! were received. That is fresh in every isolation level, works in parallel workers and on standbys, asks for no
//! privilege, and assigns no transaction id.

use super::clock;
use super::invalidation::{self, Channel, Stamp};
use super::relation::{Relation, ScanKey, Snapshot, Tuple, class_written_by};
use crate::error;
use hashbrown::HashMap;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::ffi::CString;

/// The schema of the extension's tables. Fixed: the library finds them there.
const SCHEMA: &std::ffi::CStr = c"authz";

#[derive(Default)]
struct Found {
    /// An OID that is looked up again before each load: when it changes, the extension was dropped and created anew.
    anchor: pg_sys::Oid,
    relations: HashMap<&'static str, pg_sys::Oid>,
    columns: HashMap<(&'static str, &'static str), i16>,
}

thread_local! {
    static FOUND: RefCell<Found> = RefCell::default();
}

/// The OID of schema `authz`.
pub fn namespace() -> pg_sys::Oid {
    // SAFETY: a syscache look-up by a NUL-terminated name, without error when it is missing.
    match unsafe { pg_sys::get_namespace_oid(SCHEMA.as_ptr(), true) } {
        pg_sys::InvalidOid => error::not_installed("Schema authz"),
        oid => oid,
    }
}

fn look_up(name: &str) -> pg_sys::Oid {
    let name = CString::new(name).expect("our names have no NUL");
    // SAFETY: a syscache look-up by a NUL-terminated name.
    unsafe { pg_sys::get_relname_relid(name.as_ptr(), namespace()) }
}

/// Forgets OIDs of a former installation.
fn refresh() {
    let anchor = look_up("installation");
    if anchor == pg_sys::InvalidOid {
        error::not_installed("authz.installation");
    }
    if FOUND.with_borrow(|f| f.anchor) != anchor {
        FOUND.set(Found::default());
        invalidation::watch_installation(anchor);
        FOUND.with_borrow_mut(|f| f.anchor = anchor);
    }
}

fn relation(name: &'static str) -> pg_sys::Oid {
    if let Some(oid) = FOUND.with_borrow(|f| f.relations.get(name).copied()) {
        return oid;
    }
    let oid = look_up(name);
    if oid == pg_sys::InvalidOid {
        error::not_installed(&format!("authz.{name}"));
    }
    FOUND.with_borrow_mut(|f| f.relations.insert(name, oid));
    oid
}

/// Is the extension in this database, with its access events? Asked by background workers, which run as a superuser: a
/// schema of the same name that somebody else made is not it.
pub fn installed() -> bool {
    // SAFETY: look-ups by NUL-terminated names, without error when they are missing.
    unsafe {
        let namespace = pg_sys::get_namespace_oid(SCHEMA.as_ptr(), true);
        let extension = pg_sys::get_extension_oid(c"authz_ext".as_ptr(), true);
        namespace != pg_sys::InvalidOid
            && extension != pg_sys::InvalidOid
            && pg_sys::getExtensionOfObject(pg_sys::NamespaceRelationId, namespace) == extension
            && exists("access_audit_event")
    }
}

/// Is there a table `authz.name`?
pub fn exists(name: &str) -> bool {
    look_up(name) != pg_sys::InvalidOid
}

/// The OID of `authz.name`.
pub fn oid(name: &'static str) -> pg_sys::Oid {
    refresh();
    relation(name)
}

/// Reading of things that belong together, under one snapshot, for one cache entry.
pub struct Reading {
    stamp: Stamp,
    snapshot: Snapshot,
}

impl Reading {
    /// Receives what others have committed, and only then takes the snapshot: a message that comes later is newer
    /// than what is read, and the entry's stamp will say so.
    pub fn begin() -> Reading {
        let stamp = Stamp::now();
        refresh();
        let snapshot = Snapshot::fresh();
        clock::advance();
        Reading { stamp, snapshot }
    }

    /// What is read depends on `channel`.
    pub fn depends_on(&mut self, channel: Channel) {
        self.stamp.depends_on(channel);
    }

    /// Opens `authz.name`. Whoever waited for its lock may have waited for somebody who has written it anew, as ALTER TABLE and
    /// TRUNCATE do: by a snapshot from before it is empty, which would be remembered.
    pub fn open(&self, name: &'static str) -> Authority<'_> {
        let Some(relation) = Relation::open(relation(name)) else {
            error::not_installed(&format!("authz.{name}"))
        };
        if !self.snapshot.sees(class_written_by(relation.oid())) {
            error::authority_changed(name);
        }
        Authority {
            name,
            relation,
            snapshot: &self.snapshot,
        }
    }

    /// The stamp for what was read.
    pub fn finish(mut self) -> Stamp {
        self.stamp.close();
        self.stamp
    }
}

/// An open table of the extension.
pub struct Authority<'r> {
    name: &'static str,
    relation: Relation,
    snapshot: &'r Snapshot,
}

impl Authority<'_> {
    /// Attribute numbers of columns, by name: upgrades may add and drop columns.
    pub fn columns<const N: usize>(&self, names: [&'static str; N]) -> [i16; N] {
        names.map(|column| {
            if let Some(attno) = FOUND.with_borrow(|f| f.columns.get(&(self.name, column)).copied()) {
                return attno;
            }
            match self.relation.column(column) {
                Some(attno) => {
                    FOUND.with_borrow_mut(|f| f.columns.insert((self.name, column), attno));
                    attno
                }
                None => error::not_installed(&format!("Column authz.{}.{column}", self.name)),
            }
        })
    }

    /// Calls `each` with every row that fits `keys`, found through `index`; stops early when it returns false.
    pub fn scan(&self, index: &'static str, keys: &[ScanKey], each: impl FnMut(&Tuple<'_>) -> bool) {
        self.relation.scan(self.snapshot, Some(relation(index)), keys, each);
    }

    /// Calls `each` with every row.
    pub fn scan_all(&self, mut each: impl FnMut(&Tuple<'_>)) {
        self.relation.scan(self.snapshot, None, &[], |row| {
            each(row);
            true
        });
    }
}
