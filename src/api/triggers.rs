//! Trigger functions of the authority tables. Their CREATE TRIGGER statements are in `sql/60_channel.sql`.

use crate::error;
use crate::pg::invalidation::{self, Channel, Family};
use crate::pg::relation::{Relation, Tuple};
use crate::pg::trigger::Fired;
use crate::pg::user_table::{self, ColumnProblem, ColumnType};
use crate::token::key;
use authz_engine::condition::Condition;
use pgrx::heap_tuple::PgHeapTuple;
use pgrx::{AllocatedByPostgres, PgSqlErrorCode, PgTrigger, pg_trigger};
use uuid::Uuid;

type Outcome<'a> = Result<Option<PgHeapTuple<'a, AllocatedByPostgres>>, std::convert::Infallible>;

/// AFTER ROW and AFTER TRUNCATE: tells every backend whose access has changed. The arguments are pairs of a channel
/// family and the column that says which one:
/// `model` and `shape` (no column: an empty string), `principal`, `group`, `tenant`, `db_role`, `grantee` (by `grantee_type`);
/// or of `relation` and the column that names a table or view whose plans are to be made anew.
#[pg_trigger(sql = r#"
CREATE FUNCTION authz.authority_changed() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
COMMENT ON FUNCTION authz.authority_changed() IS
    'Trigger: sends the invalidation that makes every backend compile the changed access anew.';
REVOKE ALL ON FUNCTION authz.authority_changed() FROM PUBLIC;
"#)]
fn authority_changed<'a>(trigger: &'a PgTrigger<'a>) -> Outcome<'a> {
    let fired = Fired::new(trigger);
    for pair in fired.arguments().chunks(2) {
        let [family, column] = pair else {
            error::misplaced_trigger("Its arguments are not pairs of family and column.");
        };
        match *family {
            "model" => invalidation::send(Channel::MODEL),
            "shape" => invalidation::send(Channel::SHAPE),
            "relation" if !fired.is_truncate() => fired
                .rows()
                .filter_map(|row| row.oid(fired.column(column)?))
                .for_each(invalidation::send_for_table),
            family if fired.is_truncate() => send_family(family),
            family => fired.rows().for_each(|row| send_for(family, column, &row, &fired)),
        }
    }
    Ok(None)
}

fn send_family(family: &str) {
    let families: &[Family] = match family {
        "principal" => &[Family::Principals],
        "group" | "db_role" => &[Family::Groups],
        "tenant" => &[Family::Tenants],
        "grantee" => &[Family::Principals, Family::Groups, Family::Tenants],
        _ => unknown_family(),
    };
    families.iter().for_each(|family| invalidation::send_all(*family));
}

fn send_for(family: &str, column: &str, row: &Tuple<'_>, fired: &Fired<'_>) {
    let uuid = |name| fired.column(name).and_then(|c| row.uuid(c));
    let text = |name| fired.column(name).and_then(|c| row.text(c));
    let channel = match family {
        "principal" => uuid(column).map(Channel::principal),
        "tenant" => uuid(column).map(Channel::tenant),
        "group" => uuid(column).map(|id| Channel::group(&id.to_string())),
        "db_role" => fired
            .column(column)
            .and_then(|c| row.name(c))
            .map(|role| Channel::group(&role)),
        "grantee" => match text("grantee_type").as_deref() {
            Some("principal") => text(column)
                .and_then(|id| Uuid::try_parse(&id).ok())
                .map(Channel::principal),
            Some("any") => uuid("tenant_id").map(Channel::tenant),
            _ => text(column).map(|id| Channel::group(&id)),
        },
        _ => unknown_family(),
    };
    channel.into_iter().for_each(invalidation::send);
}

fn unknown_family() -> ! {
    error::misplaced_trigger("It names a family of channels that does not exist.")
}

/// BEFORE ROW: a condition that cannot be parsed is refused when it is stored, with the position.
#[pg_trigger(sql = r#"
CREATE FUNCTION authz.check_condition() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
COMMENT ON FUNCTION authz.check_condition() IS
    'Trigger: refuses a condition that is not a CEL expression over principal, resource, context and now.';
REVOKE ALL ON FUNCTION authz.check_condition() FROM PUBLIC;
"#)]
fn check_condition<'a>(trigger: &'a PgTrigger<'a>) -> Outcome<'a> {
    crate::pg::clock::check_stack_depth();
    let fired = Fired::new(trigger);
    let source = fired
        .column("condition")
        .and_then(|c| fired.new_row().and_then(|row| row.text(c)));
    if let Some(source) = source
        && let Err(malformed) = Condition::parse(&source)
    {
        error::malformed_condition(&malformed.message, malformed.position);
    }
    Ok(trigger.new().or_else(|| trigger.old()))
}

