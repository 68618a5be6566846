//! Rows that need no decision of their own: what the engine is certain about, with everything that it contains.
//!
//! Row security asks about every row of a scan. Most rows of a principal lie at places where nothing but a role or a grant
//! decides; those are answered by a look into a few sets. Every other row goes to the engine, and so does every row until
//! there were enough of its tenant to pay for the sets.

use crate::cache::{self, Policy};
use crate::pg::authority::Reading;
use crate::pg::clock;
use crate::pg::invalidation::{Channel, Stamp};
use crate::store::below;
use authz_engine::certain::{Certain, Held, Wanted, certain};
use authz_engine::name::{Kind, Permission};
use authz_engine::node::{Key, Node};
use authz_engine::resource::Confidentiality;
use authz_engine::{Interval, Subject};
use hashbrown::{HashMap, HashSet};
use std::cell::RefCell;
use std::rc::Rc;
use uuid::Uuid;

/// So many rows of a tenant are decided one by one before the sets are made.
const ROWS: u32 = 4;

/// The columns of a row that say where it is.
pub struct Spot<'a> {
    /// Its key.
    pub key: &'a Key,
    /// Its organization.
    pub organization: Option<Uuid>,
    /// Its team.
    pub team: Option<Uuid>,
    /// Its project.
    pub project: Option<Uuid>,
    /// Its level.
    pub confidentiality: Option<&'a str>,
}

/// Tenants of which rows were asked about.
#[derive(Debug, Default)]
pub struct Tenants(RefCell<HashMap<Uuid, Seen>>);

#[derive(Debug)]
enum Seen {
    /// So many rows, one by one.
    Rows(u32),
    /// The sets.
    Sets(Rc<Sets>),
}

#[derive(Debug)]
struct Sets {
    /// `None`: nothing is certain.
    places: Option<Places>,
    valid: Interval,
    stamp: Stamp,
}

#[derive(Debug)]
struct Places {
    levels: bool,
    permission: Closed,
    restricted: Closed,
    sealed: Closed,
    doubtful: Closed,
}

/// Nodes with what they contain, each kind apart: columns are looked up by their kind.
#[derive(Debug, Default)]
struct Closed {
    everywhere: bool,
    organizations: HashSet<Uuid>,
    teams: HashSet<Uuid>,
    projects: HashSet<Uuid>,
    keys: HashSet<Key>,
}

impl Tenants {
    /// Is the row of that tenant allowed for sure? `false`: the engine has to say.
    pub fn allow(&self, tenant: Uuid, spot: &Spot<'_>) -> bool {
        let seen = self.0.borrow();
        let Some(Seen::Sets(sets)) = seen.get(&tenant) else {
            return false;
        };
        sets.is_current() && sets.places.as_ref().is_some_and(|places| places.allow(spot))
    }

    /// Called for a row that [`Self::allow`] did not answer for; now and then makes the sets.
    pub fn note(&self, tenant: Uuid, asked: &Asked<'_>) {
        let due = match self.0.borrow_mut().entry(tenant).or_insert(Seen::Rows(0)) {
            Seen::Rows(rows) => {
                *rows += 1;
                *rows >= ROWS
            }
            Seen::Sets(sets) => !sets.is_current(),
        };
        if due {
            // No borrow is held while tables are read.
            let sets = Rc::new(Sets::make(tenant, asked));
            self.0.borrow_mut().insert(tenant, Seen::Sets(sets));
        }
    }
}

/// Who asks for what.
pub struct Asked<'a> {
    /// Who.
    pub subject: &'a Subject,
    /// For what.
    pub permission: Permission,
    /// On rows of this type.
    pub kind: Kind,
    /// Have they levels?
    pub levels: bool,
    /// Was a second factor used?
    pub mfa: bool,
    /// By this.
    pub policy: &'a Policy,
}

impl Sets {
    fn make(tenant: Uuid, asked: &Asked<'_>) -> Sets {
        let (model, composition) = (&asked.policy.loaded.model, &asked.policy.composition);
        let mut reading = Reading::begin();
        let at = clock::now();
        reading.depends_on(Channel::MODEL);
        reading.depends_on(Channel::SHAPE);
        reading.depends_on(Channel::tenant(tenant));
        let rules = cache::tenant_rules(tenant);
        let exists = !cache::scope(Kind::TENANT, tenant).is_empty();
        let question = Wanted {
            permission: asked.permission,
            tenant,
            mfa_used: asked.mfa,
            at,
        };
        let found = exists
            .then(|| certain(model, composition, asked.subject, rules.as_deref(), &question))
            .flatten();
        let places = found.map(|found| Places::close(found, tenant, asked, &mut reading));
        let valid = rules
            .map(|rules| rules.constant_around(at))
            .into_iter()
            .chain([composition.valid])
            .try_fold(asked.subject.constant_around(at), |valid, more| valid.intersect(&more));
        Sets {
            places,
            valid: valid.unwrap_or(Interval::new(at, at)),
            stamp: reading.finish(),
        }
    }

    fn is_current(&self) -> bool {
        self.stamp.is_current() && self.valid.contains(clock::now())
    }
}

impl Places {
    fn close(found: Certain, tenant: Uuid, asked: &Asked<'_>, reading: &mut Reading) -> Places {
        // What is said about rows of other types is said about none of these.
        let mut closed = |everywhere: bool, nodes: Vec<Node>| {
            let own = nodes
                .into_iter()
                .filter(|n| n.kind.is_built_in() || n.kind == asked.kind);
            let mut closed = Closed::of(own, tenant, reading);
            closed.everywhere |= everywhere;
            closed
        };
        let mut held = |held: Held| closed(held.everywhere, held.nodes);
        Places {
            levels: asked.levels,
            permission: held(found.permission),
            restricted: held(found.restricted),
            sealed: held(found.sealed),
            doubtful: closed(false, found.doubtful),
        }
    }

    fn allow(&self, spot: &Spot<'_>) -> bool {
        let level = if self.levels {
            Confidentiality::from_text(spot.confidentiality)
        } else {
            Confidentiality::Normal
        };
        let opened = match level {
            Confidentiality::Normal => true,
            Confidentiality::Restricted => self.restricted.has(spot),
            Confidentiality::Sealed => self.sealed.has(spot),
            Confidentiality::Unknown => false,
        };
        opened && self.permission.has(spot) && !self.doubtful.has(spot)
    }
}

impl Closed {
    fn of(nodes: impl Iterator<Item = Node>, tenant: Uuid, reading: &mut Reading) -> Closed {
        let mut closed = Closed::default();
        for node in below::load(tenant, nodes, reading) {
            match (node.kind, node.key) {
                (Kind::TENANT, _) => closed.everywhere = true,
                (Kind::ORGANIZATION, Key::Uuid(id)) => _ = closed.organizations.insert(id),
                (Kind::TEAM, Key::Uuid(id)) => _ = closed.teams.insert(id),
                (Kind::PROJECT, Key::Uuid(id)) => _ = closed.projects.insert(id),
                (_, key) => _ = closed.keys.insert(key),
            }
        }
        closed
    }

    fn has(&self, spot: &Spot<'_>) -> bool {
        let in_one = |set: &HashSet<Uuid>, id: Option<Uuid>| !set.is_empty() && id.is_some_and(|id| set.contains(&id));
        self.everywhere
            || in_one(&self.teams, spot.team)
            || in_one(&self.organizations, spot.organization)
            || in_one(&self.projects, spot.project)
            || !self.keys.is_empty() && self.keys.contains(spot.key)
    }
}
