//! What keeps rows that are closed, not changed, from being overwritten. Which tables are guarded is in `sql/`.

use crate::error;
use crate::pg::clock;
use crate::pg::relation::Tuple;
use crate::pg::trigger::Fired;
use pgrx::heap_tuple::PgHeapTuple;
use pgrx::{AllocatedByPostgres, PgTrigger, pg_trigger};
use serde_json::Value;

/// BEFORE UPDATE, row by row. The argument is a JSON object, column -> what an UPDATE may do to it; a column that is not
/// in it is fixed.
///
/// | word | what |
/// |---|---|
/// | `free` | anything |
/// | `once` | NULL to a value |
/// | `until` | NULL to a value, or to an earlier one while the old one has not passed: what has ended stays ended |
/// | `closing` | anything, in an UPDATE that changes an `until` column as well |
///
/// Generated columns follow the others and are not compared (a BEFORE trigger does not see their new values).
#[pg_trigger(sql = r#"
CREATE FUNCTION authz.refuse_overwrite() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
COMMENT ON FUNCTION authz.refuse_overwrite() IS
    'Trigger: refuses an UPDATE that would rewrite history (SQLSTATE 55000); the argument maps each column that may change to how: free, once, until or closing.';
REVOKE ALL ON FUNCTION authz.refuse_overwrite() FROM PUBLIC;
"#)]
fn refuse_overwrite<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, AllocatedByPostgres>>, std::convert::Infallible> {
    let fired = Fired::new(trigger);
    let Some([was, becomes]) = fired.update() else {
        error::misplaced_trigger("It is for UPDATE, row by row.");
    };
    let changed = was.differences(&becomes);
    if !changed.is_empty() {
        let arguments = fired.arguments();
        let Some(Value::Object(allowed)) = arguments.first().and_then(|a| serde_json::from_str(a).ok()) else {
            error::misplaced_trigger("Its argument is no JSON object.");
        };
        let how = |column: &str| allowed.get(column).and_then(Value::as_str);
        let closing = changed.iter().any(|(_, name)| how(name) == Some("until"));
        let refused: Vec<_> = changed
            .iter()
            .filter(|(column, name)| match how(name) {
                Some("free") => false,
                Some("once") => !was.is_null(*column),
                Some("until") => !ends_earlier(*column, &was, &becomes),
                Some("closing") => !closing,
                _ => true,
            })
            .map(|(_, name)| name.as_str())
            .collect();
        if !refused.is_empty() {
            let closers: Vec<_> = allowed
                .keys()
                .filter(|c| how(c) == Some("until"))
                .map(String::as_str)
                .collect();
            error::overwritten(&fired.table(), &refused, &closers);
        }
    }
    Ok(trigger.new())
}

fn ends_earlier(column: i16, was: &Tuple<'_>, becomes: &Tuple<'_>) -> bool {
    match (was.instant(column), becomes.instant(column)) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(was), Some(becomes)) => was > clock::transaction_start() && becomes < was,
    }
}