/// BEFORE ROW: a signing key that no token could be checked by is refused with the reason.
#[pg_trigger(sql = r#"
CREATE FUNCTION authz.check_signing_key() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
COMMENT ON FUNCTION authz.check_signing_key() IS
    'Trigger: refuses a signing key whose material is not of its algorithm, or too weak.';
REVOKE ALL ON FUNCTION authz.check_signing_key() FROM PUBLIC;
"#)]
fn check_signing_key<'a>(trigger: &'a PgTrigger<'a>) -> Outcome<'a> {
    let fired = Fired::new(trigger);
    if let Some(row) = fired.new_row() {
        let text = |name| fired.column(name).and_then(|c| row.text(c));
        let secret = fired.column("secret").and_then(|c| row.bytes(c));
        let algorithm = text("algorithm").unwrap_or_default();
        if let Err(why) = key::read(&algorithm, text("public_key").as_deref(), secret.as_deref()) {
            error::bad_signing_key(&text("kid").unwrap_or_default(), why);
        }
    }
    Ok(trigger.new().or_else(|| trigger.old()))
}

/// BEFORE ROW: a resource type that names a table or column that does not fit is refused with the reason.
#[pg_trigger(sql = r#"
CREATE FUNCTION authz.check_resource_type() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
COMMENT ON FUNCTION authz.check_resource_type() IS
    'Trigger: refuses a resource type whose table or columns are missing or of a type that cannot be used.';
REVOKE ALL ON FUNCTION authz.check_resource_type() FROM PUBLIC;
"#)]
fn check_resource_type<'a>(trigger: &'a PgTrigger<'a>) -> Outcome<'a> {
    let fired = Fired::new(trigger);
    if let Some(row) = fired.new_row() {
        check_registration(&fired, &row);
    }
    Ok(trigger.new().or_else(|| trigger.old()))
}

/// What a column may be, by the column of `authz.resource_type` that names it.
const ROLES: [(&str, &[ColumnType], &str); 9] = [
    (
        "key_column",
        ColumnType::KEYS,
        "A key is a uuid, smallint, integer, bigint, text or varchar.",
    ),
    ("tenant_column", &[ColumnType::Uuid], "The tenant is a uuid."),
    (
        "organization_column",
        ColumnType::REFERENCES,
        "A scope is a uuid, or its text.",
    ),
    ("team_column", ColumnType::REFERENCES, "A scope is a uuid, or its text."),
    (
        "project_column",
        ColumnType::REFERENCES,
        "A scope is a uuid, or its text.",
    ),
    (
        "owner_column",
        ColumnType::REFERENCES,
        "An owner is a uuid, or its text.",
    ),
    (
        "confidentiality_column",
        ColumnType::LEVELS,
        "A level is text, varchar or an enum.",
    ),
    (
        "deleted_at_column",
        ColumnType::DELETIONS,
        "A deletion is a timestamp, a date or a boolean.",
    ),
    (
        "parent_column",
        ColumnType::KEYS,
        "A key is a uuid, smallint, integer, bigint, text or varchar.",
    ),
];

fn check_registration(fired: &Fired<'_>, row: &Tuple<'_>) {
    let text = |name| fired.column(name).and_then(|c| row.text(c)).unwrap_or_default();
    let resource_type = text("resource_type");
    let target = fired.column("target").and_then(|c| row.oid(c));
    // A name that does not exist is refused by regclass itself. A bare OID that does not exist comes from a dump in
    // which the table had been dropped: it must not make the restore fail, and checks deny with the reason.
    let Some(table) = target.and_then(Relation::open) else {
        return;
    };
    if !matches!(user_table::kind_of(&table), b'r' | b'p') {
        error::bad_resource_type(
            PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            &resource_type,
            "What it names is not a table or partitioned table.".to_owned(),
            "Views, materialized views and foreign tables cannot be protected: register the tables behind them.",
        );
    }
    if user_table::is_temporary(&table) {
        error::bad_resource_type(
            PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            &resource_type,
            "What it names is a temporary table.".to_owned(),
            "No other session can read it: register a table that stays.",
        );
    }
    for (role, types, hint) in ROLES {
        let Some(name) = fired.column(role).and_then(|c| row.name(c)) else {
            continue;
        };
        if let Err(problem) = user_table::column(&table, &name, types) {
            let code = match problem {
                ColumnProblem::Missing => PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
                ColumnProblem::WrongType(_) => PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
                ColumnProblem::Nondeterministic => PgSqlErrorCode::ERRCODE_INDETERMINATE_COLLATION,
                ColumnProblem::Virtual => PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            };
            let why = format!("As {role}: {}.", user_table::problem(&name, &problem));
            error::bad_resource_type(code, &resource_type, why, hint);
        }
    }
    // Plans that were made from a former registration must not outlive it.
    invalidation::send_for_table(table.oid());
}
