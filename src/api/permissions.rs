//! `authz_permissions`: everything that a principal may do to a resource.

use super::id;
use crate::decision::{self, Ask, Asker};
use crate::error;
use crate::resource::Given;
use authz_engine::Reason;
use authz_engine::name::Kind;
use pgrx::iter::TableIterator;
use pgrx::{JsonB, Uuid, default, name, pg_extern};

fn permissions(
    principal: Option<Uuid>,
    resource: Option<Given<'_>>,
    resource_type: Option<&str>,
    tenant: Option<Uuid>,
) -> Vec<(String, Option<JsonB>)> {
    let (Some(principal), Some(resource)) = (principal, resource) else {
        return Vec::new();
    };
    let ask = Ask {
        principal: id(principal),
        resource,
        tenant: tenant.map(id),
        context: None,
    };
    let asker = Asker::now(ask.principal);
    let model = &asker.policy().loaded.model;
    let kind = resource_type.map(|name| match model.names.kinds.get(name) {
        Some(kind) => Kind(kind),
        None => {
            let names = (0..model.names.kinds.len() as u32).map(|k| model.names.kinds.name(k));
            error::unknown_resource_type(name, decision::nearest(name, names))
        }
    });
    let mut kinds: Vec<Kind> = model
        .permissions()
        .map(|p| p.kind)
        .filter(|k| kind.is_none_or(|only| only == *k))
        .collect();
    kinds.sort();
    kinds.dedup();

    let mut rows = Vec::new();
    for kind in kinds {
        let found = asker.find(kind, &ask);
        if found.is_err() {
            continue;
        }
        for definition in model.permissions().filter(|p| p.kind == kind) {
            let explanation = asker.explain(definition.permission, &found, &ask);
            if explanation.reason == Reason::Allowed {
                let obligations = explanation.binding().and_then(|b| b.obligations.clone());
                rows.push((
                    model.names.permissions.name(definition.permission.0).to_owned(),
                    obligations.map(JsonB),
                ));
            }
        }
    }
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows
}

macro_rules! permissions {
    ($name:ident, $key:ty, $resource:ident => $given:expr) => {
        /// `authz_permissions` for one form of keys. Without `resource_type`: of every type that has a resource of that key.
        #[pg_extern(name = "authz_permissions", stable, parallel_safe)]
        fn $name(
            principal: Option<Uuid>,
            resource: Option<$key>,
            resource_type: default!(Option<&str>, "NULL"),
            tenant: default!(Option<Uuid>, "NULL"),
        ) -> TableIterator<'static, (name!(permission, String), name!(obligations, Option<JsonB>))> {
            let resource = resource.map(|$resource| $given);
            TableIterator::new(permissions(principal, resource, resource_type, tenant))
        }
    };
}
by_key!(permissions: permissions_uuid, permissions_int, permissions_text);
