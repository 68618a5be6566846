//! One principal with everything that is bound to it.

use super::model::clearance_level;
use super::{When, scope, tenant};
use crate::pg::authority::{Authority, Reading};
use crate::pg::invalidation::Channel;
use crate::pg::relation::{ScanKey, Tuple};
use authz_engine::name::{Kind, Vocabulary};
use authz_engine::node::{Key, Node};
use authz_engine::role::Composition;
use authz_engine::subject::{
    Assignment, BindingIndex, Grantee, Place, PrincipalFacts, PrivilegedSession, Row, Subject, SubjectBuilder,
    TeamMembership, What,
};
use authz_engine::{Instant, Interval};
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

/// Grants of one grantee beyond this number are not held in memory but looked for at each resource: a principal
/// (or a role) with a million grants must neither fill the cache nor take seconds to load.
pub const GRANTS_HELD: usize = 10_000;

/// Loads a principal; `None` if there is no such one.
pub fn load(
    id: Uuid,
    when: When,
    composition: &Composition,
    names: &mut Vocabulary,
    reading: &mut Reading,
) -> Option<Subject> {
    reading.depends_on(Channel::principal(id));
    reading.depends_on(Channel::SHAPE);
    let mut facts = load_identity(id, when, reading)?;
    facts.memberships = load_memberships(id, when, reading);
    facts.teams = load_teams(id, when, reading);
    facts.assignments = load_assignments(id, when, names, reading);
    facts.sessions = load_sessions(id, when, names, reading);

    let mut builder = SubjectBuilder::new(facts, composition);
    let rules_of = builder.rules_wanted();
    for (grantee, tenants) in builder.grants_wanted() {
        if let Some(channel) = channel_of(grantee, names) {
            reading.depends_on(channel);
        }
        match &rules_of {
            None => read_rules(grantee, None, when, names, reading, |row| builder.add(row)),
            Some(tenants) => {
                for tenant in tenants {
                    read_rules(grantee, Some(*tenant), when, names, reading, |row| builder.add(row));
                }
            }
        }
        match read_grants(grantee, &tenants, when, GRANTS_HELD, names, reading) {
            Some(rows) => rows.into_iter().for_each(|row| builder.add(row)),
            None => builder.leave_out(grantee),
        }
    }
    Some(builder.finish())
}

/// The principal that is bound to a database role.
pub fn id_of_role(role: &str, reading: &mut Reading) -> Option<Uuid> {
    reading.depends_on(Channel::group(role));
    let table = reading.open("principal");
    let [id, db_role] = table.columns(["principal_id", "db_role"]);
    let mut found = None;
    table.scan("principal_db_role_key", &[ScanKey::name(db_role, role)], |row| {
        found = row.uuid(id);
        false
    });
    found
}

/// The principal that the subject of a token names, by its id or its id at the authentication provider. `None` if there
/// is none; and if these are two, because nothing says which one is meant.
pub fn id_of_subject(subject: &str, reading: &Reading) -> Option<Uuid> {
    let table = reading.open("principal");
    let [id, external_id] = table.columns(["principal_id", "external_id"]);
    let mut found: Option<Uuid> = None;
    let mut second = false;
    let mut each = |row: &Tuple<'_>| {
        let is = row.uuid(id);
        second |= found.is_some() && found != is;
        found = is;
        true
    };
    if let Ok(given) = Uuid::try_parse(subject) {
        table.scan("principal_pkey", &[ScanKey::uuid(id, &given)], &mut each);
    }
    table.scan(
        "principal_external_id_key",
        &[ScanKey::text(external_id, subject)],
        &mut each,
    );
    found.filter(|_| !second)
}

