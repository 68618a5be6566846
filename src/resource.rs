//! Finding a resource, and building its scope chain.

use crate::cache::{self, Policy};
use crate::error;
use crate::parents;
use crate::pg::user_table::{Boundary, Changed, ColumnType, UserTable};
use authz_engine::name::Kind;
use authz_engine::node::{Chain, Key, Node, add};
use authz_engine::resource::{Confidentiality, Parent, Resource};
use serde_json::{Value, json};
use std::fmt;
use std::rc::Rc;
use uuid::Uuid;

/// Parents of parents of parents … more than this is a cycle in the data, not a hierarchy.
const PARENTS: usize = 64;

/// A key as the caller gave it.
#[derive(Clone, Copy, Debug)]
pub enum Given<'a> {
    /// The form for uuid keys.
    Uuid(Uuid),
    /// The form for smallint, integer and bigint keys.
    Int(i64),
    /// The form for text keys. A text may also spell a key of another type.
    Text(&'a str),
}

impl fmt::Display for Given<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Given::Uuid(id) => id.fmt(f),
            Given::Int(i) => i.fmt(f),
            Given::Text(text) => f.write_str(text),
        }
    }
}

impl Given<'_> {
    /// As a key of a column of that type; `None` if it is none.
    fn key(self, column_type: ColumnType) -> Option<Key> {
        match (column_type, self) {
            (ColumnType::Uuid, Given::Uuid(id)) => Some(Key::Uuid(id)),
            (ColumnType::Uuid, Given::Text(text)) => Uuid::try_parse(text).ok().map(Key::Uuid),
            (ColumnType::Uuid, Given::Int(_)) => None,
            (ColumnType::Text, Given::Uuid(id)) => Some(Key::Uuid(id)),
            (ColumnType::Text, Given::Int(i)) => Some(Key::Int(i)),
            (ColumnType::Text, Given::Text(text)) => Some(Key::from_text(text)),
            (_, Given::Int(i)) => Some(Key::Int(i)),
            (_, Given::Text(text)) => text.parse().ok().map(Key::Int),
            (_, Given::Uuid(_)) => None,
        }
    }
}

/// A resource that was found.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, on the stack: a box would be an allocation a check"
)]
pub enum Located {
    /// A scope, shared with the cache.
    Scope(Rc<[Resource]>, usize),
    /// A row, read just now.
    Row(Resource),
}

impl std::ops::Deref for Located {
    type Target = Resource;
    fn deref(&self) -> &Resource {
        match self {
            Located::Scope(scopes, n) => &scopes[*n],
            Located::Row(resource) => resource,
        }
    }
}

/// Why there is nothing to decide about. For explanations: a check only says no.
pub type Nothing = String;

/// Finds the resource of that kind and key, by the statement's own snapshot.
pub fn find(policy: &Policy, kind: Kind, given: Given<'_>, tenant: Option<Uuid>) -> Result<Located, Nothing> {
    find_below(policy, kind, given, tenant, 0)
}

fn find_below(
    policy: &Policy,
    kind: Kind,
    given: Given<'_>,
    tenant: Option<Uuid>,
    depth: usize,
) -> Result<Located, Nothing> {
    if kind.is_built_in() {
        return find_scope(kind, given, tenant);
    }
    let found = cache::read_table(kind, |table| match table {
        Err(why) => Ok(Err(format!("its resource type cannot be used: {why}"))),
        Ok(table) => match given.key(table.key_type) {
            None => Ok(Err("its key is not of the type's form".to_owned())),
            Some(key) => find_row(table, &key, tenant),
        },
    });
    let boundary = found.ok_or("its resource type is not registered")??;
    Ok(Located::Row(build(policy, kind, boundary, depth)?))
}

fn find_scope(kind: Kind, given: Given<'_>, tenant: Option<Uuid>) -> Result<Located, Nothing> {
    let Some(Key::Uuid(id)) = given.key(ColumnType::Uuid) else {
        return Err("its key is not a uuid".to_owned());
    };
    let scopes = cache::scope(kind, id);
    let mut fitting = (0..scopes.len()).filter(|n| tenant.is_none() || scopes[*n].tenant == tenant);
    match (fitting.next(), fitting.next()) {
        (Some(n), None) => Ok(Located::Scope(scopes, n)),
        (None, _) => Err(NOT_THERE.to_owned()),
        (Some(_), Some(_)) => Err(AMBIGUOUS.to_owned()),
    }
}

const NOT_THERE: &str = "there is no such resource";
const AMBIGUOUS: &str = "the key is in more than one tenant: pass the tenant";

fn find_row(table: &UserTable, key: &Key, tenant: Option<Uuid>) -> Result<Result<Boundary, Nothing>, Changed> {
    let mut found: Option<Boundary> = None;
    let mut second = None;
    table.find(key, tenant, |boundary, _| match &found {
        None => {
            found = Some(boundary);
            true
        }
        Some(first) => {
            second = Some(if first.tenant == boundary.tenant {
                "the key is not unique in its tenant"
            } else {
                AMBIGUOUS
            });
            false
        }
    })?;
    Ok(match second {
        None => found.ok_or_else(|| NOT_THERE.to_owned()),
        Some(why) => Err(why.to_owned()),
    })
}

