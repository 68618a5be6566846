//! Compiled policy, per backend.
//!
//! An entry is used as long as its [`Stamp`] is current and its instant lies where it was compiled for; otherwise
//! it is loaded anew, by whoever needs it. No borrow is held while PostgreSQL is called.

mod lru;
mod table;

use crate::pg::authority::Reading;
use crate::pg::clock;
use crate::pg::history::History;
use crate::pg::invalidation::Stamp;
use crate::pg::user_table::UserTable;
use crate::settings;
use crate::store::model::LoadedModel;
use crate::store::{self, When};
use authz_engine::name::{Kind, Vocabulary};
use authz_engine::subject::BindingIndex;
use authz_engine::{Composition, Instant, Interval, Node, Resource, Subject};
use hashbrown::HashMap;
use lru::Lru;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use uuid::Uuid;

pub use table::{apply_histories, histories, read_table, table};

#[derive(Clone, PartialEq, Eq, Hash)]
enum Name {
    Principal(Uuid),
    Scope(Kind, Uuid),
    TenantRules(Uuid),
    DbRole(Box<str>),
    /// Grants of a principal's large grantees on a chain.
    Large(Uuid, Box<[Node]>),
}

#[derive(Clone)]
enum Value {
    Principal(Option<Rc<Subject>>),
    PrincipalId(Option<Uuid>),
    Scope(Rc<[Resource]>),
    Index(Rc<BindingIndex>),
}

struct Entry {
    value: Value,
    stamp: Stamp,
    /// Instants that it is right for: from when it was loaded (what ended before was left out) to the next change
    /// of role composition.
    valid: Interval,
}

#[derive(Default)]
struct Cache {
    model: Option<(Rc<LoadedModel>, Stamp)>,
    composition: Option<Rc<Composition>>,
    /// The composition at the other instant that was asked about last.
    composition_once: Option<Rc<Composition>>,
    tables: HashMap<Kind, (Rc<Result<UserTable, String>>, Stamp)>,
    entries: Lru<Name, Entry>,
    reaches: crate::reach::Memory,
    hits: u64,
    loads: u64,
}

thread_local! {
    /// Names are numbers for as long as the backend lives, whatever is loaded anew.
    static NAMES: RefCell<Vocabulary> = RefCell::default();
    static CACHE: RefCell<Cache> = RefCell::default();
}

/// Roles, permissions and resource types, and role composition at an instant.
#[derive(Clone)]
pub struct Policy {
    /// The model.
    pub loaded: Rc<LoadedModel>,
    /// Composition at the instant.
    pub composition: Rc<Composition>,
    /// The past instant that it is of, if it is.
    pub past: Option<Rc<Past>>,
}

/// A past instant, and the histories of resources that were looked up for it.
pub struct Past {
    /// The instant.
    pub at: Instant,
    histories: RefCell<HashMap<Kind, Rc<Vec<History>>>>,
}

/// What this backend's cache has done so far.
pub struct Statistics {
    /// Answers from memory.
    pub hits: u64,
    /// Loads from tables.
    pub loads: u64,
    /// Entries that made room for others.
    pub evictions: u64,
    /// Bytes in use.
    pub bytes: usize,
    /// Entries.
    pub entries: usize,
}

/// Statistics of this backend.
pub fn statistics() -> Statistics {
    CACHE.with_borrow(|c| Statistics {
        hits: c.hits,
        loads: c.loads,
        evictions: c.entries.evictions(),
        bytes: c.entries.bytes(),
        entries: c.entries.len(),
    })
}

/// The policy now.
pub fn policy() -> Policy {
    let at = clock::now();
    let current = CACHE.with_borrow(|c| {
        let (loaded, stamp) = c.model.as_ref()?;
        let composition = c.composition.as_ref()?;
        (stamp.is_current() && composition.valid.contains(at)).then(|| Policy {
            loaded: loaded.clone(),
            composition: composition.clone(),
            past: None,
        })
    });
    current.unwrap_or_else(|| {
        let loaded = model();
        let composition = Rc::new(Composition::compile(&loaded.model, clock::now()));
        CACHE.with_borrow_mut(|c| c.composition = Some(composition.clone()));
        Policy {
            loaded,
            composition,
            past: None,
        }
    })
}

