//! What row security narrows a scan to: the engine's reach, with everything that it contains.

use crate::cache::{self, Policy};
use crate::certainty::Tenants;
use crate::pg::authority::Reading;
use crate::pg::clock;
use crate::pg::invalidation::{Channel, Stamp};
use crate::pg::user_table::{ColumnType, Place, Wanted};
use crate::store::{When, below};
use authz_engine::name::{Kind, Permission};
use authz_engine::node::{Key, Node};
use authz_engine::reach::{holds_everywhere, reach};
use authz_engine::subject::BindingIndex;
use authz_engine::{Instant, Interval, Subject};
use hashbrown::{HashMap, HashSet};
use std::rc::Rc;
use uuid::Uuid;

/// Where rows that a session may see can be, by the column that says so. A row outside of all of these is not
/// allowed; a row inside of one may be.
#[derive(Debug, Default)]
pub struct Reach {
    /// Every row of the type is allowed, in whatever tenant.
    pub all: bool,
    /// Rows of no tenant can be allowed as well.
    pub platform: bool,
    /// Tenants in which a row can be, wherever in them.
    pub within: HashSet<Uuid>,
    /// Tenants.
    pub tenants: HashSet<Uuid>,
    /// Organizations.
    pub organizations: HashSet<Uuid>,
    /// Teams.
    pub teams: HashSet<Uuid>,
    /// Projects.
    pub projects: HashSet<Uuid>,
    /// What an owner column can hold.
    pub owners: HashSet<Uuid>,
    /// Keys of the type's own rows.
    pub keys: HashSet<Key>,
    /// For types with a parent: the parent's type, and the permission to view such a one. Rows whose parent cannot be
    /// viewed cannot be reached, however wide the reach.
    pub parent: Option<(Kind, Permission)>,
    /// What is certain in tenants, as far as it was asked for.
    pub certain: Tenants,
}

impl Reach {
    /// Ids by place.
    pub fn ids(&self) -> Vec<(Place, Vec<Uuid>)> {
        [
            (Place::Tenant, &self.tenants),
            (Place::Organization, &self.organizations),
            (Place::Team, &self.teams),
            (Place::Project, &self.projects),
            (Place::Owner, &self.owners),
        ]
        .map(|(place, ids)| (place, ids.iter().copied().collect()))
        .into()
    }

    /// Keys.
    pub fn keys(&self) -> Vec<Key> {
        self.keys.iter().cloned().collect()
    }

    /// All of it, for a search of the table.
    pub const fn wanted<'a>(&self, ids: &'a [(Place, Vec<Uuid>)], keys: &'a [Key]) -> Wanted<'a> {
        Wanted {
            everywhere: self.platform,
            ids,
            keys,
        }
    }
}

/// A reach as long as it stays right.
pub struct Kept {
    reach: Rc<Reach>,
    subject: Rc<Subject>,
    valid: Interval,
    stamp: Stamp,
}

/// Whose reach, for what; and what a reach is remembered by.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Asked {
    /// Who.
    pub principal: Uuid,
    /// In this tenant only.
    pub tenant: Option<Uuid>,
    /// For what.
    pub permission: Permission,
    /// Was a second factor used?
    pub mfa: bool,
}

/// Remembered reaches of this backend: few, because a backend serves few sessions at a time.
pub type Memory = HashMap<Asked, Kept>;

/// More than this are forgotten all at once: sessions come and go.
const REMEMBERED: usize = 64;

/// The reach asked for.
pub fn of(asked: Asked, policy: &Policy) -> Rc<Reach> {
    let Some(subject) = cache::subject(asked.principal, policy) else {
        return Rc::default();
    };
    let at = clock::now();
    let kept = cache::reaches(|memory| {
        let kept = memory.get(&asked)?;
        let current = Rc::ptr_eq(&kept.subject, &subject) && kept.valid.contains(at) && kept.stamp.is_current();
        current.then(|| kept.reach.clone())
    });
    kept.unwrap_or_else(|| {
        let mut reading = Reading::begin();
        let at = clock::now();
        reading.depends_on(Channel::MODEL);
        reading.depends_on(Channel::SHAPE);
        let rules: Rules = subject
            .tenants(at)
            .filter_map(|t| Some((t, cache::tenant_rules(t)?)))
            .collect();
        let reach = Rc::new(compute(&asked, &subject, &rules, policy, at, &mut reading));
        let valid = rules
            .values()
            .map(|index| index.constant_around(at))
            .chain([policy.composition.valid])
            .try_fold(subject.constant_around(at), |valid, more| valid.intersect(&more));
        let kept = Kept {
            reach: reach.clone(),
            subject,
            valid: valid.unwrap_or(Interval::new(at, at)),
            stamp: reading.finish(),
        };
        cache::reaches(|memory| {
            if memory.len() >= REMEMBERED {
                memory.clear();
            }
            memory.insert(asked, kept)
        });
        reach
    })
}