/// Who it is: status, locks, clearance, second factor.
fn load_identity(id: Uuid, when: When, reading: &Reading) -> Option<PrincipalFacts> {
    let table = reading.open("principal");
    let [key, kind, external_id, email, display_name, status, locked_until] = table.columns([
        "principal_id",
        "principal_type",
        "external_id",
        "email",
        "display_name",
        "status",
        "locked_until",
    ]);
    let mut found = None;
    table.scan("principal_pkey", &[ScanKey::uuid(key, &id)], |row| {
        let status = row.text(status);
        let attributes = json!({
            "id": id.to_string(),
            "type": row.text(kind),
            "external_id": row.text(external_id),
            "email": row.text(email),
            "display_name": row.text(display_name),
            "status": status,
        });
        found = Some((
            status.as_deref() == Some("active"),
            row.instant(locked_until),
            attributes,
        ));
        false
    });
    let (is_active, locked_until, mut attributes) = found?;

    let operator = load_operator(id, reading);
    let (account_mfa, account_lock) = load_account(id, reading);
    let (active, locked_until) = match when {
        When::Now(_) if is_active => (vec![Interval::ALWAYS], locked_until.max(account_lock)),
        When::Now(_) => (Vec::new(), None),
        When::At(at) => (active_in_the_past(id, at, reading), None),
    };
    let mfa_enrolled = account_mfa || operator.mfa_enabled;
    attributes["mfa_enabled"] = mfa_enrolled.into();
    if let (Value::Object(all), Value::Object(more)) = (&mut attributes, operator.attributes) {
        all.extend(more);
    }
    Some(PrincipalFacts {
        id,
        active,
        locked_until,
        clearance: operator.clearance,
        mfa_enrolled,
        attributes: Arc::new(attributes),
        memberships: Vec::new(),
        teams: Vec::new(),
        assignments: Vec::new(),
        sessions: Vec::new(),
    })
}

/// When it was active, around that instant; never, if it was locked then.
fn active_in_the_past(id: Uuid, at: Instant, reading: &Reading) -> Vec<Interval> {
    let locks = reading.open("principal_lock_history");
    let [key, from, until] = locks.columns(["principal_id", "active_from", "active_until"]);
    let mut locked = false;
    locks.scan("principal_lock_history_pkey", &[ScanKey::uuid(key, &id)], |row| {
        locked = row.interval(from, until).contains(at);
        !locked
    });
    let mut active = Vec::new();
    if locked {
        return active;
    }
    let table = reading.open("principal_status_history");
    let [key, status, from, until] = table.columns(["principal_id", "status", "active_from", "active_until"]);
    table.scan("principal_status_history_pkey", &[ScanKey::uuid(key, &id)], |row| {
        if row.text(status).as_deref() == Some("active") {
            active.push(row.interval(from, until));
        }
        true
    });
    active
}

#[derive(Default)]
struct Operator {
    clearance: u8,
    mfa_enabled: bool,
    attributes: Value,
}

fn load_operator(id: Uuid, reading: &Reading) -> Operator {
    let table = reading.open("operator_profile");
    let [key, role, clearance, mfa, quota, clients, admin] = table.columns([
        "principal_id",
        "operator_role",
        "clearance_level",
        "mfa_enabled",
        "alert_quota",
        "assigned_clients",
        "is_admin",
    ]);
    let mut operator = Operator::default();
    table.scan("operator_profile_pkey", &[ScanKey::uuid(key, &id)], |row| {
        let level = row.text(clearance);
        operator = Operator {
            // A level that is none of L1 to L3 clears nothing.
            clearance: Some(clearance_level(level.as_deref())).filter(|l| *l <= 3).unwrap_or(0),
            mfa_enabled: row.bool(mfa) == Some(true),
            attributes: json!({
                "operator_role": row.text(role),
                "clearance_level": level,
                "alert_quota": row.int4(quota),
                "assigned_clients": row.int4(clients),
                "is_admin": row.bool(admin),
            }),
        };
        false
    });
    operator
}

fn load_account(id: Uuid, reading: &Reading) -> (bool, Option<Instant>) {
    let table = reading.open("account_security");
    let [key, mfa, locked_until] = table.columns(["principal_id", "mfa_enabled", "locked_until"]);
    let mut account = (false, None);
    table.scan("account_security_pkey", &[ScanKey::uuid(key, &id)], |row| {
        account = (row.bool(mfa) == Some(true), row.instant(locked_until));
        false
    });
    account
}

