//! The auditor's questions (R55, R6), each answered by a view: it says what a brute-force statement says, and shows a reader
//! the tenants that the reader audits and no others.

mod binding;
mod current;
mod reader;
mod separation;
mod trail;
mod unused;

use authz_tests::casework::Casework;
use authz_tests::make::{self, id};
use authz_tests::office::with_ids;
use authz_tests::{execute, value};
use postgres::Client;

/// Rows as text, without what depends on the moment or on the reader's reach.
fn rows(c: &mut Client, query: &str) -> Vec<String> {
    // Of tables that nobody has analyzed the planner thinks that compiling pays.
    execute(c, "SET jit = off");
    value(
        c,
        &format!(
            "SELECT coalesce(array_agg(t ORDER BY t), '{{}}') FROM (
                 SELECT (to_jsonb(x) - '{{unused_for,ends_in,open_items_everywhere}}'::text[])::text AS t FROM ({query}) AS x) AS x"
        ),
        &[],
    )
}

/// The office of the reference domain with an auditor in each tenant and one of the platform, and with something for
/// every view in both tenants and on the platform.
fn world() -> Casework {
    let w = Casework::new();
    let mut c = w.owner();
    make::role(&mut c, "auditor", &["audit.read"]);
    make::role(&mut c, "clerk", &["case.view", "case.edit"]);
    make::role(&mut c, "chief", &["role.assign", "decision.approve"]);
    for (tenant, auditor, worker, case) in [("acme", "ada", "alf", "one"), ("globex", "gil", "gwen", "other")] {
        make::member(&mut c, id(tenant), auditor);
        make::member(&mut c, id(tenant), worker);
        make::assign(&mut c, id(tenant), id(auditor), "auditor", "tenant", id(tenant));
        execute(
            &mut c,
            &with_ids(
                &"INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id,
                          granted_by, granted_at, expires_at)
                  VALUES ('{T}', '{W}', 'clerk', 'tenant', '{T}', '{W}', now() - interval '200 days', now() + interval '9 days'),
                         ('{T}', '{W}', 'chief', 'tenant', '{T}', NULL, now() - interval '200 days', NULL);
                  INSERT INTO authz.operator_profile (principal_id, alert_quota) VALUES ('{W}', 3);
                  INSERT INTO authz.work_assignment (tenant_id, resource_type, resource_id, permission_code, principal_id)
                  VALUES ('{T}', 'case', '{C}', 'case.edit', '{W}');
                  INSERT INTO authz.privileged_access_session (session_kind, principal_id, tenant_id, access_reason)
                  VALUES ('support', '{A}', '{T}', 'why');
                  INSERT INTO authz.data_export_job (tenant_id, requested_by, export_type) VALUES ('{T}', '{W}', 'list');
                  INSERT INTO authz.sod_constraint (constraint_name, tenant_id, role_codes)
                  VALUES ('apart', '{T}', '{clerk,auditor}')"
                    .replace("{clerk,auditor}", "{clerk,auditor,case_owner}")
                    .replace("{T}", &format!("{{{tenant}}}"))
                    .replace("{W}", &format!("{{{worker}}}"))
                    .replace("{A}", &format!("{{{auditor}}}"))
                    .replace("{C}", &format!("{{{case}}}")),
            ),
        );
        let mut of = w.of(worker);
        for (permission, allowed) in [("case.edit", true), ("case.delete", false)] {
            let answer: bool = value(
                &mut of,
                "SELECT authz_check(authz_principal(), $1::text, $2::uuid, $3::uuid)",
                &[&permission, &id(case), &id(tenant)],
            );
            assert_eq!(answer, allowed, "{permission} of {worker}");
        }
    }
    make::principal(&mut c, "paula");
    make::assign_platform(&mut c, id("paula"), "auditor");
    execute(
        &mut c,
        &with_ids(
            "INSERT INTO authz.privileged_access_session (session_kind, principal_id, access_reason, started_at, expires_at)
             VALUES ('break_glass', '{eve}', 'fire', now() - interval '1 minute', now() + interval '1 hour')",
        ),
    );
    w
}
