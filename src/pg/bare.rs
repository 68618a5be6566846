//! Functions that plans call for every row of a scan, in PostgreSQL's own calling convention.
//!
//! What guards other functions against errors costs more than they do themselves. These answer what can be answered from
//! what the statement has asked before, which cannot fail; everything else they hand on.

use super::plan;
use crate::decision::{As, RowCheck};
use crate::places;
use crate::session;
use authz_engine::Key;
use pgrx::pg_sys::{self, Datum, FunctionCallInfo};
use uuid::Uuid;

unsafe extern "C-unwind" {
    // As PostgreSQL has it, without a guard: an error leaves these functions as it leaves C.
    fn AcceptInvalidationMessages();
    // The functions of src/api/row.rs as PostgreSQL would call them.
    fn row_exact_uuid_wrapper(call: FunctionCallInfo) -> Datum;
    fn row_exact_int_wrapper(call: FunctionCallInfo) -> Datum;
    fn row_exact_text_wrapper(call: FunctionCallInfo) -> Datum;
    fn via_uuid_wrapper(call: FunctionCallInfo) -> Datum;
}

/// What PostgreSQL asks about a function before it calls it.
macro_rules! version_1 {
    ($($name:ident),*) => {$(
        #[doc(hidden)]
        #[unsafe(no_mangle)]
        pub extern "C-unwind" fn $name() -> *const pg_sys::Pg_finfo_record {
            const VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
            &VERSION_1
        }
    )*};
}

version_1!(
    pg_finfo_authz_still,
    pg_finfo_authz_row_exact_uuid,
    pg_finfo_authz_row_exact_int,
    pg_finfo_authz_row_exact_text,
    pg_finfo_authz_via_uuid
);

/// The arguments of a call.
#[derive(Clone, Copy)]
struct Arguments<'a>(&'a [pg_sys::NullableDatum]);

impl<'a> Arguments<'a> {
    /// # Safety
    /// `call` is what PostgreSQL passed to a function.
    unsafe fn of(call: &'a FunctionCallInfo) -> Arguments<'a> {
        // SAFETY: by the caller; the arguments lie behind the call, as many as it says.
        unsafe {
            let call = &**call;
            Arguments(call.args.as_slice(call.nargs as usize))
        }
    }

    fn get(self, n: usize) -> Option<Datum> {
        let argument = self.0.get(n)?;
        (!argument.isnull).then_some(argument.value)
    }

    /// An argument of type uuid.
    ///
    /// # Safety
    /// It is of that type.
    unsafe fn uuid(self, n: usize) -> Option<Uuid> {
        // SAFETY: by the caller; a uuid is passed as a pointer to its 16 bytes.
        self.get(n)
            .map(|datum| Uuid::from_bytes(unsafe { *datum.cast_mut_ptr::<[u8; 16]>() }))
    }

    /// An argument of type boolean.
    fn bool(self, n: usize) -> Option<bool> {
        self.get(n).map(|datum| datum.value() & 0xff != 0)
    }

    /// An argument of type text; `Err`: it is compressed or stored elsewhere.
    ///
    /// # Safety
    /// It is of that type.
    unsafe fn text(self, n: usize) -> Result<Option<&'a str>, ()> {
        let Some(datum) = self.get(n) else {
            return Ok(None);
        };
        // SAFETY: by the caller; a text lies where it points to unless its header says otherwise.
        let bytes = unsafe {
            let text = datum.cast_mut_ptr::<pg_sys::varlena>();
            if pgrx::varatt_is_1b_e(text) || pgrx::varatt_is_4b_c(text) {
                return Err(());
            }
            std::slice::from_raw_parts(pgrx::vardata_any(text).cast::<u8>(), pgrx::varsize_any_exhdr(text))
        };
        std::str::from_utf8(bytes).map(Some).map_err(|_| ())
    }
}

