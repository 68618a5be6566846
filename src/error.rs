//! Errors, one constructor a kind. Each has an SQLSTATE, a detail and a hint, and none tells of rows that the
//! caller may not see.

use crate::pg::server_log;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode};

fn raise(code: PgSqlErrorCode, message: String, detail: String, hint: String) -> ! {
    ErrorReport::new(code, message, "authz_ext")
        .set_detail(detail)
        .set_hint(hint)
        .report(PgLogLevel::ERROR);
    unreachable!("an error report of level ERROR does not return")
}

/// 42704: a permission code that is not defined is a bug in the caller, so it is said, with the nearest code.
pub fn unknown_permission(code: &str, nearest: Option<&str>) -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
        format!("permission \"{code}\" does not exist"),
        "It is not in authz.permission_definition.".to_owned(),
        match nearest {
            Some(nearest) => format!("Perhaps you mean \"{nearest}\"."),
            None => "Define it there first.".to_owned(),
        },
    )
}

/// 55000: a plan that was made for a session which names a tenant is being run by one that names none. Plans that are kept
/// are made anew; this one was under way, or kept where PostgreSQL cannot reach it.
pub fn planned_for_a_tenant() -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        "the session changed under a statement that was planned for another one".to_owned(),
        "The statement looks for rows of the tenant that the session names, and the session names none now.".to_owned(),
        "Run the statement again, and set the session before it, not in it.".to_owned(),
    )
}

/// 0A000: what PostgreSQL says of a query of such a table, too.
pub fn unlogged_on_standby(table: &str) -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("cannot look for rows of unlogged table {table} on a standby"),
        "What is written to an unlogged table is not in the write-ahead log, so that standbys do not have it."
            .to_owned(),
        "Ask on the primary, or make the table a logged one there.".to_owned(),
    )
}

/// 42704: a resource type that is neither built in nor registered.
pub fn unknown_resource_type(name: &str, nearest: Option<&str>) -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
        format!("resource type \"{name}\" does not exist"),
        "It is neither built in nor in authz.resource_type.".to_owned(),
        match nearest {
            Some(nearest) => format!("Perhaps you mean \"{nearest}\"."),
            None => "Register it there first.".to_owned(),
        },
    )
}

/// 22023: a page of fewer than no rows.
pub fn negative_max_rows() -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        "max_rows must not be negative".to_owned(),
        "It is the number of rows of a page.".to_owned(),
        "Pass NULL for all rows.".to_owned(),
    )
}

/// 22023: a condition that cannot be stored.
pub fn malformed_condition(message: &str, position: Option<(usize, usize)>) -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        "the condition is not a valid CEL expression".to_owned(),
        match position {
            Some((line, column)) => format!("Line {line}, column {column}: {message}"),
            None => format!("It cannot be used: {message}"),
        },
        "Conditions are CEL expressions over principal, resource, context and now, such as: context.mfa == true"
            .to_owned(),
    )
}

/// A resource type that cannot be registered, with the SQLSTATE of what is wrong.
pub fn bad_resource_type(code: PgSqlErrorCode, name: &str, why: String, hint: &str) -> ! {
    raise(
        code,
        format!("resource type \"{name}\" cannot be registered"),
        why,
        hint.to_owned(),
    )
}

/// 42501: whether the resource is there or not, in the same words.
pub fn denied(permission: &str) -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
        format!("permission \"{permission}\" is denied"),
        "The session's principal may not use it on this resource, or there is no such resource, or no session."
            .to_owned(),
        "The denial is recorded. authz_explain tells those who may call it why.".to_owned(),
    )
}

/// 0A000: an event that cannot be written.
pub fn not_writable(why: &str) -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        "an access event cannot be written here".to_owned(),
        why.to_owned(),
        "Ask in a read-write transaction on the primary, or call authz_can, which leaves no event.".to_owned(),
    )
}

/// 0A000: a change that is to leave events.
pub fn no_change_here(why: &str) -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        "nothing can be changed here, because an event of it cannot be written".to_owned(),
        why.to_owned(),
        "Do it in a read-write transaction on the primary.".to_owned(),
    )
}