/// When it is an active member of which tenant.
fn load_memberships(id: Uuid, when: When, reading: &mut Reading) -> Vec<(Uuid, Interval)> {
    let table = reading.open("tenant_membership");
    let [key, tenant_id, status, joined_at, from, until] = table.columns([
        "principal_id",
        "tenant_id",
        "status",
        "joined_at",
        "active_from",
        "active_until",
    ]);
    let mut rows = Vec::new();
    let keys = [ScanKey::uuid(key, &id), ScanKey::after(until, when.horizon())];
    table.scan("tenant_membership_principal_idx", &keys, |row| {
        if let (Some(tenant), Some(joined)) = (row.uuid(tenant_id), row.instant(joined_at)) {
            rows.push((
                tenant,
                joined,
                row.text(status).as_deref() == Some("active"),
                row.interval(from, until),
            ));
        }
        true
    });
    let active = match when {
        When::Now(_) => rows
            .into_iter()
            .filter(|(.., active, _)| *active)
            .map(|(t, _, _, valid)| (t, valid))
            .collect::<Vec<_>>(),
        When::At(_) => {
            let history = membership_history(id, reading);
            let held = |(t, joined, _, valid): (Uuid, Instant, bool, Interval)| {
                history
                    .iter()
                    .filter(move |h| h.0 == t && h.1 == joined)
                    .filter_map(move |h| valid.intersect(&h.2).map(|both| (t, both)))
                    .collect::<Vec<_>>()
            };
            rows.into_iter().flat_map(held).collect()
        }
    };
    active
        .into_iter()
        .filter(|(t, _)| tenant::is_active(*t, when, reading))
        .collect()
}

/// Tenant, start of the membership, and an interval in which it was active.
fn membership_history(id: Uuid, reading: &Reading) -> Vec<(Uuid, Instant, Interval)> {
    let table = reading.open("tenant_membership_history");
    let [key, tenant, joined_at, status, from, until] = table.columns([
        "principal_id",
        "tenant_id",
        "joined_at",
        "status",
        "active_from",
        "active_until",
    ]);
    let mut active = Vec::new();
    table.scan(
        "tenant_membership_history_principal_idx",
        &[ScanKey::uuid(key, &id)],
        |row| {
            if row.text(status).as_deref() == Some("active")
                && let (Some(tenant), Some(joined)) = (row.uuid(tenant), row.instant(joined_at))
            {
                active.push((tenant, joined, row.interval(from, until)));
            }
            true
        },
    );
    active
}

fn load_teams(id: Uuid, when: When, reading: &mut Reading) -> Vec<TeamMembership> {
    let table = reading.open("team_membership_history");
    let [key, tenant, team, from, until] =
        table.columns(["principal_id", "tenant_id", "team_id", "active_from", "active_until"]);
    let mut rows = Vec::new();
    let keys = [ScanKey::uuid(key, &id), ScanKey::after(until, when.horizon())];
    table.scan("team_membership_principal_idx", &keys, |row| {
        let valid = row.interval(from, until);
        if let (Some(tenant), Some(team), true) = (row.uuid(tenant), row.uuid(team), when.concerns(&valid)) {
            rows.push((tenant, team, valid));
        }
        true
    });
    rows.into_iter()
        .filter_map(|(tenant, team, valid)| {
            let within = scope::load(Kind::TEAM, team, reading)
                .into_iter()
                .find(|r| r.tenant == Some(tenant))?;
            Some(TeamMembership {
                tenant,
                valid,
                within: within.chain.as_slice().into(),
            })
        })
        .collect()
}

fn load_assignments(id: Uuid, when: When, names: &mut Vocabulary, reading: &Reading) -> Vec<Assignment> {
    let table = reading.open("principal_role_assignment");
    let [key, assignment, tenant, role, scope_type, scope_id, from, until] = table.columns([
        "principal_id",
        "assignment_id",
        "tenant_id",
        "role_code",
        "scope_type",
        "scope_id",
        "active_from",
        "active_until",
    ]);
    let mut found = Vec::new();
    let keys = [ScanKey::uuid(key, &id), ScanKey::after(until, when.horizon())];
    table.scan("principal_role_assignment_principal_idx", &keys, |row| {
        let valid = row.interval(from, until);
        if !when.concerns(&valid) {
            return true;
        }
        if let (Some(id), Some(role), Some(scope_type)) = (row.uuid(assignment), row.text(role), row.text(scope_type)) {
            let place = match (names.kind(&scope_type), row.text(scope_id)) {
                (Kind::PLATFORM, _) => Place::Platform,
                (kind, Some(scope)) => Place::Node(Node::new(kind, Key::from_text(&scope))),
                // A scope without id is refused by the table; were there one, it would reach nothing.
                (_, None) => return true,
            };
            found.push(Assignment {
                id,
                tenant: row.uuid(tenant),
                role: names.role(&role),
                place,
                valid,
            });
        }
        true
    });
    found
}

