//! `authz_row`: what policies call, and the functions that its call becomes in a plan.

use super::id;
use crate::decision::{self, As, Columns, RowCheck};
use crate::error;
use crate::pg::plan::{self, Ids, Request};
use crate::pg::record::Record;
use crate::pg::session_setting;
use crate::pg::support;
use crate::pg::user_table::ColumnType;
use crate::places::{self, Places};
use crate::session;
use authz_engine::Key;
use pgrx::{Internal, IntoDatum, Uuid, default, pg_extern, pg_sys};
use serde_json::Value;
use std::cell::Cell;

/// A row's columns as SQL passes them.
struct Passed<'a> {
    permission: Option<&'a str>,
    key: Option<Key>,
    tenant: Option<Uuid>,
    organization: Option<Uuid>,
    team: Option<Uuid>,
    project: Option<Uuid>,
    owner: Option<Uuid>,
    confidentiality: Option<&'a str>,
    deleted: Option<bool>,
    parent: Option<&'a str>,
}

impl Passed<'_> {
    fn decide(self, who: As, columns: &Columns<'_>) -> Option<bool> {
        let (Some(permission), Some(key)) = (self.permission, self.key) else {
            return Some(false);
        };
        let row = RowCheck {
            key,
            tenant: self.tenant.map(id),
            organization: self.organization.map(id),
            team: self.team.map(id),
            project: self.project.map(id),
            owner: self.owner.map(id),
            confidentiality: self.confidentiality,
            // A NULL here says nothing good.
            deleted: self.deleted.unwrap_or(true),
            parent: self.parent,
        };
        decision::check_row(permission, row, who, columns)
    }
}

/// Whom a plan's call is about: the session, or its principal without what the session says besides.
const fn as_whom(by_principal: Option<bool>) -> As {
    match by_principal {
        Some(true) => As::Principal,
        _ => As::Session,
    }
}

macro_rules! row_forms {
    ($row:ident, $exact:ident, $condition:ident, $key:ty, $argument:ident => $given:expr) => {
        row_forms! {
            ($row, $exact, $condition, $key, $argument => $given)
            (organization: Uuid = "NULL", team: Uuid = "NULL", project: Uuid = "NULL", owner: Uuid = "NULL",
             confidentiality: &str = "NULL", deleted: bool = "false", parent: &str = "NULL")
        }
    };
    (($row:ident, $exact:ident, $condition:ident, $key:ty, $argument:ident => $given:expr)
     ($($column:ident: $type:ty = $default:tt),*)) => {
        /// May the session use the permission on a row with these columns? For policies: USING and WITH CHECK.
        #[pg_extern(name = "authz_row", stable, parallel_safe)]
        #[allow(clippy::too_many_arguments)]
        fn $row(
            permission: Option<&str>,
            key: Option<$key>,
            tenant: Option<Uuid>,
            $($column: default!(Option<$type>, $default),)*
        ) -> bool {
            let key = key.map(|$argument| $given);
            let row = Passed { permission, key, tenant, $($column,)* };
            // Of the row as such nothing is known here: a condition that asks for it is false.
            row.decide(As::Session, &Columns::Missing(Cell::new(false)))
                .unwrap_or(false)
        }

        /// The same in a plan: not simplified any further. `stored`: the snapshot shows the row as it is passed. Where it does
        /// not, NULL says that the answer depends on conditions that need the row itself. (`sql/70_row_security.sql` declares
        /// what stands before it: `pg::bare`.)
        #[pg_extern(sql = false)]
        #[allow(clippy::too_many_arguments)]
        fn $exact(
            permission: Option<&str>,
            key: Option<$key>,
            tenant: Option<Uuid>,
            $($column: Option<$type>,)*
            stored: Option<bool>,
            by_principal: Option<bool>,
        ) -> Option<bool> {
            let key = key.map(|$argument| $given);
            let row = Passed { permission, key, tenant, $($column,)* };
            let columns = match stored {
                Some(true) => Columns::Stored,
                _ => Columns::Missing(Cell::new(false)),
            };
            row.decide(as_whom(by_principal), &columns)
        }

        /// The same with the row itself, for those that `row_exact` has no answer for.
        #[pg_extern(name = "row_condition", schema = "authz", stable, parallel_safe)]
        #[allow(clippy::too_many_arguments)]
        fn $condition(
            permission: Option<&str>,
            key: Option<$key>,
            tenant: Option<Uuid>,
            $($column: Option<$type>,)*
            row: Option<Record>,
            by_principal: Option<bool>,
        ) -> bool {
            let Some(Record(columns)) = row else {
                return false;
            };
            let key = key.map(|$argument| $given);
            let row = Passed { permission, key, tenant, $($column,)* };
            row.decide(as_whom(by_principal), &Columns::Given(&columns)) == Some(true)
        }
    };
}

row_forms!(row_uuid, row_exact_uuid, row_condition_uuid, Uuid, k => Key::Uuid(id(k)));
row_forms!(row_int, row_exact_int, row_condition_int, i64, k => Key::Int(k));
row_forms!(row_text, row_exact_text, row_condition_text, &str, k => Key::from_text(k));