/// The policy at another instant.
pub fn policy_once(when: When) -> Policy {
    let loaded = model();
    let at = when.horizon();
    let known = CACHE.with_borrow(|c| c.composition_once.clone().filter(|k| k.valid.contains(at)));
    let composition = known.unwrap_or_else(|| {
        let composition = Rc::new(Composition::compile(&loaded.model, at));
        CACHE.with_borrow_mut(|c| c.composition_once = Some(composition.clone()));
        composition
    });
    let past = match when {
        When::Now(_) => None,
        When::At(at) => Some(Rc::new(Past {
            at,
            histories: RefCell::default(),
        })),
    };
    Policy {
        loaded,
        composition,
        past,
    }
}

fn model() -> Rc<LoadedModel> {
    let current = CACHE.with_borrow(|c| {
        c.model
            .as_ref()
            .filter(|(_, stamp)| stamp.is_current())
            .map(|(loaded, _)| loaded.clone())
    });
    current.unwrap_or_else(|| {
        let mut reading = Reading::begin();
        let loaded = NAMES.with_borrow_mut(|names| {
            let loaded = store::model::load(names.clone(), &mut reading);
            *names = loaded.model.names.clone();
            Rc::new(loaded)
        });
        let stamp = reading.finish();
        CACHE.with_borrow_mut(|c| {
            c.loads += 1;
            c.composition = None;
            c.composition_once = None;
            c.model = Some((loaded.clone(), stamp));
        });
        loaded
    })
}

/// Looks in memory, else loads for the instant that it is then. `until` is where what is loaded stops being right, if
/// that is known; `None` where it does not depend on the instant at all. `load` also says how large the value is.
fn entry(
    name: Name,
    until: Option<Instant>,
    load: impl FnOnce(&mut Reading, &mut Vocabulary, Instant) -> (Value, usize),
) -> Value {
    let at = clock::now();
    let hit = CACHE.with_borrow_mut(|c| {
        let entry = c.entries.get(&name)?;
        if !entry.stamp.is_current() || !entry.valid.contains(at) {
            return None;
        }
        let value = entry.value.clone();
        c.hits += 1;
        Some(value)
    });
    hit.unwrap_or_else(|| {
        let mut reading = Reading::begin();
        let at = clock::now();
        let (value, bytes) = NAMES.with_borrow_mut(|names| load(&mut reading, names, at));
        let stamp = reading.finish();
        let bytes = bytes + stamp.bytes() + size_of::<Entry>();
        let entry = Entry {
            value: value.clone(),
            stamp,
            valid: until.map_or(Interval::ALWAYS, |until| Interval::new(at, until)),
        };
        CACHE.with_borrow_mut(|c| {
            c.loads += 1;
            c.entries.insert(name, entry, bytes, settings::cache_size());
        });
        value
    })
}

/// A principal, now; `None` if there is no such one.
pub fn subject(id: Uuid, policy: &Policy) -> Option<Rc<Subject>> {
    let composition = &policy.composition;
    let load = |reading: &mut Reading, names: &mut Vocabulary, at: Instant| {
        let subject = store::principal::load(id, When::Now(at), composition, names, reading).map(Rc::new);
        let bytes = subject.as_ref().map_or(0, |s| s.bytes());
        (Value::Principal(subject), bytes)
    };
    match entry(Name::Principal(id), Some(composition.valid.until), load) {
        Value::Principal(subject) => subject,
        _ => None,
    }
}

/// A principal at another instant, not kept.
pub fn subject_once(id: Uuid, when: When, policy: &Policy) -> Option<Rc<Subject>> {
    let mut reading = Reading::begin();
    NAMES
        .with_borrow_mut(|names| store::principal::load(id, when, &policy.composition, names, &mut reading))
        .map(Rc::new)
}