/// The reach at another instant, not remembered.
pub fn once(asked: &Asked, subject: &Subject, policy: &Policy, when: When) -> Reach {
    let at = when.horizon();
    let rules: Rules = subject
        .tenants(at)
        .filter_map(|t| Some((t, cache::tenant_rules_once(t, when)?)))
        .collect();
    compute(asked, subject, &rules, policy, at, &mut Reading::begin())
}

/// The rules of tenants that address everybody.
type Rules = HashMap<Uuid, Rc<BindingIndex>>;

fn compute(
    asked: &Asked,
    subject: &Subject,
    rules: &Rules,
    policy: &Policy,
    at: Instant,
    reading: &mut Reading,
) -> Reach {
    let (model, composition) = (&policy.loaded.model, &policy.composition);
    let permission = asked.permission;
    let kind = model.definition(permission).map_or(Kind::PLATFORM, |d| d.kind);
    let registration = policy.loaded.registrations.get(&kind);

    let members: Vec<Uuid> = subject.tenants(at).collect();
    let found = reach(
        model,
        composition,
        subject,
        |t| rules.get(&t).map(|r| &**r),
        permission,
        at,
    );
    let mut out = Reach::default();
    if found.is_nowhere() {
        return out;
    }

    out.tenants.extend(&found.tenants);
    // A child's parents are not among its columns: wherever something is given, its rows can be anywhere in the tenant.
    // Nor is what a row's columns were before.
    let has_parent =
        registration.is_none_or(|r| r.parent.is_some() || policy.past.is_some() && !r.histories.is_empty());
    out.parent = registration.and_then(|r| parent(kind, r.parent?, policy, reading));
    let mut by_tenant: HashMap<Uuid, Vec<Node>> = HashMap::new();
    for (tenant, node) in found.nodes {
        let tenants = match (tenant, &node.key) {
            (Some(tenant), _) => vec![tenant],
            (None, Key::Uuid(id)) if node.kind.is_built_in() => {
                cache::scope(node.kind, *id).iter().filter_map(|s| s.tenant).collect()
            }
            (None, _) => below::tenants(reading),
        };
        for tenant in tenants {
            if has_parent || !(node.kind.is_built_in() || node.kind == kind) {
                out.tenants.insert(tenant);
            } else {
                by_tenant.entry(tenant).or_default().push(node.clone());
            }
        }
    }
    out.within.extend(by_tenant.keys());
    for (tenant, nodes) in by_tenant {
        for node in below::load(tenant, nodes.into_iter(), reading) {
            match (node.kind, node.key) {
                (Kind::TENANT, Key::Uuid(id)) => _ = out.tenants.insert(id),
                (Kind::ORGANIZATION, Key::Uuid(id)) => _ = out.organizations.insert(id),
                (Kind::TEAM, Key::Uuid(id)) => _ = out.teams.insert(id),
                (Kind::PROJECT, Key::Uuid(id)) => _ = out.projects.insert(id),
                (_, key) => _ = out.keys.insert(key),
            }
        }
    }
    if found.owned {
        out.owners.extend(subject.owner_ids(at));
        out.within.extend(&members);
        if has_parent {
            out.tenants.extend(&members);
        }
    }
    if found.everywhere {
        match asked.tenant {
            Some(tenant) => _ = out.tenants.insert(tenant),
            None => {
                out.platform = true;
                out.tenants.extend(below::tenants(reading));
            }
        }
        let by_level = registration.is_some_and(|r| r.columns.confidentiality.is_some());
        let by_deletion = registration.is_some_and(|r| r.columns.deleted_at.is_some());
        // As far as its own type goes: whoever asks looks at its parents as well.
        out.all = asked.tenant.is_none()
            && registration.is_some()
            && !below::has_rules_for_all(reading, at)
            && holds_everywhere(
                model,
                composition,
                subject,
                permission,
                (by_level, by_deletion),
                asked.mfa,
                at,
            );
    }
    out.within.extend(&out.tenants);
    if let Some(only) = asked.tenant {
        out.tenants.retain(|t| *t == only);
        out.within.retain(|t| *t == only);
    }
    out
}

/// The type of a type's parents and the permission to view them, where parents can be looked for by their keys: rows of a
/// table that have no parents themselves, whose keys are spelled in the child's column as in their own.
fn parent(kind: Kind, parent: Kind, policy: &Policy, reading: &mut Reading) -> Option<(Kind, Permission)> {
    reading.depends_on(Channel::TABLES);
    let view = policy.loaded.model.view_permission(parent)?;
    if policy.loaded.registrations.get(&parent)?.parent.is_some() {
        return None;
    }
    let (child, above) = (cache::table(kind)?, cache::table(parent)?);
    let (Ok(child), Ok(above)) = (child.as_ref(), above.as_ref()) else {
        return None;
    };
    let is_int = |t| matches!(t, ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8);
    let column = child.parent_type?;
    (column == above.key_type || is_int(column) && is_int(above.key_type)).then_some((parent, view))
}