/// The decision about a row of a registered table, as it is. In plans for who sees everything, for everybody else who runs
/// them.
#[pg_extern(name = "row_whole", schema = "authz", stable, parallel_safe)]
fn row_whole(permission: Option<&str>, row: Option<Record>, by_principal: Option<bool>) -> bool {
    let (Some(permission), Some(Record(columns))) = (permission, row) else {
        return false;
    };
    let Some(names) = decision::columns(permission) else {
        return false;
    };
    let text = |name: &str| columns[name].as_str();
    let id_of = |name: &Option<String>| uuid::Uuid::try_parse(text(name.as_ref()?)?).ok();
    let key_of = |name: &str| match &columns[name] {
        Value::String(key) => Some(Key::from_text(key)),
        key => key.as_i64().map(Key::Int),
    };
    let Some(key) = key_of(&names.key) else {
        return false;
    };
    let parent = names.parent.as_deref().and_then(key_of).map(|key| key.to_string());
    let row = RowCheck {
        key,
        tenant: id_of(&Some(names.tenant)),
        organization: id_of(&names.organization),
        team: id_of(&names.team),
        project: id_of(&names.project),
        owner: id_of(&names.owner),
        confidentiality: names.confidentiality.as_deref().and_then(text),
        deleted: names
            .deleted_at
            .as_deref()
            .is_some_and(|name| !matches!(columns[name], Value::Null | Value::Bool(false))),
        parent: parent.as_deref(),
    };
    decision::check_row(permission, row, as_whom(by_principal), &Columns::Given(&columns)) == Some(true)
}

/// Does the session see every row, in whatever tenant? Asked once for a query: a number that says who asked, and in
/// which statement; 0 = no.
#[pg_extern(name = "sees_all", schema = "authz", stable, parallel_safe)]
fn sees_all(permission: Option<&str>, by_principal: Option<bool>) -> i64 {
    if permission.is_some_and(|p| places::sees_all(p, as_whom(by_principal))) {
        session::moment()
    } else {
        0
    }
}

/// The tenant that the session names, in plans made for sessions that name one.
#[pg_extern(name = "named_tenant", schema = "authz", stable, parallel_safe)]
fn named_tenant() -> Option<Uuid> {
    let session = session::current()?;
    match session.tenant {
        Some(tenant) => Some(Uuid::from_bytes(tenant.into_bytes())),
        None => {
            session_setting::forget_plans();
            error::planned_for_a_tenant()
        }
    }
}

/// Is the place one that the session can reach?
fn via(permission: Option<&str>, place: Option<&str>, key: Option<Key>) -> bool {
    let (Some(permission), Some(place), Some(key)) = (permission, place, key) else {
        return false;
    };
    let (who, place) = plan::place(place);
    places::of(permission, who).is_some_and(|places| match (places.keys(place), key) {
        (Some(keys), key) => keys.contains(&key),
        (None, Key::Uuid(id)) => places.ids(place).is_some_and(|ids| ids.contains(&id)),
        _ => false,
    })
}

/// `authz.via` for columns of type uuid, behind `pg::bare` as well.
#[pg_extern(sql = false)]
fn via_uuid(permission: Option<&str>, place: Option<&str>, value: Option<Uuid>) -> bool {
    via(permission, place, value.map(|v| Key::Uuid(id(v))))
}

/// `authz.via` for columns of type smallint.
#[pg_extern(name = "via", schema = "authz", stable, parallel_safe)]
fn via_int2(permission: Option<&str>, place: Option<&str>, value: Option<i16>) -> bool {
    via(permission, place, value.map(|v| Key::Int(v.into())))
}

/// `authz.via` for columns of type integer.
#[pg_extern(name = "via", schema = "authz", stable, parallel_safe)]
fn via_int4(permission: Option<&str>, place: Option<&str>, value: Option<i32>) -> bool {
    via(permission, place, value.map(|v| Key::Int(v.into())))
}

/// `authz.via` for columns of type bigint.
#[pg_extern(name = "via", schema = "authz", stable, parallel_safe)]
fn via_int8(permission: Option<&str>, place: Option<&str>, value: Option<i64>) -> bool {
    via(permission, place, value.map(Key::Int))
}

/// `authz.via` for columns of type text.
#[pg_extern(name = "via", schema = "authz", stable, parallel_safe)]
fn via_text(permission: Option<&str>, place: Option<&str>, value: Option<&str>) -> bool {
    via(permission, place, value.map(Key::from_text))
}

/// What a place's array has: in order, no more than `most`, and how many there are.
fn sorted<T: Ord>(all: impl Iterator<Item = T>, most: usize) -> (Vec<T>, usize) {
    let mut all: Vec<T> = all.collect();
    all.sort_unstable();
    let count = all.len();
    all.truncate(most);
    (all, count)
}

