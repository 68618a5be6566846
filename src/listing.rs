//! The other way round: not "may it?", but "which?". Each listing equals the set of checks.

use crate::cache;
use crate::decision::{Ask, Asker};
use crate::reach::{self, Asked, Reach};
use crate::resource::{self, Given, Located};
use crate::store::below;
use crate::store::candidate;
use authz_engine::explain::Looked;
use authz_engine::name::Kind;
use authz_engine::{Instant, Key, Reason};
use std::collections::BTreeSet;
use std::rc::Rc;
use uuid::Uuid;

/// Every resource that the principal may use the permission on, at an instant or (`None`) now, ordered by key and
/// tenant, after the key `after`.
pub fn resources(
    principal: Uuid,
    code: &str,
    tenant: Option<Uuid>,
    after: Option<&Key>,
    at: Option<Instant>,
) -> Vec<(Key, Option<Uuid>)> {
    let asker = Asker::as_of(Some(principal), at);
    let permission = asker.permission(code);
    let kind = asker.kind(permission);
    let asked = Asked {
        principal,
        tenant,
        permission,
        mfa: false,
    };
    let reach = match (at, asker.subject()) {
        (None, _) => reach::of(asked, asker.policy()),
        (Some(_), Some(subject)) => Rc::new(reach::once(&asked, subject, asker.policy(), asker.when())),
        (Some(_), None) => return Vec::new(),
    };
    let wanted = |tenant_of: Option<Uuid>, key: &Key| {
        (tenant.is_none() || tenant == tenant_of) && after.is_none_or(|after| key > after)
    };
    let mut found = BTreeSet::new();
    let mut decide = |located: Located| {
        let ask = Ask {
            principal,
            resource: Given::Text(""),
            tenant: None,
            context: None,
        };
        let name = (located.key.clone(), located.tenant);
        if !found.contains(&name) && asker.decide(permission, &Ok(located), &ask) == Reason::Allowed {
            found.insert(name);
        }
    };
    if kind.is_built_in() {
        for id in scopes(kind, &reach) {
            let scopes = cache::scope(kind, id);
            for n in 0..scopes.len() {
                if wanted(scopes[n].tenant, &scopes[n].key) {
                    decide(Located::Scope(scopes.clone(), n));
                }
            }
        }
    } else {
        let (ids, keys) = (reach.ids(), reach.keys());
        let wanted_places = reach.wanted(&ids, &keys);
        let rows = cache::read_table(kind, |table| {
            let mut rows = Vec::new();
            if let Ok(table) = table {
                table.search(&wanted_places, |row| {
                    if wanted(row.tenant, &row.key) {
                        rows.push(row);
                    }
                    true
                })?;
            }
            Ok(rows)
        });
        for row in rows.unwrap_or_default() {
            if let Ok(resource) = resource::of_row(asker.policy(), kind, row) {
                decide(Located::Row(resource));
            }
        }
    }
    found.into_iter().collect()
}

/// Everybody who may use the permission on the resource, at an instant or (`None`) now, by id, each with the binding that
/// decides. Decided is about those to whom some binding, in force then, could give it; not about everybody there is.
pub fn principals(
    code: &str,
    given: Given<'_>,
    tenant: Option<Uuid>,
    at: Option<Instant>,
) -> Vec<(Uuid, Option<Looked>)> {
    let anybody = Asker::as_of(None, at);
    let permission = anybody.permission(code);
    let policy = anybody.policy();
    let found = resource::find(policy, anybody.kind(permission), given, tenant);
    let Ok(resource) = &found else {
        return Vec::new();
    };
    let wanted = candidate::Wanted {
        model: &policy.loaded.model,
        composition: &policy.composition,
        permission,
        resource,
    };
    let ask = |principal| Ask {
        principal,
        resource: Given::Text(""),
        tenant: None,
        context: None,
    };
    cache::candidates(&wanted, anybody.when())
        .into_iter()
        .filter_map(|principal| {
            let asker = anybody.of(principal);
            let ask = ask(principal);
            (asker.decide(permission, &found, &ask) == Reason::Allowed)
                .then(|| (principal, asker.explain(permission, &found, &ask).binding().cloned()))
        })
        .collect()
}

/// Ids of scopes of a kind that the reach names or contains.
fn scopes(kind: Kind, reach: &Reach) -> Vec<Uuid> {
    let mut all: BTreeSet<Uuid> = match kind {
        Kind::TENANT => reach.tenants.clone(),
        Kind::ORGANIZATION => reach.organizations.clone(),
        Kind::TEAM => reach.teams.clone(),
        Kind::PROJECT => reach.projects.clone(),
        _ => return Vec::new(),
    }
    .into_iter()
    .collect();
    if kind != Kind::TENANT {
        all.extend(reach.tenants.iter().flat_map(|tenant| below::scopes_of(*tenant, kind)));
    }
    all.into_iter().collect()
}