/// The principal that is bound to a database role.
pub fn principal_of_role(role: &str) -> Option<Uuid> {
    let load = |reading: &mut Reading, _: &mut Vocabulary, _: Instant| {
        (
            Value::PrincipalId(store::principal::id_of_role(role, reading)),
            role.len(),
        )
    };
    match entry(Name::DbRole(role.into()), None, load) {
        Value::PrincipalId(id) => id,
        _ => None,
    }
}

/// The tenants, organizations, teams or projects of an id, one for each tenant that has one.
pub fn scope(kind: Kind, id: Uuid) -> Rc<[Resource]> {
    let load = |reading: &mut Reading, _: &mut Vocabulary, _: Instant| {
        let scopes: Rc<[Resource]> = store::scope::load(kind, id, reading).into();
        let bytes = scopes.iter().map(Resource::bytes).sum();
        (Value::Scope(scopes), bytes)
    };
    // Structure has no validity: it is right at every instant.
    match entry(Name::Scope(kind, id), None, load) {
        Value::Scope(scopes) => scopes,
        _ => Rc::new([]),
    }
}

/// The rules of a tenant that address everybody, now; `None` if there are none.
pub fn tenant_rules(id: Uuid) -> Option<Rc<BindingIndex>> {
    let load = |reading: &mut Reading, names: &mut Vocabulary, at: Instant| {
        let index = store::tenant::load_rules(id, When::Now(at), names, reading);
        let bytes = index.bytes();
        (Value::Index(Rc::new(index)), bytes)
    };
    some_index(entry(Name::TenantRules(id), Some(Instant::MAX), load))
}

/// The same at another instant, not kept.
pub fn tenant_rules_once(id: Uuid, when: When) -> Option<Rc<BindingIndex>> {
    let mut reading = Reading::begin();
    let index = NAMES.with_borrow_mut(|names| store::tenant::load_rules(id, when, names, &mut reading));
    some_index(Value::Index(Rc::new(index)))
}

/// The grants of the principal's large grantees on a chain, now; `None` if there are none.
pub fn large_grants(subject: &Subject, chain: &[Node], policy: &Policy) -> Option<Rc<BindingIndex>> {
    if subject.large.is_empty() {
        return None;
    }
    let load = |reading: &mut Reading, names: &mut Vocabulary, at: Instant| {
        let index = store::principal::load_large(subject, chain, When::Now(at), names, reading);
        let bytes = index.bytes() + size_of_val(chain) * 2;
        (Value::Index(Rc::new(index)), bytes)
    };
    some_index(entry(
        Name::Large(subject.id, chain.into()),
        Some(policy.composition.valid.until),
        load,
    ))
}

/// The same at another instant, not kept.
pub fn large_grants_once(subject: &Subject, chain: &[Node], when: When) -> Option<Rc<BindingIndex>> {
    if subject.large.is_empty() {
        return None;
    }
    let mut reading = Reading::begin();
    let index = NAMES.with_borrow_mut(|names| store::principal::load_large(subject, chain, when, names, &mut reading));
    some_index(Value::Index(Rc::new(index)))
}

/// Who may have something to do with a resource: see [`store::candidate`].
pub fn candidates(wanted: &store::candidate::Wanted<'_>, when: When) -> BTreeSet<Uuid> {
    let mut reading = Reading::begin();
    NAMES.with_borrow_mut(|names| store::candidate::load(wanted, when, names, &mut reading))
}

fn some_index(value: Value) -> Option<Rc<BindingIndex>> {
    match value {
        Value::Index(index) if !index.is_empty() => Some(index),
        _ => None,
    }
}

/// Remembered reaches.
pub fn reaches<T>(f: impl FnOnce(&mut crate::reach::Memory) -> T) -> T {
    CACHE.with_borrow_mut(|c| f(&mut c.reaches))
}
