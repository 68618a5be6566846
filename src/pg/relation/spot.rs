//! Where a row was found, so that it is found again without a search: from the root of an index to a leaf are some twenty
//! memory accesses that a processor waits for, to a known page three.

use super::{Relation, Tuple};
use pgrx::{itemptr, pg_sys};
use std::cell::Cell;

/// Where a version of a row was found: a hint, and nothing to rely on. It may be another row's by now, or of another page.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spot {
    tid: pg_sys::ItemPointerData,
    buffer: pg_sys::Buffer,
}

impl Spot {
    /// The place of a tuple in a slot that a scan of a heap has filled; of others none.
    ///
    /// # Safety
    /// `slot` is a slot, and `tuple` the tuple in it.
    pub(super) unsafe fn of(slot: *mut pg_sys::TupleTableSlot, tuple: pg_sys::HeapTuple) -> Option<Spot> {
        // SAFETY: slots with these operations are of this type.
        unsafe {
            if !std::ptr::eq((*slot).tts_ops, &raw const pg_sys::TTSOpsBufferHeapTuple) {
                return None;
            }
            let buffer = (*slot.cast::<pg_sys::BufferHeapTupleTableSlot>()).buffer;
            (buffer != 0).then_some(Spot {
                tid: (*tuple).t_self,
                buffer,
            })
        }
    }
}

/// A page that is held in its buffer.
struct Pin(pg_sys::Buffer);

thread_local! {
    /// A number at random for each visit of a page.
    static VISIT: Cell<u32> = const { Cell::new(1) };
}

impl Pin {
    /// The same page. What is found in its buffer is not used, as PostgreSQL counts, and would leave it before what is read
    /// once: so at one visit of 16, without a pattern, it is looked for as others do it.
    ///
    /// # Safety
    /// It is that block of the relation, which is open and locked.
    unsafe fn used(self, relation: &Relation, block: pg_sys::BlockNumber) -> Pin {
        VISIT.set(VISIT.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        if VISIT.get() >> 28 != 0 {
            return self;
        }
        drop(self);
        // SAFETY: while the table is locked its blocks stay.
        Pin(unsafe { pg_sys::ReadBuffer(relation.raw(), block) })
    }

    /// Finds the tuple `t_self`, if the active snapshot sees it. `heap_fetch` does the same after it has looked for the buffer,
    /// which takes as long again.
    ///
    /// # Safety
    /// The page is one of the heap `t_tableOid`; the tuple is valid for as long as the page is held.
    unsafe fn fetch(&self, tuple: &mut pg_sys::HeapTupleData) -> bool {
        // SAFETY: while it is locked, a page is in order: as many line pointers as there is space for below `pd_lower`, and
        // where a normal one points to there is a tuple.
        unsafe {
            pg_sys::LockBuffer(self.0, pg_sys::BUFFER_LOCK_SHARE as i32);
            let page = pg_sys::BufferGetPage(self.0).cast::<pg_sys::PageHeaderData>();
            let lines = (&raw const (*page).pd_linp).cast::<pg_sys::ItemIdData>();
            let space = usize::from((*page).pd_lower).saturating_sub(size_of::<pg_sys::PageHeaderData>());
            let number = usize::from(tuple.t_self.ip_posid);
            let mut seen = false;
            if (1..=space / size_of::<pg_sys::ItemIdData>()).contains(&number) {
                let line = *lines.add(number - 1);
                if line.lp_flags() == pg_sys::LP_NORMAL {
                    tuple.t_len = line.lp_len();
                    tuple.t_data = page.byte_add(line.lp_off() as usize).cast();
                    seen = pg_sys::HeapTupleSatisfiesVisibility(tuple, pg_sys::GetActiveSnapshot(), self.0);
                }
            }
            pg_sys::LockBuffer(self.0, pg_sys::BUFFER_LOCK_UNLOCK as i32);
            seen
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: pinned by us, released once.
            unsafe { pg_sys::ReleaseBuffer(self.0) }
        }
    }
}

impl Relation {
    /// Reads the version of a row at `spot`, if there is one that the running statement sees. `read` says whether it is the one
    /// that was looked for; so does this. In serializable transactions nothing is found: what they have read is noted by
    /// whoever searches.
    pub fn revisit(&self, spot: Spot, read: impl FnOnce(&Tuple<'_>) -> bool) -> bool {
        // SAFETY: the relation is open, and a heap. A buffer that still holds that block of its storage is pinned, so that it
        // goes on doing so; what is visible to the active snapshot stays in its page for as long.
        unsafe {
            if (*(*self.raw()).rd_rel).relam != pg_sys::HEAP_TABLE_AM_OID
                || pg_sys::XactIsoLevel == pg_sys::XACT_SERIALIZABLE as i32
            {
                return false;
            }
            #[cfg(feature = "pg15")]
            let storage = (*self.raw()).rd_node;
            #[cfg(not(feature = "pg15"))]
            let storage = (*self.raw()).rd_locator;
            let block = itemptr::item_pointer_get_block_number_no_check(spot.tid);
            if !pg_sys::ReadRecentBuffer(storage, pg_sys::ForkNumber::MAIN_FORKNUM, block, spot.buffer) {
                return false;
            }
            let page = Pin(spot.buffer).used(self, block);
            let mut tuple = pg_sys::HeapTupleData {
                t_self: spot.tid,
                t_tableOid: self.oid(),
                ..Default::default()
            };
            page.fetch(&mut tuple) && read(&Tuple::new(&raw mut tuple, (*self.raw()).rd_att))
        }
    }
}
