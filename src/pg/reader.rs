//! Reads the rows of a query one after the other, as text, and keeps none of them: what COPY does for a query.
//!
//! The query reads one relation, its source, by the privileges of the source's owner, as a view would. Row security is
//! that of the role which acts (see [`identity::as_acting_role`]): a definer's rights must not open rows.

use super::identity;
use crate::error;
use pgrx::varlena::{varatt_is_1b_e, varatt_is_4b_c, varlena_to_byte_slice};
use pgrx::{PgList, pg_guard, pg_sys};
use std::ffi::{CStr, CString};
use std::ptr;

/// What becomes of the rows.
pub trait Sink {
    /// The names of the columns; called once, also where there are no rows.
    fn begin(&mut self, names: &[String]);
    /// A row; no further ones are wanted where it returns false.
    fn row(&mut self, values: &mut Values<'_>) -> bool;
}

/// How a column's value becomes text.
enum Form {
    /// Its bytes are text.
    Text,
    /// By the output function of its type.
    Output(Box<pg_sys::FmgrInfo>),
}

/// The values of a row.
pub struct Values<'a> {
    values: &'a [pg_sys::Datum],
    nulls: &'a [bool],
    forms: &'a mut [Form],
}

impl Values<'_> {
    /// How many there are.
    pub const fn len(&self) -> usize {
        self.values.len()
    }

    /// The text of one of them; `None` is NULL.
    pub fn text(&mut self, column: usize) -> Option<&[u8]> {
        if self.nulls[column] {
            return None;
        }
        let datum = self.values[column];
        // SAFETY: the value is of the type that the form was made for; copies live until the memory context of the row
        // is reset, after the row.
        unsafe {
            Some(match &mut self.forms[column] {
                Form::Text => {
                    let mut text = datum.cast_mut_ptr();
                    if varatt_is_1b_e(text) || varatt_is_4b_c(text) {
                        text = pg_sys::pg_detoast_datum_packed(text);
                    }
                    varlena_to_byte_slice(text)
                }
                Form::Output(info) => CStr::from_ptr(pg_sys::OutputFunctionCall(&mut **info, datum)).to_bytes(),
            })
        }
    }
}

/// Where the executor puts rows.
#[repr(C)]
struct Receiver<'a> {
    /// First, because the executor knows nothing of the rest.
    base: pg_sys::DestReceiver,
    sink: &'a mut dyn Sink,
    forms: Vec<Form>,
    /// What a row needs.
    row: pg_sys::MemoryContext,
}