fn load_sessions(id: Uuid, when: When, names: &mut Vocabulary, reading: &Reading) -> Vec<PrivilegedSession> {
    let table = reading.open("privileged_access_session");
    let [key, session, kind, tenant, scope_type, scope_id, sensitive, approved_by] = table.columns([
        "principal_id",
        "session_id",
        "session_kind",
        "tenant_id",
        "scope_type",
        "scope_id",
        "includes_sensitive",
        "approved_by",
    ]);
    let [from, until] = table.columns(["active_from", "active_until"]);
    let mut found = Vec::new();
    let keys = [ScanKey::uuid(key, &id), ScanKey::after(until, when.horizon())];
    table.scan("privileged_access_session_principal_idx", &keys, |row| {
        let valid = row.interval(from, until);
        if let (Some(session), true) = (row.uuid(session), when.concerns(&valid)) {
            let scope = row.text(scope_type).map(|t| (names.kind(&t), row.text(scope_id)));
            found.push(PrivilegedSession {
                id: session,
                break_glass: row.text(kind).as_deref() == Some("break_glass"),
                tenant: row.uuid(tenant),
                scope: match scope {
                    None => None,
                    Some((Kind::PLATFORM, _)) => Some(Node::new(Kind::PLATFORM, Key::Int(0))),
                    // "tenant" without an id is the session's own tenant, which is compared anyway.
                    Some((Kind::TENANT, None)) => None,
                    Some((kind, scope)) => Some(Node::new(kind, Key::from_text(&scope.unwrap_or_default()))),
                },
                valid,
                includes_sensitive: row.bool(sensitive) == Some(true)
                    && row.uuid(approved_by).is_some_and(|approver| approver != id),
            });
        }
        true
    });
    found
}

/// `grantee_type` and `grantee_id` of a grantee.
fn columns_of(grantee: Grantee, names: &Vocabulary) -> (&'static str, Option<String>) {
    match grantee {
        Grantee::Principal(id) => ("principal", Some(id.to_string())),
        Grantee::Team(id) => ("team", Some(id.to_string())),
        Grantee::Organization(id) => ("organization", Some(id.to_string())),
        Grantee::Role(role) => ("role", Some(names.roles.name(role.0).to_owned())),
        Grantee::Any => ("any", None),
    }
}

fn channel_of(grantee: Grantee, names: &Vocabulary) -> Option<Channel> {
    match grantee {
        Grantee::Principal(id) => Some(Channel::principal(id)),
        Grantee::Any => None,
        _ => columns_of(grantee, names).1.map(|id| Channel::group(&id)),
    }
}

/// The grants of one grantee in some tenants; `None` if they are more than `limit`.
fn read_grants(
    grantee: Grantee,
    tenants: &[Uuid],
    when: When,
    limit: usize,
    names: &mut Vocabulary,
    reading: &Reading,
) -> Option<Vec<Row>> {
    let table = reading.open("resource_access_grant");
    let [grantee_type, grantee_id, tenant_id, until] =
        table.columns(["grantee_type", "grantee_id", "tenant_id", "active_until"]);
    let (kind, id) = columns_of(grantee, names);
    let mut rows = Vec::new();
    for tenant in tenants {
        let keys = [
            ScanKey::uuid(tenant_id, tenant),
            ScanKey::text(grantee_id, id.as_deref().unwrap_or_default()),
            ScanKey::text(grantee_type, kind),
            ScanKey::after(until, when.horizon()),
        ];
        let mut too_many = false;
        scan_grants(
            &table,
            "resource_access_grant_grantee_idx",
            &keys,
            grantee,
            names,
            |row| {
                if when.concerns(&row.valid) {
                    too_many = rows.len() >= limit;
                    rows.push(row);
                }
                !too_many
            },
        );
        if too_many {
            return None;
        }
    }
    Some(rows)
}

