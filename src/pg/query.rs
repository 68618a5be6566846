//! Queries over many rows, read one after the other.

use super::statement::Parameter;
use pgrx::varlena::{varatt_is_1b_e, varatt_is_4b_c, varlena_to_byte_slice};
use pgrx::{FromDatum, pg_sys};
use ring::digest::Context;
use std::ffi::{CStr, CString, c_char};
use uuid::Uuid;

/// Rows that are fetched at once.
const FETCH: i64 = 1000;

/// How a column's value becomes bytes.
enum Form {
    /// A number of so many bytes, most significant first.
    Number(usize),
    /// 16 bytes.
    Uuid,
    /// A variable-length value whose bytes are its text.
    Text,
    /// A `name`.
    Name,
    /// Whatever else: the text of its output function.
    Output(Box<pg_sys::FmgrInfo>),
}

fn form(type_oid: pg_sys::Oid) -> Form {
    match type_oid {
        pg_sys::BOOLOID => Form::Number(1),
        pg_sys::INT2OID => Form::Number(2),
        pg_sys::INT4OID => Form::Number(4),
        pg_sys::INT8OID | pg_sys::TIMESTAMPTZOID | pg_sys::XID8OID => Form::Number(8),
        pg_sys::UUIDOID => Form::Uuid,
        pg_sys::TEXTOID | pg_sys::VARCHAROID => Form::Text,
        pg_sys::NAMEOID => Form::Name,
        other => {
            let (mut function, mut is_varlena) = (pg_sys::InvalidOid, false);
            let mut info = Box::new(pg_sys::FmgrInfo::default());
            // SAFETY: the type of a column exists, and has an output function. What is looked up lives in the memory
            // context of the query.
            unsafe {
                pg_sys::getTypeOutputInfo(other, &mut function, &mut is_varlena);
                pg_sys::fmgr_info(function, &mut *info);
            }
            Form::Output(info)
        }
    }
}

/// A row of the query, valid until the next one.
pub struct Row<'a> {
    values: &'a [pg_sys::Datum],
    nulls: &'a [bool],
    forms: &'a mut [Form],
}

impl Row<'_> {
    fn datum(&self, column: usize) -> Option<pg_sys::Datum> {
        (!self.nulls[column]).then(|| self.values[column])
    }

    /// A uuid column.
    pub fn uuid(&self, column: usize) -> Option<Uuid> {
        // SAFETY: a uuid is 16 bytes, never compressed, at any alignment.
        self.datum(column)
            .map(|d| unsafe { Uuid::from_bytes(*d.cast_mut_ptr::<[u8; 16]>()) })
    }

    /// A column of type bigint, timestamptz or xid8.
    pub fn int8(&self, column: usize) -> Option<i64> {
        self.datum(column).map(|d| d.value() as i64)
    }

    /// A text column.
    pub fn text(&self, column: usize) -> Option<String> {
        // SAFETY: the column is of a text type; the value is copied.
        self.datum(column).and_then(|d| unsafe { String::from_datum(d, false) })
    }

    /// A text[] column.
    pub fn texts(&self, column: usize) -> Option<Vec<String>> {
        // SAFETY: the column is of that type; the values are copied.
        self.datum(column)
            .and_then(|d| unsafe { Vec::<String>::from_datum(d, false) })
    }

    /// A bytea column.
    pub fn bytes(&self, column: usize) -> Option<Vec<u8>> {
        // SAFETY: the column is of type bytea; the value is copied.
        self.datum(column).and_then(|d| unsafe { Vec::from_datum(d, false) })
    }

    /// Adds the canonical form of the columns from `first` on: for each one whether it is NULL, its length, its bytes.
    /// The same on every machine and in every version of PostgreSQL, whatever the session's settings.
    pub fn digest(&mut self, first: usize, digest: &mut Context) {
        for column in first..self.values.len() {
            let Some(datum) = self.datum(column) else {
                digest.update(&[0]);
                continue;
            };
            let mut put = |bytes: &[u8]| {
                let mut head = [1; 5];
                head[1..].copy_from_slice(&(bytes.len() as u32).to_be_bytes());
                digest.update(&head);
                digest.update(bytes);
            };
            // SAFETY: each value is of the type that its form was made for; detoasted copies live until the memory
            // context of the batch is reset.
            unsafe {
                match &mut self.forms[column] {
                    Form::Number(n) => put(&(datum.value() as u64).to_be_bytes()[8 - *n..]),
                    Form::Uuid => put(&*datum.cast_mut_ptr::<[u8; 16]>()),
                    Form::Text => {
                        let mut text = datum.cast_mut_ptr();
                        if varatt_is_1b_e(text) || varatt_is_4b_c(text) {
                            text = pg_sys::pg_detoast_datum_packed(text);
                        }
                        put(varlena_to_byte_slice(text));
                    }
                    Form::Name => put(CStr::from_ptr(datum.cast_mut_ptr()).to_bytes()),
                    Form::Output(info) => {
                        put(CStr::from_ptr(pg_sys::OutputFunctionCall(&mut **info, datum)).to_bytes())
                    }
                }
            }
        }
    }
}