/// 0A000: a read of an audited view that would leave no event.
pub fn read_without_event(view: &str, why: &str) -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("audited view {view} cannot be read here, because the read would leave no event"),
        why.to_owned(),
        "Read it in a read-write transaction on the primary, or have its owner call authz_alter_audited_view with on_failure => 'log'."
            .to_owned(),
    )
}

/// 55000: a view that calls for events of a surface that nobody has registered.
pub fn unregistered_surface(surface: Option<&str>) -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        "the view cannot be read, because it is not registered as an audited view".to_owned(),
        match surface {
            Some(surface) => format!("authz.audited_view has no row for surface {surface}."),
            None => "authz_audited names its surface by a constant.".to_owned(),
        },
        "Create audited views with authz_create_audited_view.".to_owned(),
    )
}

/// 42601: what is to become a view.
pub fn not_one_select(why: &str) -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_SYNTAX_ERROR,
        "the query is not one SELECT".to_owned(),
        why.to_owned(),
        "Give one SELECT; for a table or view by its name, pass target => 'schema.name'.".to_owned(),
    )
}

/// 42501: a view of somebody else.
pub fn not_owner(view: &str) -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
        format!("must be owner of view {view}"),
        "What is audited, and how, is decided by the view's owner.".to_owned(),
        "Ask its owner.".to_owned(),
    )
}

/// 42704: a view that is not audited.
pub fn not_audited(view: &str) -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
        format!("{view} is not an audited view"),
        "authz.audited_view has no row for it.".to_owned(),
        "authz.audited_surface lists those that are.".to_owned(),
    )
}

/// 22023: an unknown choice.
pub fn bad_on_failure(given: &str) -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        format!("on_failure cannot be \"{given}\""),
        "It says what becomes of a read whose event cannot be written.".to_owned(),
        "It is 'error' or 'log'.".to_owned(),
    )
}

/// 25001: sealing and verifying need to see what has been committed since the transaction began.
pub fn snapshot_kept() -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_ACTIVE_SQL_TRANSACTION,
        "the audit cannot be sealed or verified in this transaction".to_owned(),
        "Its isolation level keeps one snapshot.".to_owned(),
        "Call it under READ COMMITTED.".to_owned(),
    )
}

/// 22023: an anchor that is none.
pub fn bad_anchor() -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        "the anchor cannot be read".to_owned(),
        "It is not of the form authz1:NUMBER:HASH.".to_owned(),
        "Pass what authz_audit_head() or authz_audit_seal() returned.".to_owned(),
    )
}

/// 22023: an event that is neither of an allowed access nor of a denied one.
pub fn bad_access_result(given: Option<&str>) -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        "the access event cannot be recorded".to_owned(),
        format!("access_result is {}.", given.unwrap_or("NULL")),
        "It is 'allowed' or 'denied'.".to_owned(),
    )
}

/// 55000: the extension's tables are not there.
pub fn not_installed(what: &str) -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        "authz_ext is not installed in this database, or its installation does not fit its library".to_owned(),
        format!("{what} is missing."),
        "Run CREATE EXTENSION authz_ext, or ALTER EXTENSION authz_ext UPDATE.".to_owned(),
    )
}

/// 40001: a table of the extension was altered between the snapshot that it was to be read by and its lock.
pub fn authority_changed(table: &str) -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
        format!("table authz.{table} was altered while authority was being read"),
        "What it holds cannot be seen by the snapshot that the rest was read by.".to_owned(),
        "Try again.".to_owned(),
    )
}

/// 54001: parents of parents without end. An error, not a deny: a limit must not answer.
pub fn parents_too_deep(limit: usize) -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_STATEMENT_TOO_COMPLEX,
        "the resource's parents are nested too deeply".to_owned(),
        format!("After {limit} parents there was still another one."),
        "Look for a cycle among the parents of this resource.".to_owned(),
    )
}