#[pg_guard]
unsafe extern "C-unwind" fn startup(dest: *mut pg_sys::DestReceiver, _operation: i32, desc: pg_sys::TupleDesc) {
    // SAFETY: the executor hands back the receiver that `read` gave it, with the description of its rows. What is looked
    // up lives in the memory context of the query.
    unsafe {
        let receiver = &mut *dest.cast::<Receiver<'_>>();
        let columns = (*desc).natts as usize;
        let mut names = Vec::with_capacity(columns);
        for column in 0..columns {
            let number = column as i32 + 1;
            let name = pg_sys::SPI_fname(desc, number);
            names.push(CStr::from_ptr(name).to_string_lossy().into_owned());
            receiver.forms.push(match pg_sys::SPI_gettypeid(desc, number) {
                pg_sys::TEXTOID | pg_sys::VARCHAROID => Form::Text,
                other => {
                    let (mut function, mut is_varlena) = (pg_sys::InvalidOid, false);
                    let mut info = Box::new(pg_sys::FmgrInfo::default());
                    pg_sys::getTypeOutputInfo(other, &mut function, &mut is_varlena);
                    pg_sys::fmgr_info(function, &mut *info);
                    Form::Output(info)
                }
            });
        }
        receiver.sink.begin(&names);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn receive(slot: *mut pg_sys::TupleTableSlot, dest: *mut pg_sys::DestReceiver) -> bool {
    // SAFETY: as in `startup`; after `slot_getallattrs` the slot has a value and a flag for each column.
    unsafe {
        let receiver = &mut *dest.cast::<Receiver<'_>>();
        pg_sys::slot_getallattrs(slot);
        let columns = receiver.forms.len();
        let outside = pg_sys::MemoryContextSwitchTo(receiver.row);
        let more = receiver.sink.row(&mut Values {
            values: std::slice::from_raw_parts((*slot).tts_values, columns),
            nulls: std::slice::from_raw_parts((*slot).tts_isnull, columns),
            forms: &mut receiver.forms,
        });
        pg_sys::MemoryContextSwitchTo(outside);
        pg_sys::MemoryContextReset(receiver.row);
        more
    }
}

unsafe extern "C-unwind" fn shutdown(_: *mut pg_sys::DestReceiver) {}

/// Has the privileges of `owner` checked for the source, wherever the query reads it; how often that is.
///
/// # Safety
///
/// The query is one that the parser or the rewriter has returned.
unsafe fn read_as(query: *mut pg_sys::Query, source: pg_sys::Oid, owner: pg_sys::Oid) -> usize {
    let mut found = 0;
    // SAFETY: the range table is a list of its entries, and one of a sub-query has that query.
    unsafe {
        for entry in PgList::<pg_sys::RangeTblEntry>::from_pg((*query).rtable).iter_ptr() {
            match (*entry).rtekind {
                pg_sys::RTEKind::RTE_SUBQUERY => found += read_as((*entry).subquery, source, owner),
                pg_sys::RTEKind::RTE_RELATION if (*entry).relid == source => {
                    #[cfg(feature = "pg15")]
                    {
                        (*entry).checkAsUser = owner;
                    }
                    #[cfg(not(feature = "pg15"))]
                    {
                        (*pg_sys::getRTEPermissionInfo((*query).rteperminfos, entry)).checkAsUser = owner;
                    }
                    found += 1;
                }
                _ => {}
            }
        }
    }
    found
}

/// Runs a query, of this extension's own making, that reads `source` once, and hands its rows to `sink`.
pub fn read(sql: &str, source: pg_sys::Oid, sink: &mut dyn Sink) {
    let sql = CString::new(sql).expect("a statement has no NUL");
    // SAFETY: query, plan and rows live in memory contexts that outlast them. Should anything raise an error, the
    // rollback of the (sub)transaction ends the query.
    unsafe {
        let parsed = PgList::<pg_sys::RawStmt>::from_pg(pg_sys::pg_parse_query(sql.as_ptr()));
        assert!(parsed.len() == 1, "it is one statement");
        let raw = parsed.get_ptr(0).expect("a list of one has a first");
        // Names were chosen by us, and may be of schemas that the role which acts cannot use.
        let query = pg_sys::parse_analyze_fixedparams(raw, sql.as_ptr(), ptr::null(), 0, ptr::null_mut());
        let (owner, is_view) = owner(source);
        // A view is expanded by the rewriter, and has its privileges checked where it stood before. Those of a table stand
        // in the end: set before, they would also decide whose policies hold.
        if is_view {
            assert!(read_as(query, source, owner) == 1, "it reads its source once");
        }
        identity::as_acting_role(|| {
            if !is_view && pg_sys::check_enable_rls(source, pg_sys::InvalidOid, true) != RLS_ENABLED {
                error::outside_row_security();
            }
            let rewritten = PgList::<pg_sys::Query>::from_pg(pg_sys::pg_rewrite_query(query));
            assert!(rewritten.len() == 1, "a SELECT stays one statement");
            let query = rewritten.get_ptr(0).expect("a list of one has a first");
            if !is_view {
                assert!(read_as(query, source, owner) == 1, "it reads its source once");
            }
            run(query, &sql, sink);
        });
    }
}

/// Row security holds (`CheckEnableRlsResult`).
const RLS_ENABLED: i32 = pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32;

/// The owner of a relation, and whether it is a view.
unsafe fn owner(source: pg_sys::Oid) -> (pg_sys::Oid, bool) {
    // SAFETY: it was opened, and is locked, by parse analysis.
    unsafe {
        let relation = pg_sys::RelationIdGetRelation(source);
        assert!(!relation.is_null(), "the source is there");
        let row = (*relation).rd_rel;
        let answer = ((*row).relowner, (*row).relkind as u8 == pg_sys::RELKIND_VIEW);
        pg_sys::RelationClose(relation);
        answer
    }
}

unsafe fn run(query: *mut pg_sys::Query, sql: &CStr, sink: &mut dyn Sink) {
    // SAFETY: as in `read`. The receiver outlives the execution, and is the receiver that the callbacks expect.
    unsafe {
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        // In one process: what becomes of the rows is written, which parallel execution forbids.
        let plan = pg_sys::pg_plan_query(query, sql.as_ptr(), 0, ptr::null_mut());
        let row = pg_sys::AllocSetContextCreateExtended(
            pg_sys::CurrentMemoryContext,
            c"authz_ext row".as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        );
        let mut receiver = Receiver {
            base: pg_sys::DestReceiver {
                receiveSlot: Some(receive),
                rStartup: Some(startup),
                rShutdown: Some(shutdown),
                rDestroy: Some(shutdown),
                mydest: pg_sys::CommandDest::DestNone,
            },
            sink,
            forms: Vec::new(),
            row,
        };
        let execution = pg_sys::CreateQueryDesc(
            plan,
            sql.as_ptr(),
            pg_sys::GetActiveSnapshot(),
            ptr::null_mut(),
            (&raw mut receiver).cast(),
            ptr::null_mut(),
            ptr::null_mut(),
            0,
        );
        pg_sys::ExecutorStart(execution, 0);
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        #[cfg(not(feature = "pg18"))]
        pg_sys::ExecutorRun(execution, forward, 0, true);
        #[cfg(feature = "pg18")]
        pg_sys::ExecutorRun(execution, forward, 0);
        pg_sys::ExecutorFinish(execution);
        pg_sys::ExecutorEnd(execution);
        pg_sys::FreeQueryDesc(execution);
        pg_sys::PopActiveSnapshot();
        pg_sys::MemoryContextDelete(row);
    }
}