/// The grants of a principal's large grantees on the nodes of `chain`.
pub fn load_large(
    subject: &Subject,
    chain: &[Node],
    when: When,
    names: &mut Vocabulary,
    reading: &mut Reading,
) -> BindingIndex {
    reading.depends_on(Channel::principal(subject.id));
    subject
        .large
        .iter()
        .filter_map(|g| channel_of(*g, names))
        .for_each(|channel| reading.depends_on(channel));
    let table = reading.open("resource_access_grant");
    let [resource_type, resource_id, grantee_type, grantee_id] =
        table.columns(["resource_type", "resource_id", "grantee_type", "grantee_id"]);
    let mut rows = Vec::new();
    for &grantee in &subject.large {
        let (kind, id) = columns_of(grantee, names);
        for node in chain {
            let keys = [
                ScanKey::text(resource_type, names.kinds.name(node.kind.0)),
                ScanKey::text(resource_id, &node.key.to_string()),
                ScanKey::text(grantee_type, kind),
                ScanKey::text(grantee_id, id.as_deref().unwrap_or_default()),
            ];
            scan_grants(
                &table,
                "resource_access_grant_resource_idx",
                &keys,
                grantee,
                names,
                |row| {
                    if when.concerns(&row.valid) {
                        rows.push(row);
                    }
                    true
                },
            );
        }
    }
    subject.index_of(rows)
}

fn scan_grants(
    table: &Authority,
    index: &'static str,
    keys: &[ScanKey],
    grantee: Grantee,
    names: &mut Vocabulary,
    mut each: impl FnMut(Row) -> bool,
) {
    let [grant, tenant, resource_type, resource_id, permission, from, until] = table.columns([
        "grant_id",
        "tenant_id",
        "resource_type",
        "resource_id",
        "permission_code",
        "active_from",
        "active_until",
    ]);
    table.scan(index, keys, |row| {
        match (
            row.uuid(grant),
            row.uuid(tenant),
            row.text(resource_type),
            row.text(resource_id),
            row.text(permission),
        ) {
            (Some(id), Some(tenant), Some(kind), Some(resource), Some(permission)) => each(Row {
                id,
                tenant,
                grantee,
                place: Place::Node(Node::new(names.kind(&kind), Key::from_text(&resource))),
                what: What::Grant(names.permission(&permission)),
                valid: row.interval(from, until),
            }),
            _ => true,
        }
    });
}

/// Calls `each` with every rule of a grantee, of one tenant or of all.
pub fn read_rules(
    grantee: Grantee,
    tenant: Option<Uuid>,
    when: When,
    names: &mut Vocabulary,
    reading: &Reading,
    mut each: impl FnMut(Row),
) {
    let table = reading.open("resource_access_rule");
    let [
        rule,
        tenant_id,
        effect,
        grantee_type,
        grantee_id,
        resource_type,
        resource_id,
    ] = table.columns([
        "rule_id",
        "tenant_id",
        "effect",
        "grantee_type",
        "grantee_id",
        "resource_type",
        "resource_id",
    ]);
    let [permission, priority, from, until] =
        table.columns(["permission_code", "priority", "active_from", "active_until"]);
    let (kind, id) = columns_of(grantee, names);
    let mut keys = vec![
        ScanKey::text(grantee_type, kind),
        id.map_or_else(|| ScanKey::null(grantee_id), |id| ScanKey::text(grantee_id, &id)),
    ];
    keys.extend(tenant.as_ref().map(|tenant| ScanKey::uuid(tenant_id, tenant)));
    keys.push(ScanKey::after(until, when.horizon()));
    table.scan("resource_access_rule_grantee_idx", &keys, |row| {
        let valid = row.interval(from, until);
        if !when.concerns(&valid) {
            return true;
        }
        if let (Some(id), Some(tenant), Some(kind)) = (row.uuid(rule), row.uuid(tenant_id), row.text(resource_type)) {
            let kind = names.kind(&kind);
            each(Row {
                id,
                tenant,
                grantee,
                place: match row.text(resource_id) {
                    Some(resource) => Place::Node(Node::new(kind, Key::from_text(&resource))),
                    None => Place::Every(kind),
                },
                what: What::Rule {
                    // Whatever is not plainly an allow is a deny.
                    deny: row.text(effect).as_deref() != Some("allow"),
                    priority: row.int4(priority).unwrap_or(i32::MAX),
                    permission: row.text(permission).map(|p| names.permission(&p)),
                },
                valid,
            });
        }
        true
    });
}
