//! What a trigger sees, without a copy.

use super::relation::Tuple;
use pgrx::{PgTrigger, pg_sys};
use std::ffi::CString;

/// Is this a worker of logical replication? It applies changes that were made elsewhere, and fires row triggers only
/// (while it copies a table for the first time statement triggers as well).
pub fn in_logical_worker() -> bool {
    // SAFETY: reads a variable of the process.
    unsafe { pg_sys::IsLogicalWorker() }
}

/// A fired trigger.
pub struct Fired<'a> {
    data: &'a pg_sys::TriggerData,
}

impl<'a> Fired<'a> {
    /// What `trigger` sees.
    pub fn new(trigger: &'a PgTrigger<'a>) -> Fired<'a> {
        // SAFETY: pgrx has checked that the function was called as a trigger; the data lives as long as the call.
        Fired {
            data: unsafe { &*std::ptr::from_ref(trigger.trigger_data()) },
        }
    }

    /// The arguments of CREATE TRIGGER.
    pub fn arguments(&self) -> Vec<&'a str> {
        // SAFETY: `tgargs` has `tgnargs` NUL-terminated strings, which live as long as the trigger's cache entry.
        unsafe {
            let trigger = &*self.data.tg_trigger;
            (0..trigger.tgnargs as usize)
                .filter_map(|i| std::ffi::CStr::from_ptr(*trigger.tgargs.add(i)).to_str().ok())
                .collect()
        }
    }

    /// Was it fired by TRUNCATE, so that there are no rows to look at?
    pub const fn is_truncate(&self) -> bool {
        self.data.tg_event & pg_sys::TRIGGER_EVENT_OPMASK == pg_sys::TRIGGER_EVENT_TRUNCATE
    }

    /// The old row and the new one, as far as there are such.
    pub fn rows(&self) -> impl Iterator<Item = Tuple<'a>> {
        // SAFETY: the tuples are of the relation's row type and live as long as the call.
        let tuple =
            |t: pg_sys::HeapTuple| (!t.is_null()).then(|| unsafe { Tuple::new(t, (*self.data.tg_relation).rd_att) });
        [tuple(self.data.tg_trigtuple), tuple(self.data.tg_newtuple)]
            .into_iter()
            .flatten()
    }

    /// The row that is about to be stored: the new one of an UPDATE, the only one of an INSERT.
    pub fn new_row(&self) -> Option<Tuple<'a>> {
        self.rows().last()
    }

    /// The old row and the new one of an UPDATE.
    pub fn update(&self) -> Option<[Tuple<'a>; 2]> {
        let mut rows = self.rows();
        Some([rows.next()?, rows.next()?])
    }

    /// The trigger's table, with its schema.
    pub fn table(&self) -> String {
        // SAFETY: the relation is open during the call; its names end with a NUL.
        unsafe {
            let class = (*self.data.tg_relation).rd_rel;
            let schema = pg_sys::get_namespace_name((*class).relnamespace);
            let quoted = pg_sys::quote_qualified_identifier(schema, (*class).relname.data.as_ptr());
            std::ffi::CStr::from_ptr(quoted).to_string_lossy().into_owned()
        }
    }

    /// The attribute number of a column of the trigger's table.
    pub fn column(&self, name: &str) -> Option<i16> {
        let name = CString::new(name).ok()?;
        // SAFETY: searches the relation's own descriptor.
        let attno = unsafe { pg_sys::SPI_fnumber((*self.data.tg_relation).rd_att, name.as_ptr()) };
        i16::try_from(attno).ok().filter(|a| *a > 0)
    }
}
