//! Changes of a policy in place.

use super::{Policy, insert};
use crate::report;
use rand::Rng;

impl Policy {
    /// Changes the policy in place, by one statement as a database owner would write it.
    pub fn mutate(&mut self, client: &mut impl postgres::GenericClient) -> String {
        let before = self.rows.len();
        let close = |table: &str, key: &str, column: &str, open: &str, skip: usize| {
            format!(
                "UPDATE {table} SET {column} = clock_timestamp() WHERE {key} = (
                    SELECT {key} FROM {table} WHERE {open} ORDER BY md5({key}::text || {skip}) LIMIT 1)"
            )
        };
        let skip = self.rng.random_range(0..1000usize);
        let now = "clock_timestamp()";
        let started = |column: &str| format!("{column} <= {now}");
        let statement = match self.rng.random_range(0..20) {
            0 | 1 => close(
                "authz.principal_role_assignment",
                "assignment_id",
                "revoked_at",
                &format!("revoked_at IS NULL AND {}", started("granted_at")),
                skip,
            ),
            2 => close(
                "authz.resource_access_grant",
                "grant_id",
                "revoked_at",
                &format!("revoked_at IS NULL AND {}", started("granted_at")),
                skip,
            ),
            3 => close(
                "authz.resource_access_rule",
                "rule_id",
                "valid_until",
                &format!("valid_until IS NULL AND {}", started("valid_from")),
                skip,
            ),
            4 => close(
                "authz.privileged_access_session",
                "session_id",
                "ended_at",
                "ended_at IS NULL",
                skip,
            ),
            5 | 6 => {
                self.rule(Some("deny"));
                String::new()
            }
            7 | 8 => {
                self.grant();
                String::new()
            }
            9 => {
                self.assignment();
                String::new()
            }
            10 => {
                let role = self.pick(&self.roles.clone());
                self.role_permission(&role);
                String::new()
            }
            11 => {
                let status = self.pick(&["active", "active", "suspended"]);
                let principal = self.pick(&self.principals.clone());
                format!("UPDATE authz.principal SET status = '{status}' WHERE principal_id = '{principal}'")
            }
            12 | 13 => {
                let status = self.pick(&["active", "active", "suspended"]);
                let (tenant, principal) = self.pick(&self.members.clone());
                format!(
                    "UPDATE authz.tenant_membership SET status = '{status}'
                      WHERE tenant_id = '{tenant}' AND principal_id = '{principal}' AND revoked_at IS NULL"
                )
            }
            14 => format!(
                "UPDATE authz.role_permission SET valid_until = {now}
                  WHERE role_code = '{}' AND valid_until IS NULL AND valid_from <= {now}",
                self.pick(&self.roles.clone())
            ),
            15 => format!(
                "UPDATE authz.role_inheritance SET valid_until = {now}
                  WHERE inherited_role_code = '{}' AND valid_until IS NULL AND valid_from <= {now}",
                self.pick(&self.roles.clone())
            ),
            16 => {
                // Roles inherit later ones only, so this closes no cycle; a pair that is there already is left alone.
                let roles = self.roles.clone();
                let n = self.rng.random_range(0..roles.len() - 1);
                let (role, inherited) = (roles[n].clone(), self.pick(&roles[n + 1..]));
                format!(
                    "INSERT INTO authz.role_inheritance (role_code, inherited_role_code)
                     SELECT '{role}', '{inherited}' WHERE NOT EXISTS (SELECT FROM authz.role_inheritance
                        WHERE role_code = '{role}' AND inherited_role_code = '{inherited}')"
                )
            }
            17 => {
                // To the top, or below a team that has no parent: no cycle.
                let tenant = self.pick(&self.tenants.clone());
                let teams = self.places_of(tenant, "team");
                let parent = if self.chance(50) {
                    format!("'{}'", teams[3])
                } else {
                    "NULL".to_owned()
                };
                format!(
                    "UPDATE authz.team SET parent_team_id = {parent} WHERE tenant_id = '{tenant}' AND team_id = '{}'",
                    teams[self.rng.random_range(0..3)]
                )
            }
            18 => {
                let case = self.pick(
                    &self
                        .places
                        .iter()
                        .filter(|p| p.kind == "case")
                        .map(|p| p.key)
                        .collect::<Vec<_>>(),
                );
                match self.rng.random_range(0..3) {
                    0 => format!("UPDATE public.case_record SET deleted_at = now() WHERE case_id = '{case}'"),
                    1 => format!(
                        "UPDATE public.case_record SET confidentiality_level = 'sealed' WHERE case_id = '{case}'"
                    ),
                    _ => {
                        let owner = self.pick(&self.principals.clone());
                        format!("UPDATE public.case_record SET owner_id = '{owner}' WHERE case_id = '{case}'")
                    }
                }
            }
            _ => {
                let principal = self.pick(&self.principals.clone());
                match self.rng.random_range(0..3) {
                    0 => format!("UPDATE authz.operator_profile SET clearance_level = 'L3', mfa_enabled = NOT mfa_enabled WHERE principal_id = '{principal}'"),
                    1 => "UPDATE authz.permission_definition SET requires_mfa = NOT requires_mfa WHERE permission_code = 'case.edit'".to_owned(),
                    _ => format!("UPDATE authz.resource_type SET owner_role = '{}' WHERE resource_type = 'case'", self.pick(&self.roles.clone())),
                }
            }
        };
        let mut shown = statement.clone();
        if !statement.is_empty() {
            client
                .batch_execute(&statement)
                .unwrap_or_else(|e| panic!("{}\nin: {statement}", report(&e)));
        }
        for (table, row) in self.rows.split_off(before) {
            insert(client, table, &row);
            shown = format!("INSERT INTO {table}: {row}");
        }
        shown
    }
}