/// 55000: an UPDATE that would rewrite what was. `closers`: columns by which a row is closed.
pub fn overwritten(table: &str, columns: &[&str], closers: &[&str]) -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("UPDATE on {table} is refused: its rows are not overwritten"),
        format!("Columns that may not be changed like this: {}.", columns.join(", ")),
        if closers.is_empty() {
            "These columns are fixed once they are set.".to_owned()
        } else {
            let closers = closers.join(" or ");
            format!("Close this row (set {closers}, which may only become earlier) and insert a new one.")
        },
    )
}

/// 55000: a trigger function that was attached by hand to something that it does not know.
pub fn misplaced_trigger(why: &str) -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        "this trigger function belongs to the tables of authz_ext".to_owned(),
        why.to_owned(),
        "Remove the trigger.".to_owned(),
    )
}

/// 22023: a session that cannot be set.
pub fn invalid_session(why: &str, hint: &str) -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        "the session cannot be set".to_owned(),
        why.to_owned(),
        hint.to_owned(),
    )
}

/// 28000: a token that begins no session. The same words for every fault, which is in the server's log alone: whoever
/// tries tokens must not learn which part of one was right.
pub fn bad_token() -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
        "bad or expired session token".to_owned(),
        "The token begins no session.".to_owned(),
        "Get a new token. The server's log says what is wrong with this one.".to_owned(),
    )
}

/// What was wrong with a token. Never sent to a client, not even to one that asks for the log by `client_min_messages`.
pub fn log_bad_token(why: &str) {
    let message = format!("session token refused: {why}");
    server_log::uninterrupted(|| {
        ErrorReport::new(
            PgSqlErrorCode::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
            message,
            "authz_ext",
        )
        .report(PgLogLevel::LOG_SERVER_ONLY);
    });
}

/// 22023: a signing key that cannot be used.
pub fn bad_signing_key(kid: &str, why: String) -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        format!("signing key \"{kid}\" cannot be used"),
        why,
        "Give public_key as PEM (BEGIN PUBLIC KEY) of an Ed25519, P-256 or RSA key, or for HS256 a secret of random bytes."
            .to_owned(),
    )
}

/// 22023: a jsonb argument that is nested too deeply to be read.
pub fn unreadable_json() -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        "the JSON argument cannot be read".to_owned(),
        "It is nested more than 127 levels deep.".to_owned(),
        "Pass a flat object, such as {\"mfa\": true}.".to_owned(),
    )
}

/// 55000: whoever acts would see every row.
pub fn outside_row_security() -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        "row security does not hold for the role that acts".to_owned(),
        "It is a superuser, has BYPASSRLS, or owns a table whose row security is not forced.".to_owned(),
        "Act by a role that row security holds for, such as the one that authz_install_roles calls runtime.".to_owned(),
    )
}

/// 22023: a file of a kind that cannot be written.
pub fn unknown_format(given: &str) -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        format!("file format \"{given}\" is unknown"),
        "The content of an export is written as CSV or as lines of JSON.".to_owned(),
        "Use csv or jsonl.".to_owned(),
    )
}

/// 55000: the application's table took the new owner of a row for something else.
pub fn owner_not_written() -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        "the owner could not be written".to_owned(),
        "The table did not update exactly one row.".to_owned(),
        "Look at the triggers and rules of the table.".to_owned(),
    )
}

/// 42501: a hash mask is for the column that it masks: whoever could call it with values would try them all.
pub fn mask_called() -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
        "authz.mask_hash is for the column that it masks".to_owned(),
        "Its first argument is not that column, in a query of the table.".to_owned(),
        "Read a safe view of the table (authz_create_safe_view).".to_owned(),
    )
}

/// 53400: what is not counted is not revealed.
pub fn reveal_not_counted() -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
        "the reveal cannot be counted".to_owned(),
        "A background worker counts it, and there was none free, or it did not come to an end.".to_owned(),
        "Try again later. Perhaps max_worker_processes is too low.".to_owned(),
    )
}
