//! Statements that write, planned once in a backend.

use super::authority;
use super::relation::Relation;
use pgrx::{IntoDatum, pg_sys};
use std::cell::Cell;
use std::ffi::{CStr, CString, c_char};
use std::ptr;
use uuid::Uuid;

/// A parameter, in the memory context that is current when it is made.
pub struct Parameter(Option<pg_sys::Datum>);

impl Parameter {
    /// NULL.
    pub const NULL: Parameter = Parameter(None);

    /// A uuid, which must outlive the call.
    pub fn uuid(id: Option<&Uuid>) -> Parameter {
        Parameter(id.map(|id| pg_sys::Datum::from(id.as_bytes().as_ptr())))
    }

    /// A text.
    pub fn text(text: Option<&str>) -> Parameter {
        // SAFETY: copies the bytes into a text.
        Parameter(text.map(|t| unsafe {
            pg_sys::Datum::from(pg_sys::cstring_to_text_with_len(t.as_ptr().cast(), t.len() as i32))
        }))
    }

    /// A timestamptz, or any other number of 8 bytes.
    pub fn int8(number: i64) -> Parameter {
        Parameter(Some(pg_sys::Datum::from(number)))
    }

    /// An oid, or one of the types that name an object by it.
    pub fn oid(oid: pg_sys::Oid) -> Parameter {
        Parameter(Some(pg_sys::Datum::from(oid)))
    }

    /// A bytea.
    pub fn bytes(bytes: Option<&[u8]>) -> Parameter {
        Parameter(bytes.and_then(IntoDatum::into_datum))
    }

    /// A text[].
    pub fn texts(texts: Option<&[String]>) -> Parameter {
        Parameter(texts.and_then(|t| t.to_vec().into_datum()))
    }

    /// What SPI takes for it.
    pub(super) fn value(&self) -> pg_sys::Datum {
        self.0.unwrap_or(pg_sys::Datum::from(0usize))
    }

    /// What SPI takes for NULL or not.
    pub(super) const fn null(&self) -> c_char {
        if self.0.is_some() {
            b' ' as c_char
        } else {
            b'n' as c_char
        }
    }

    /// A role's name.
    pub fn role(oid: pg_sys::Oid) -> Parameter {
        // SAFETY: a look-up; the name is a palloc'ed C string, and `namein` copies it.
        unsafe {
            let name = pg_sys::GetUserNameFromId(oid, false);
            Parameter(pgrx::direct_function_call_as_datum(
                pg_sys::namein,
                &[Some(pg_sys::Datum::from(name))],
            ))
        }
    }

    /// What the input function of a type makes of a text.
    pub fn input(type_oid: pg_sys::Oid, text: Option<&str>) -> Parameter {
        let Some(text) = text else { return Parameter::NULL };
        let text = CString::new(text).unwrap_or_default();
        let (mut function, mut io_param) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
        // SAFETY: the type exists; its input function takes a C string and does not keep it.
        unsafe {
            pg_sys::getTypeInputInfo(type_oid, &mut function, &mut io_param);
            Parameter(Some(pg_sys::OidInputFunctionCall(
                function,
                text.as_ptr().cast_mut(),
                io_param,
                -1,
            )))
        }
    }
}

/// A statement without a result that runs as the owner of the table that it writes.
pub struct Statement {
    sql: &'static CStr,
    types: &'static [pg_sys::Oid],
    plan: Cell<pg_sys::SPIPlanPtr>,
}

impl Statement {
    /// A statement with parameters of these types; planned when it is first run.
    pub const fn new(sql: &'static CStr, types: &'static [pg_sys::Oid]) -> Statement {
        Statement {
            sql,
            types,
            plan: Cell::new(ptr::null_mut()),
        }
    }

    /// Runs it as the owner of `authz.table`, whoever calls.
    pub fn run(&self, table: &'static str, parameters: &[Parameter]) {
        assert_eq!(parameters.len(), self.types.len(), "a parameter for each type");
        let mut values: Vec<pg_sys::Datum> = parameters.iter().map(Parameter::value).collect();
        let nulls: Vec<c_char> = parameters.iter().map(Parameter::null).collect();
        let owner = owner(table);
        let (mut user, mut context) = (pg_sys::InvalidOid, 0);
        // SAFETY: values and nulls have an element for each parameter of the plan. Should anything raise an error,
        // the rollback of the (sub)transaction restores the user and ends SPI.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
            pg_sys::SetUserIdAndSecContext(owner, context | pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32);
            check(pg_sys::SPI_connect());
            if self.plan.get().is_null() {
                let plan = pg_sys::SPI_prepare(
                    self.sql.as_ptr(),
                    self.types.len() as i32,
                    self.types.as_ptr().cast_mut(),
                );
                assert!(!plan.is_null(), "SPI_prepare takes our statements");
                check(pg_sys::SPI_keepplan(plan));
                self.plan.set(plan);
            }
            check(pg_sys::SPI_execute_plan(
                self.plan.get(),
                values.as_mut_ptr(),
                nulls.as_ptr(),
                false,
                0,
            ));
            check(pg_sys::SPI_finish());
            pg_sys::SetUserIdAndSecContext(user, context);
        }
    }
}

fn check(code: i32) {
    assert!(code >= 0, "SPI returned {code}");
}

fn owner(table: &'static str) -> pg_sys::Oid {
    match Relation::open(authority::oid(table)) {
        // SAFETY: an open relation has its row of pg_class.
        Some(relation) => unsafe { (*(*relation.raw()).rd_rel).relowner },
        None => crate::error::not_installed(&format!("authz.{table}")),
    }
}

/// Can nothing be written: on a standby, or in a transaction that is read-only?
pub fn read_only() -> Option<&'static str> {
    // SAFETY: reads variables of the backend.
    unsafe {
        if pg_sys::RecoveryInProgress() {
            Some("This server is a standby.")
        } else if pg_sys::XactReadOnly {
            Some("The transaction is read-only.")
        } else {
            None
        }
    }
}

/// Does this server replay another one's log?
pub fn is_standby() -> bool {
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::RecoveryInProgress() }
}

/// The role that logged in, or that SET SESSION AUTHORIZATION made of it.
pub fn session_role() -> pg_sys::Oid {
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::GetSessionUserId() }
}

/// 16 random bytes.
pub fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    // SAFETY: fills the buffer.
    let filled = unsafe { pg_sys::pg_strong_random(bytes.as_mut_ptr().cast(), bytes.len()) };
    assert!(filled, "the operating system has random numbers");
    bytes
}

/// A number that no other cluster has: made when the cluster was.
pub fn cluster_id() -> i64 {
    // SAFETY: reads a variable that was set when the server started.
    unsafe { pg_sys::GetSystemIdentifier() as i64 }
}