/// `authz.row_exact`, if the answer is at hand.
///
/// # Safety
/// `call` is a call of that function, and `key` a key of its second argument's type.
unsafe fn row_exact(call: &FunctionCallInfo, key: impl FnOnce(Arguments<'_>) -> Option<Key>) -> Option<bool> {
    // SAFETY: argument by argument as the function is declared in SQL. Nothing here needs to be dropped while messages
    // are received, which may raise an error.
    unsafe {
        AcceptInvalidationMessages();
        let arguments = Arguments::of(call);
        let row = RowCheck {
            key: key(arguments)?,
            tenant: arguments.uuid(2),
            organization: arguments.uuid(3),
            team: arguments.uuid(4),
            project: arguments.uuid(5),
            owner: arguments.uuid(6),
            confidentiality: arguments.text(7).ok()?,
            deleted: arguments.bool(8).unwrap_or(true),
            parent: None,
        };
        let who = if arguments.bool(11).unwrap_or(false) {
            As::Principal
        } else {
            As::Session
        };
        places::surely(arguments.text(0).ok()??, who, &row)
    }
}

/// `authz.row_exact` for keys of type uuid.
///
/// # Safety
/// Called by PostgreSQL with the arguments that the function is declared with.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn authz_row_exact_uuid(call: FunctionCallInfo) -> Datum {
    // SAFETY: by the caller.
    unsafe {
        match row_exact(&call, |a| a.uuid(1).map(Key::Uuid)) {
            Some(answer) => answer_with(call, answer),
            None => row_exact_uuid_wrapper(call),
        }
    }
}

/// `authz.row_exact` for keys of type bigint.
///
/// # Safety
/// Called by PostgreSQL with the arguments that the function is declared with.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn authz_row_exact_int(call: FunctionCallInfo) -> Datum {
    // SAFETY: by the caller.
    unsafe {
        match row_exact(&call, |a| a.get(1).map(|key| Key::Int(key.value() as i64))) {
            Some(answer) => answer_with(call, answer),
            None => row_exact_int_wrapper(call),
        }
    }
}

/// `authz.row_exact` for keys of type text.
///
/// # Safety
/// Called by PostgreSQL with the arguments that the function is declared with.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn authz_row_exact_text(call: FunctionCallInfo) -> Datum {
    // SAFETY: by the caller.
    unsafe {
        match row_exact(&call, |a| a.text(1).ok()?.map(Key::from_text)) {
            Some(answer) => answer_with(call, answer),
            None => row_exact_text_wrapper(call),
        }
    }
}

/// `authz.via` for columns of type uuid.
///
/// # Safety
/// Called by PostgreSQL with the arguments that the function is declared with.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn authz_via_uuid(call: FunctionCallInfo) -> Datum {
    /// The answer, if it is at hand.
    unsafe fn at_hand(call: &FunctionCallInfo) -> Option<bool> {
        // SAFETY: as in `row_exact`.
        unsafe {
            AcceptInvalidationMessages();
            let arguments = Arguments::of(call);
            let (permission, place) = (arguments.text(0).ok()??, arguments.text(1).ok()??);
            let (who, place) = plan::place(place);
            places::surely_via(permission, who, place, arguments.uuid(2)?)
        }
    }
    // SAFETY: by the caller.
    unsafe {
        match at_hand(&call) {
            Some(answer) => answer_with(call, answer),
            None => via_uuid_wrapper(call),
        }
    }
}

/// # Safety
/// `call` is what PostgreSQL passed to a function that returns a boolean.
unsafe fn answer_with(call: FunctionCallInfo, answer: bool) -> Datum {
    // SAFETY: by the caller.
    unsafe { (*call).isnull = false };
    Datum::from(answer)
}

/// `authz.still(moment, of_table)`: is it still the session and the statement of that number? Where nobody has asked for the number
/// since the session was set, the answer is no, and the row is decided by itself. (The table is of no interest: it makes this
/// a question about each row, at which nothing has to be taken apart.)
///
/// # Safety
/// Called by PostgreSQL with arguments that are not NULL: the function is STRICT.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn authz_still(call: FunctionCallInfo) -> Datum {
    // SAFETY: by the caller. What is called reads variables of this backend: no error is raised in it, and no panic.
    let moment = unsafe { (*(*call).args.as_ptr()).value.value() } as i64;
    Datum::from(moment != 0 && session::known_moment() == Some(moment))
}