/// Runs a query, under a new snapshot where the isolation level has such, and calls `each` for its rows until it
/// returns false.
pub fn for_each(
    sql: &str,
    types: &[pg_sys::Oid],
    parameters: &[Parameter],
    mut each: impl FnMut(&mut Row<'_>) -> bool,
) {
    assert_eq!(parameters.len(), types.len(), "a parameter for each type");
    let sql = CString::new(sql).expect("our statements have no NUL");
    let mut types = types.to_vec();
    let mut values: Vec<pg_sys::Datum> = parameters.iter().map(Parameter::value).collect();
    let nulls: Vec<c_char> = parameters.iter().map(Parameter::null).collect();
    // SAFETY: types, values and nulls have an element for each parameter. Should anything raise an error, the rollback
    // of the (sub)transaction closes the portal and ends SPI.
    unsafe {
        assert!(pg_sys::SPI_connect() >= 0, "SPI can be entered");
        let portal = pg_sys::SPI_cursor_open_with_args(
            std::ptr::null(),
            sql.as_ptr(),
            types.len() as i32,
            types.as_mut_ptr(),
            values.as_mut_ptr(),
            nulls.as_ptr(),
            false,
            0,
        );
        let batch = pg_sys::AllocSetContextCreateExtended(
            pg_sys::CurrentMemoryContext,
            c"authz_ext rows".as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        );
        let mut row_values: Vec<pg_sys::Datum> = Vec::new();
        let mut row_nulls: Vec<bool> = Vec::new();
        let mut forms: Vec<Form> = Vec::new();
        let mut more = true;
        while more {
            pgrx::check_for_interrupts!();
            pg_sys::SPI_cursor_fetch(portal, true, FETCH);
            let table = &mut *pg_sys::SPI_tuptable;
            let count = pg_sys::SPI_processed as usize;
            let desc = table.tupdesc;
            if forms.is_empty() {
                let columns = (*desc).natts as usize;
                row_values.resize(columns, pg_sys::Datum::from(0usize));
                row_nulls.resize(columns, true);
                forms.extend((0..columns).map(|n| form(pg_sys::SPI_gettypeid(desc, n as i32 + 1))));
            }
            let outside = pg_sys::MemoryContextSwitchTo(batch);
            for n in 0..count {
                pg_sys::heap_deform_tuple(
                    *table.vals.add(n),
                    desc,
                    row_values.as_mut_ptr(),
                    row_nulls.as_mut_ptr(),
                );
                more = each(&mut Row {
                    values: &row_values,
                    nulls: &row_nulls,
                    forms: &mut forms,
                });
                if !more {
                    break;
                }
            }
            pg_sys::MemoryContextSwitchTo(outside);
            pg_sys::MemoryContextReset(batch);
            pg_sys::SPI_freetuptable(table);
            more &= count > 0;
        }
        pg_sys::SPI_cursor_close(portal);
        pg_sys::SPI_finish();
    }
}

/// Does the transaction keep one snapshot, so that what has been committed since cannot be seen?
pub fn keeps_snapshot() -> bool {
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}
