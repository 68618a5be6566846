//! Parents of rows, remembered for as long as a statement sees the same: many children have few parents.

use crate::cache;
use crate::pg::invalidation;
use crate::pg::view::View;
use crate::reach::{Asked, Reach};
use authz_engine::Key;
use authz_engine::name::Kind;
use authz_engine::resource::Parent;
use hashbrown::{HashMap, HashSet};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use uuid::Uuid;

/// Type, tenant, key.
type Name = (Kind, Uuid, Key);

/// More than this are forgotten all at once.
const REMEMBERED: usize = 16_384;

#[derive(Default)]
struct Found {
    /// What was seen, and the last message about authority or tables.
    at: Option<(View, u64)>,
    parents: HashMap<Name, Parent>,
}

/// Of whom parents are few: more are not looked for one by one.
const FEW: usize = 10_000;

/// More statements than this are not under way at a time, as a rule.
const STATEMENTS: usize = 16;

/// Keys of the parents that somebody can reach, in one statement.
struct Keys {
    view: View,
    asked: Asked,
    reach: Rc<Reach>,
    /// `None` = too many. A statement keeps to what it began with: its arms must fit together.
    keys: Option<Rc<HashSet<Key>>>,
}

thread_local! {
    static FOUND: RefCell<Found> = RefCell::default();
    static KEYS: RefCell<VecDeque<Keys>> = const { RefCell::new(VecDeque::new()) };
}

/// The parent of that name: remembered, or found by `find`.
pub fn parent(kind: Kind, tenant: Uuid, key: &Key, find: impl FnOnce() -> Parent) -> Parent {
    let Some(view) = View::current() else {
        return find();
    };
    let at = Some((view, invalidation::sequence()));
    let name = (kind, tenant, key.clone());
    let known = FOUND.with_borrow(|f| (f.at == at).then(|| f.parents.get(&name).cloned()).flatten());
    known.unwrap_or_else(|| {
        let parent = find();
        // Messages may have arrived meanwhile: then it is not remembered.
        if at == Some((view, invalidation::sequence())) {
            FOUND.with_borrow_mut(|f| {
                if f.at != at || f.parents.len() >= REMEMBERED {
                    f.parents.clear();
                    f.at = at;
                }
                f.parents.insert(name, parent.clone());
            });
        }
        parent
    })
}

/// Keys of rows of a type without parents that `asked` can reach, and perhaps of others; `None` where those are many.
pub fn keys(kind: Kind, asked: Asked, reach: Rc<Reach>) -> Option<Rc<HashSet<Key>>> {
    let view = View::current()?;
    let known = KEYS.with_borrow(|all| {
        let keys = all.iter().find(|k| k.view == view && k.asked == asked)?;
        Some((keys.keys.clone(), Rc::ptr_eq(&keys.reach, &reach)))
    });
    let most = match known {
        Some((None, _)) => return None,
        Some((keys, true)) => return keys,
        Some((_, false)) => usize::MAX,
        None => FEW,
    };
    let keys = search(kind, asked.tenant, &reach, most).map(Rc::new);
    KEYS.with_borrow_mut(|all| {
        all.retain(|k| k.view != view || k.asked != asked);
        all.truncate(STATEMENTS - 1);
        all.push_front(Keys {
            view,
            asked,
            reach,
            keys: keys.clone(),
        });
    });
    keys
}

fn search(kind: Kind, tenant: Option<Uuid>, reach: &Reach, most: usize) -> Option<HashSet<Key>> {
    let limited = most != usize::MAX;
    // Those who see a whole tenant find children by tenant as well.
    if limited && (reach.platform || !reach.tenants.is_empty()) {
        return None;
    }
    let (ids, own) = (reach.ids(), reach.keys());
    let wanted = reach.wanted(&ids, &own);
    cache::read_table(kind, |table| {
        let Ok(table) = table else {
            return Ok(None);
        };
        if limited && !table.is_searchable(&wanted)? {
            return Ok(None);
        }
        let mut keys = HashSet::new();
        let mut rows = 0;
        table.search(&wanted, |row| {
            rows += 1;
            if tenant.is_none() || tenant == row.tenant {
                keys.insert(row.key);
            }
            rows <= most
        })?;
        Ok((rows <= most).then_some(keys))
    })?
}
