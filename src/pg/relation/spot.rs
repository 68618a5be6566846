//! Where a row was found, so that it is found again without a search: from the root of an index to a leaf are some twenty
//! memory accesses that a processor waits for, to a known page three.

use super::{Relation, Tuple};
use pgrx::{itemptr, pg_sys};

/// Where a version of a row was found: a hint, and nothing to rely on. It may be another row's by now, or of another page.
#[derive(Clone, Copy, Debug)]
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
    /// that was looked for; so does this.
    pub fn revisit(&self, spot: Spot, read: impl FnOnce(&Tuple<'_>) -> bool) -> bool {
        // SAFETY: the relation is open. A buffer that still holds that block of its storage is pinned, so that the block is
        // one that can be fetched from a heap; what is fetched is visible to the active snapshot, and stays in its page while
        // that is pinned.
        unsafe {
            if (*(*self.raw()).rd_rel).relam != pg_sys::HEAP_TABLE_AM_OID {
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
            let _block = Pin(spot.buffer);
            let mut tuple = pg_sys::HeapTupleData {
                t_self: spot.tid,
                ..Default::default()
            };
            let mut buffer = 0;
            let snapshot = pg_sys::GetActiveSnapshot();
            if !pg_sys::heap_fetch(self.raw(), snapshot, &raw mut tuple, &raw mut buffer, false) {
                return false;
            }
            let _row = Pin(buffer);
            read(&Tuple::new(&raw mut tuple, (*self.raw()).rd_att))
        }
    }
}