/// Of scopes, of owners, of keys.
fn uuids(places: &Places, place: &str, most: usize) -> (Vec<Uuid>, usize) {
    let ids = places.ids(place).into_iter().flatten().copied();
    let keys = places.keys(place).into_iter().flatten().filter_map(|k| match k {
        Key::Uuid(id) => Some(*id),
        _ => None,
    });
    let (all, count) = sorted(ids.chain(keys), most);
    (
        all.into_iter().map(|id| Uuid::from_bytes(id.into_bytes())).collect(),
        count,
    )
}

fn ints<T: TryFrom<i64> + Ord>(places: &Places, place: &str, most: usize) -> (Vec<T>, usize) {
    let keys = places.keys(place).into_iter().flatten().filter_map(|k| match k {
        Key::Int(i) => T::try_from(*i).ok(),
        _ => None,
    });
    sorted(keys, most)
}

fn texts(places: &Places, place: &str, most: usize) -> (Vec<String>, usize) {
    sorted(places.keys(place).into_iter().flatten().map(Key::to_string), most)
}

macro_rules! reach_form {
    ($name:ident, $element:ty, $list:expr) => {
        /// What `authz.via` of this column type is true for: for index conditions. `cost` is for the planner.
        #[pg_extern(schema = "authz", stable, parallel_safe)]
        fn $name(permission: Option<&str>, place: Option<&str>, _cost: default!(Option<i32>, "NULL")) -> Vec<$element> {
            let (who, place) = plan::place(place.unwrap_or_default());
            let places = permission.and_then(|p| places::of(p, who));
            places.map(|p| $list(&p, place, usize::MAX).0).unwrap_or_default()
        }
    };
}

reach_form!(reach_uuid, Uuid, uuids);
reach_form!(reach_int2, i16, ints);
reach_form!(reach_int4, i32, ints);
reach_form!(reach_int8, i64, ints);
reach_form!(reach_text, String, texts);

/// How many ids an estimate looks at: more would make planning slow and the estimate no better.
const SAMPLE: usize = 100;

/// The planner support function of `authz_row` and `authz_can`: replaces the call.
#[pg_extern(schema = "authz", immutable, parallel_safe)]
fn call_support(request: Internal) -> Internal {
    support::answer(request, |request| match plan::request(request) {
        Request::Simplify(call) => simplify(&call),
        _ => None,
    })
}

/// The planner support function of what the call is replaced with: index conditions and estimates.
#[pg_extern(schema = "authz", immutable, parallel_safe)]
fn plan_support(request: Internal) -> Internal {
    support::answer(request, |request| match plan::request(request) {
        Request::IndexCondition(condition) => index_condition(&condition),
        Request::Selectivity(estimate) => estimate_via(&estimate),
        Request::Cost(cost) => cost.answer(),
        Request::Exact(exact) => Some(exact.nearly_all()),
        _ => None,
    })
}

fn simplify(call: &plan::Call) -> Option<*mut pg_sys::Node> {
    let (table, key) = call.key()?;
    let Some(registered) = decision::registered(&call.permission, table, key) else {
        return if decision::has_parent(&call.permission)? {
            None
        } else {
            call.narrow(places::outlook(&call.permission, call.who))
        };
    };
    call.replace(&registered, places::outlook(&call.permission, call.who))
}

/// By what the session that plans can reach: a plan made for it is good for it, and right for everybody.
fn estimate_via(estimate: &plan::Estimate) -> Option<*mut pg_sys::Node> {
    let (who, place) = plan::place(&estimate.place);
    // The arms are about the same rows: both together would be taken for far fewer.
    if place == plan::WITHIN {
        return Some(estimate.nearly_all());
    }
    let ids = ids(&estimate.permission, who, place, estimate.column_type()?)?;
    let tenant = places::tenant_column(&estimate.permission, who);
    estimate.answer(ids.as_ref(), tenant.as_deref())
}

/// Says besides what it costs to fetch the rows; of tenants in which something can be reached others say.
fn index_condition(condition: &plan::Condition) -> Option<*mut pg_sys::Node> {
    let (who, place) = plan::place(&condition.place);
    if place == plan::WITHIN {
        return condition.answer(None);
    }
    let ids = ids(&condition.permission, who, place, condition.column_type()?)?;
    condition.answer(ids.as_ref())
}

/// What the planning session can reach at a place.
fn ids(permission: &str, who: As, place: &str, of: ColumnType) -> Option<Option<Ids>> {
    let places = places::if_known(permission, who)?;
    Some(match of {
        ColumnType::Uuid => sample(uuids(&places, place, SAMPLE)),
        ColumnType::Int2 => sample(ints::<i16>(&places, place, SAMPLE)),
        ColumnType::Int4 => sample(ints::<i32>(&places, place, SAMPLE)),
        ColumnType::Int8 => sample(ints::<i64>(&places, place, SAMPLE)),
        _ => sample(texts(&places, place, SAMPLE)),
    })
}

fn sample<T>((ids, count): (Vec<T>, usize)) -> Option<Ids>
where
    Vec<T>: IntoDatum,
{
    Ids::new(ids, count)
}