/// The resource of a row. A row of a tenant that does not exist is nobody's: row security, which looks for rows by
/// tenant, would not find it either.
pub fn of_row(policy: &Policy, kind: Kind, boundary: Boundary) -> Result<Resource, Nothing> {
    build(policy, kind, boundary, 0)
}

/// The chain, from the resource outwards: itself, its parents, teams, projects, organizations, the tenant.
fn build(policy: &Policy, kind: Kind, mut boundary: Boundary, depth: usize) -> Result<Resource, Nothing> {
    cache::apply_histories(kind, policy, &mut boundary);
    let key = boundary.key.clone();
    let mut chain = Chain::new();
    chain.push(Node::new(kind, key.clone()));
    let parent_kind = policy.loaded.registrations.get(&kind).and_then(|r| r.parent);
    let mut parent = Parent::None;
    if let Some(tenant) = boundary.tenant {
        if cache::scope(Kind::TENANT, tenant).is_empty() {
            return Err("its tenant does not exist".to_owned());
        }
        if let (Some(parent_kind), Some(parent_key)) = (parent_kind, &boundary.parent) {
            parent = find_parent(policy, parent_kind, parent_key, tenant, depth + 1);
            if let Parent::Resource(p) = &parent {
                let tenant = Node::uuid(Kind::TENANT, tenant);
                p.chain
                    .iter()
                    .filter(|n| **n != tenant)
                    .for_each(|n| add(&mut chain, n.clone()));
            }
        }
        let scopes = [
            (Kind::TEAM, boundary.team),
            (Kind::PROJECT, boundary.project),
            (Kind::ORGANIZATION, boundary.organization),
        ];
        for (kind, id) in scopes {
            if let Some(id) = id {
                extend(&mut chain, kind, id, tenant);
            }
        }
        add(&mut chain, Node::uuid(Kind::TENANT, tenant));
    }
    Ok(Resource {
        kind,
        key,
        tenant: boundary.tenant,
        owner: boundary.owner,
        confidentiality: match &boundary.confidentiality {
            None => Confidentiality::Normal,
            Some(level) => Confidentiality::from_text(level.as_deref()),
        },
        deleted: boundary.deleted,
        chain,
        parent,
    })
}

/// Adds a scope of `tenant` and what contains it, up to but without the tenant. One that is not there adds nothing.
fn extend(chain: &mut Chain, kind: Kind, id: Uuid, tenant: Uuid) {
    let scopes = cache::scope(kind, id);
    if let Some(scope) = scopes.iter().find(|s| s.tenant == Some(tenant)) {
        let below_tenant = scope.chain.len() - 1;
        scope.chain[..below_tenant].iter().for_each(|n| add(chain, n.clone()));
    }
}

fn find_parent(policy: &Policy, kind: Kind, key: &Key, tenant: Uuid, depth: usize) -> Parent {
    if depth > PARENTS {
        error::parents_too_deep(PARENTS);
    }
    let text;
    let given = match key {
        Key::Uuid(id) => Given::Uuid(*id),
        Key::Int(i) => Given::Int(*i),
        Key::Text(t) => {
            text = t.clone();
            Given::Text(&text)
        }
    };
    let find = || match find_below(policy, kind, given, Some(tenant), depth) {
        Ok(Located::Row(resource)) => Parent::Resource(Rc::new(resource)),
        Ok(Located::Scope(scopes, n)) => Parent::Resource(Rc::new(scopes[n].clone())),
        Err(_) => Parent::Missing,
    };
    // What parents were in the past is not what is remembered of them.
    match policy.past {
        None => parents::parent(kind, tenant, key, find),
        Some(_) => find(),
    }
}

/// The columns of a stored row, by the statement's own snapshot.
pub fn stored_row(resource: &Resource) -> Value {
    let row = cache::read_table(resource.kind, |table| {
        let mut row = Value::Null;
        if let Ok(table) = table {
            table.find(&resource.key, resource.tenant, |_, tuple| {
                row = tuple.json();
                false
            })?;
        }
        Ok(row)
    });
    row.unwrap_or_default()
}

/// `resource` in conditions: the row's columns, and the boundary under fixed names that no column can take over.
/// The row as such is there as `resource.row`.
pub fn attributes(policy: &Policy, resource: &Resource, row: Value) -> Value {
    let nearest = |kind| {
        resource
            .chain
            .iter()
            .find(|n| n.kind == kind)
            .map_or(Value::Null, |n| n.key.to_string().into())
    };
    let boundary = json!({
        "type": policy.loaded.model.names.kinds.name(resource.kind.0),
        "id": resource.key.to_string(),
        "tenant": resource.tenant.map(|t| t.to_string()),
        "organization": nearest(Kind::ORGANIZATION),
        "team": nearest(Kind::TEAM),
        "project": nearest(Kind::PROJECT),
        "owner": resource.owner.map(|o| o.to_string()),
        "confidentiality": resource.confidentiality.name(),
        "deleted": resource.deleted,
        "row": row,
    });
    let mut all = match boundary["row"].clone() {
        Value::Object(columns) => columns,
        _ => serde_json::Map::new(),
    };
    if let Value::Object(boundary) = boundary {
        all.extend(boundary);
    }
    Value::Object(all)
}
