//! `authz_protect` and `authz_unprotect`: what they make, what they refuse without changing anything, what a dump keeps
//! of it, and that the planner finds rows by index (R21, R22).

mod indexes;
mod made;
mod refused;

use authz_tests::{Db, execute, value};
use postgres::Client;

/// Everything that protecting a table could change.
fn state(c: &mut Client) -> String {
    value(
        c,
        "SELECT string_agg(what, E'\n' ORDER BY what) FROM (
             SELECT 'policy ' || p.polrelid::regclass || ' ' || p.polname || ' ' || p.polcmd::text || ' ' ||
                    coalesce(pg_get_expr(p.polqual, p.polrelid), '-') || ' ' || coalesce(pg_get_expr(p.polwithcheck, p.polrelid), '-') ||
                    coalesce(obj_description(p.oid, 'pg_policy'), '-') FROM pg_policy p
             UNION ALL SELECT 'type ' || t::text FROM authz.resource_type t
             UNION ALL SELECT 'table ' || c.oid::regclass || c.relrowsecurity || c.relforcerowsecurity
                         FROM pg_class c WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
             UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname NOT IN ('pg_catalog', 'authz')) AS s (what)",
        &[],
    )
}

/// An invoice table and its permissions.
fn invoices(db: &Db) -> Client {
    let mut c = db.connect();
    execute(
        &mut c,
        "CREATE TABLE public.invoice (tenant_id uuid NOT NULL, invoice_id bigint NOT NULL, team_id uuid, owner_id uuid, level text,
             gone boolean, amount numeric, PRIMARY KEY (tenant_id, invoice_id));
         INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
         SELECT 'invoice.' || a, 'invoice', a FROM unnest('{read,create,update,delete}'::text[]) AS a;
         INSERT INTO authz.permission_definition (permission_code, resource_type, action_code) VALUES ('bill.view', 'bill', 'view')",
    );
    c
}

const INVOICE: &str =
    "authz_protect('public.invoice', 'invoice', key => 'invoice_id', tenant => 'tenant_id', team => 'team_id',
    owner => 'owner_id', confidentiality => 'level', deleted_at => 'gone')";
