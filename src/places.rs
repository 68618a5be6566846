//! Where rows can be that the session may see: what plans are narrowed by, and what answers for most rows.

use crate::cache::Policy;
use crate::certainty::{self, Spot};
use crate::decision::{self, As, RowCheck, kind_of, permission, policy_now, uses_mfa};
use crate::parents;
use crate::pg::view::View;
use crate::pg::{clock, invalidation};
use crate::reach::{self, Asked, Reach};
use crate::session::{self, Session};
use authz_engine::name::Permission;
use authz_engine::{Instant, Key};
use hashbrown::HashSet;
use std::cell::{OnceCell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use uuid::Uuid;

/// Where rows of a type can be, by column.
pub struct Places {
    reach: Rc<Reach>,
    /// Whose, for what; `None`: there is no session.
    asked: Option<Asked>,
    /// Looked for when somebody asks.
    parents: OnceCell<Parents>,
}

/// Of a type with a parent: the parents' keys, if they are few. Then nothing else is looked for but rows that have no
/// parent.
struct Parents {
    keys: Option<Rc<HashSet<Key>>>,
    /// What the statement saw of the data.
    view: Option<View>,
}

impl Places {
    fn new(asked: Asked, policy: &Policy) -> Places {
        Places {
            reach: reach::of(asked.clone(), policy),
            asked: Some(asked),
            parents: OnceCell::new(),
        }
    }

    fn nowhere() -> Places {
        Places {
            reach: Rc::default(),
            asked: None,
            parents: OnceCell::new(),
        }
    }

    /// Says what is known of a row without a decision of its own: that it is allowed, or that it is out of reach.
    #[inline]
    pub fn surely(&self, row: &RowCheck<'_>) -> Option<bool> {
        let only = self.asked.as_ref()?.tenant;
        if only.is_some() && only != row.tenant || !self.can_reach(row) {
            return Some(false);
        }
        let spot = Spot {
            key: &row.key,
            organization: row.organization,
            team: row.team,
            project: row.project,
            confidentiality: row.confidentiality,
        };
        (!row.deleted && row.tenant.is_some_and(|tenant| self.reach.certain.allow(tenant, &spot))).then_some(true)
    }

    fn can_reach(&self, row: &RowCheck<'_>) -> bool {
        let reach = &*self.reach;
        let has = |ids: &HashSet<Uuid>, id: Option<Uuid>| !ids.is_empty() && id.is_some_and(|id| ids.contains(&id));
        row.tenant
            .map_or(reach.platform, |tenant| reach.tenants.contains(&tenant))
            || has(&reach.organizations, row.organization)
            || has(&reach.teams, row.team)
            || has(&reach.projects, row.project)
            || has(&reach.owners, row.owner)
            || !reach.keys.is_empty() && reach.keys.contains(&row.key)
    }

    /// Called for a row that [`Self::surely`] did not answer for.
    pub fn note(&self, tenant: Uuid, asked: &certainty::Asked<'_>) {
        self.reach.certain.note(tenant, asked);
    }

    fn parents(&self) -> Option<&HashSet<Key>> {
        let found = self.parents.get_or_init(|| {
            let keys = self.asked.as_ref().and_then(|asked| {
                let (kind, view) = self.reach.parent?;
                let policy = policy_now();
                let asked = Asked {
                    permission: view,
                    ..asked.clone()
                };
                let above = reach::of(asked.clone(), &policy);
                parents::keys(kind, asked, above)
            });
            Parents {
                view: keys.as_ref().and_then(|_| View::current()),
                keys,
            }
        });
        found.keys.as_deref()
    }

    /// Does what was found of parents still hold?
    fn is_fresh(&self) -> bool {
        self.parents
            .get()
            .is_none_or(|p| p.keys.is_none() || p.view.is_some() && p.view == View::current())
    }

    /// Ids of tenants, scopes or owners. `within`: tenants of all that can be reached. `orphan tenant`: tenants of rows
    /// that have no parent.
    pub fn ids(&self, place: &str) -> Option<&HashSet<Uuid>> {
        Some(match place {
            "within" => &self.reach.within,
            "tenant" if self.parents().is_none() => &self.reach.tenants,
            "orphan tenant" if self.parents().is_some() => &self.reach.tenants,
            "organization" => &self.reach.organizations,
            "team" => &self.reach.teams,
            "project" => &self.reach.projects,
            "owner" => &self.reach.owners,
            _ => return None,
        })
    }

    /// Keys of rows or of their parents.
    pub fn keys(&self, place: &str) -> Option<&HashSet<Key>> {
        match place {
            "key" => Some(&self.reach.keys),
            "parent" => self.parents(),
            _ => None,
        }
    }
}

/// All that places depend on, so that they can be used for the next row as well.
#[derive(Clone, Copy, PartialEq)]
struct Circumstances {
    /// Session and statement.
    moment: i64,
    /// Authority and tables.
    sequence: u64,
    at: Instant,
}

struct Used {
    code: Box<str>,
    who: As,
    under: Circumstances,
    places: Rc<Places>,
}

impl Used {
    #[inline]
    fn is(&self, code: &str, who: As, under: &Circumstances) -> bool {
        self.under == *under && self.who == who && *self.code == *code && self.places.is_fresh()
    }
}

/// Places of more permissions than these are seldom asked for by turns.
const USED: usize = 8;

thread_local! {
    static LAST: RefCell<VecDeque<Used>> = const { RefCell::new(VecDeque::new()) };
}

/// Where the session's rows can be; `None` without a session. Asked for every row that a scan finds, several times.
pub fn of(code: &str, who: As) -> Option<Rc<Places>> {
    invalidation::receive();
    let under = Circumstances {
        moment: session::moment(),
        sequence: invalidation::sequence(),
        at: clock::now(),
    };
    let known = LAST.with_borrow(|last| Some(last.iter().find(|u| u.is(code, who, &under))?.places.clone()));
    if known.is_some() {
        return known;
    }
    let session = session::current()?;
    let policy = policy_now();
    let places = Rc::new(Places::new(asked(&session, who, permission(&policy, code)), &policy));
    LAST.with_borrow_mut(|last| {
        last.truncate(USED - 1);
        last.push_front(Used {
            code: code.into(),
            who,
            under,
            places: places.clone(),
        });
    });
    Some(places)
}

/// Places that were asked for before in this statement, messages having been received. Cannot fail.
#[inline]
fn at_hand<T>(code: &str, who: As, with: impl FnOnce(&Places) -> Option<T>) -> Option<T> {
    let under = Circumstances {
        moment: session::known_moment()?,
        sequence: invalidation::sequence(),
        at: clock::now(),
    };
    LAST.with(|last| {
        let last = last.try_borrow().ok()?;
        let is = |u: &&Used| u.under == under && u.who == who && *u.code == *code;
        with(&last.iter().find(is)?.places)
    })
}

/// What is known of a row from places at hand.
#[inline]
pub fn surely(code: &str, who: As, row: &RowCheck<'_>) -> Option<bool> {
    at_hand(code, who, |places| places.surely(row))
}

/// Is it at hand whether the place is one that can be reached?
#[inline]
pub fn surely_via(code: &str, who: As, place: &str, id: Uuid) -> Option<bool> {
    at_hand(code, who, |places| {
        let reach = &*places.reach;
        Some(match place {
            "within" => reach.within.contains(&id),
            // Other tenants where parents are looked for.
            "tenant" if reach.parent.is_none() => reach.tenants.contains(&id),
            "organization" => reach.organizations.contains(&id),
            "team" => reach.teams.contains(&id),
            "key" => reach.keys.contains(&Key::Uuid(id)),
            _ => return None,
        })
    })
}

/// What the planner may count on for the session that plans.
#[derive(Clone, Copy, Debug)]
pub struct Outlook {
    /// It sees every row of the type. Right for rows whose tenant is there, and whose parents are.
    pub all: bool,
    /// It sees rows of the tenant that it names, and of no other; plans may count on it.
    pub one_tenant: bool,
    /// Of the tenants that it sees rows can be anywhere: there is nothing to look for.
    pub anywhere: bool,
}

/// Do plans for the session look for its tenant's rows only? A session that ends must not leave its plans to one that
/// begins by itself.
fn has_one_tenant(session: &Session, who: As) -> bool {
    who.tenant(session).is_some() && !session::begins_by_itself()
}

/// The column that such plans compare with the session's tenant.
pub fn tenant_column(code: &str, who: As) -> Option<String> {
    session::current().filter(|session| has_one_tenant(session, who))?;
    Some(decision::columns(code)?.tenant)
}

/// The planning session's outlook on rows of the permission's type.
pub fn outlook(code: &str, who: As) -> Outlook {
    let Some(session) = session::current() else {
        return Outlook {
            all: false,
            one_tenant: false,
            anywhere: false,
        };
    };
    let policy = policy_now();
    let permission = permission(&policy, code);
    let reach = reach::of(asked(&session, who, permission), &policy);
    let tenant = who.tenant(&session);
    let is_wide = |reach: &Reach| tenant.map_or(reach.platform, |tenant| reach.tenants.contains(&tenant));
    let above = |(_, view)| is_wide(&reach::of(asked(&session, who, view), &policy));
    Outlook {
        all: sees_all(code, who),
        one_tenant: has_one_tenant(&session, who),
        anywhere: is_wide(&reach) && reach.parent.is_none_or(above),
    }
}

/// Does the session see every row of the permission's type? Right for rows whose tenant is there, and whose parents are.
pub fn sees_all(code: &str, who: As) -> bool {
    let Some(session) = session::current() else {
        return false;
    };
    let policy = policy_now();
    let mut permission = permission(&policy, code);
    let mut seen = Vec::new();
    loop {
        let kind = kind_of(&policy, permission);
        if !reach::of(asked(&session, who, permission), &policy).all || seen.contains(&kind) {
            return false;
        }
        seen.push(kind);
        let parent = policy.loaded.registrations.get(&kind).and_then(|r| r.parent);
        match parent.map(|parent| policy.loaded.model.view_permission(parent)) {
            None => return true,
            Some(None) => return false,
            Some(Some(view)) => permission = view,
        }
    }
}

fn asked(session: &Session, who: As, permission: Permission) -> Asked {
    Asked {
        principal: session.principal,
        tenant: who.tenant(session),
        permission,
        mfa: uses_mfa(who.context(session)),
    }
}

/// Places for the planner, which must not fail: a permission that is not defined is none.
pub fn if_known(code: &str, who: As) -> Option<Places> {
    let policy = policy_now();
    match (session::current(), policy.loaded.model.permission(code)) {
        (Some(session), Some(permission)) => Some(Places::new(asked(&session, who, permission), &policy)),
        (None, _) => Some(Places::nowhere()),
        (Some(_), None) => None,
    }
}
