//! Tables that are registered, and histories: whoever reads one may have to wait for somebody who changes it.

use super::{CACHE, Policy, model};
use crate::pg::authority::Reading;
use crate::pg::history::History;
use crate::pg::invalidation::{self, Channel};
use crate::pg::user_table::{Boundary, Changed, UserTable};
use crate::store::model::LoadedModel;
use authz_engine::name::Kind;
use std::rc::Rc;

/// What `look` finds by what is registered. Whoever looks a table up may have to wait for somebody who changes it, or a part of
/// it, or what is registered of it: then the one was looked up before, and the other after, and it begins once more.
fn look_up<T>(look: impl Fn(&LoadedModel) -> T) -> T {
    loop {
        let as_of = invalidation::sequence();
        let model = model();
        let found = look(&model);
        if !invalidation::tables_changed_since(as_of) && Rc::ptr_eq(&model, &self::model()) {
            return found;
        }
    }
}

/// The table of a registered resource type; `None` if the type is not registered. The error says what is wrong with it.
pub fn table(kind: Kind) -> Option<Rc<Result<UserTable, String>>> {
    let current = CACHE.with_borrow(|c| {
        c.tables
            .get(&kind)
            .filter(|(_, stamp)| stamp.is_current())
            .map(|(table, _)| table.clone())
    });
    if current.is_some() {
        return current;
    }
    let mut reading = Reading::begin();
    reading.depends_on(Channel::TABLES);
    reading.depends_on(Channel::SHAPE);
    let table = Rc::new(look_up(|model| {
        let registration = model.registrations.get(&kind)?;
        Some(UserTable::resolve(registration.target, &registration.columns))
    })?);
    let stamp = reading.finish();
    CACHE.with_borrow_mut(|c| c.tables.insert(kind, (table.clone(), stamp)));
    Some(table)
}

/// What `read` makes of the table of a registered resource type, or of what is wrong with it; `None` if the type is not
/// registered. Where the table has changed while it was read, it is read once more.
pub fn read_table<T>(kind: Kind, mut read: impl FnMut(Result<&UserTable, &String>) -> Result<T, Changed>) -> Option<T> {
    loop {
        let table = table(kind)?;
        if let Ok(read) = read(table.as_ref().as_ref()) {
            return Some(read);
        }
    }
}

/// The histories of a type's resources, resolved once for each question about the past.
pub fn histories(kind: Kind, policy: &Policy) -> Rc<Vec<History>> {
    let Some(past) = &policy.past else {
        return Rc::default();
    };
    if let Some(known) = past.histories.borrow().get(&kind) {
        return known.clone();
    }
    let found: Rc<Vec<History>> = Rc::new(look_up(|model| {
        let registration = model.registrations.get(&kind);
        let names = registration.into_iter().flat_map(|r| &r.histories);
        names.map(History::resolve).collect()
    }));
    past.histories.borrow_mut().insert(kind, found.clone());
    found
}

/// Puts what the histories of a type say of a past instant into the boundary of a row. Where one has changed while it was read,
/// all are read once more.
pub fn apply_histories(kind: Kind, policy: &Policy, boundary: &mut Boundary) {
    let Some(past) = &policy.past else {
        return;
    };
    let then = loop {
        let mut then = boundary.clone();
        let histories = histories(kind, policy);
        match histories
            .iter()
            .try_for_each(|history| history.apply(&mut then, past.at))
        {
            Ok(()) => break then,
            Err(Changed) => _ = past.histories.borrow_mut().remove(&kind),
        }
    };
    *boundary = then;
}
