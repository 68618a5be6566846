//! One principal with everything that is bound to it.

mod assignment;
mod grant;
mod identity;
mod membership;

use super::When;
use crate::pg::authority::Reading;
use crate::pg::invalidation::Channel;
use crate::pg::relation::{ScanKey, Tuple};
use assignment::{load_assignments, load_sessions};
use authz_engine::name::Vocabulary;
use authz_engine::role::Composition;
use authz_engine::subject::{Subject, SubjectBuilder};
use grant::{channel_of, read_grants};
use identity::load_identity;
use membership::{load_memberships, load_teams};
use uuid::Uuid;

pub use grant::{load_large, read_rules};

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
