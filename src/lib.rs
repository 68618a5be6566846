//! `authz_ext`: who may do what to which row is decided inside PostgreSQL, from data.
//!
//! Data flows one way: **SQL call → session → compiled policy (cache → store) → engine → decision**.
//!
//! | module | what it does |
//! |---|---|
//! | `api` | the SQL functions: take arguments apart, call, convert |
//! | `session` | says who asks |
//! | `token` | begins a session for whoever holds a token that a registered key has signed |
//! | `decision` | puts question, policy and resource together and asks the engine |
//! | `delegation` | what may be changed about authority, and handed on |
//! | `listing` | answers which, instead of whether |
//! | `resource` | finds a row by its key and builds its scope chain |
//! | `reach` | narrows a scan to where a session may see rows |
//! | `certainty` | tells rows that need no decision of their own |
//! | `places` | says where a session's rows can be, and answers for most of them |
//! | `parents` | remembers the parents of rows |
//! | `cache` | keeps compiled policy, bounded, and right after every commit |
//! | `store` | turns rows of the authority tables into facts |
//! | `write` | writes access events, also those of transactions that roll back |
//! | `pg` | the boundary to PostgreSQL; all `unsafe` code |
//! | `error`, `settings` | error messages with SQLSTATE, detail and hint; settings |
//!
//! The decision itself is the crate `authz_engine`, which knows no PostgreSQL.

#[cfg(not(panic = "unwind"))]
compile_error!("a panic must become an SQL error, not a crash of the server: build with panic = \"unwind\"");

mod api;
mod cache;
mod certainty;
mod decision;
mod delegation;
mod error;
mod listing;
mod parents;
mod pg;
mod places;
mod reach;
mod resource;
mod session;
mod settings;
mod store;
mod token;
mod write;

use pgrx::{extension_sql_file, pg_guard};

pgrx::pg_module_magic!(name, version);

/// Tells pgrx of the schema that `sql/00_schema.sql` creates; empty, because functions say `schema = "authz"`.
#[pgrx::pg_schema]
mod authz {}

// What each file needs comes before it, whatever its number.
extension_sql_file!("../sql/00_schema.sql", name = "schema", bootstrap);
extension_sql_file!(
    "../sql/05_guard.sql",
    name = "guard",
    requires = ["schema", api::guard::refuse_overwrite]
);
extension_sql_file!("../sql/10_scope.sql", name = "scope", requires = ["guard"]);
extension_sql_file!(
    "../sql/12_tenant_status.sql",
    name = "tenant_status",
    requires = ["scope"]
);
extension_sql_file!(
    "../sql/20_principal.sql",
    name = "principal",
    requires = ["tenant_status"]
);
extension_sql_file!("../sql/25_profile.sql", name = "profile", requires = ["principal"]);
extension_sql_file!("../sql/27_lock.sql", name = "lock", requires = ["profile"]);
extension_sql_file!("../sql/30_role.sql", name = "role", requires = ["lock"]);
extension_sql_file!(
    "../sql/33_own_permission.sql",
    name = "own_permission",
    requires = ["role"]
);
extension_sql_file!(
    "../sql/35_membership.sql",
    name = "membership",
    requires = ["own_permission", api::authority::session_is_member]
);
extension_sql_file!("../sql/40_binding.sql", name = "binding", requires = ["membership"]);
extension_sql_file!("../sql/45_rule.sql", name = "rule", requires = ["binding"]);
extension_sql_file!(
    "../sql/50_resource_type.sql",
    name = "resource_type",
    requires = ["rule"]
);
extension_sql_file!(
    "../sql/52_resource_history.sql",
    name = "resource_history",
    requires = ["resource_type"]
);
extension_sql_file!(
    "../sql/55_privileged.sql",
    name = "privileged",
    requires = ["resource_history"]
);
extension_sql_file!(
    "../sql/57_signing_key.sql",
    name = "signing_key",
    requires = ["privileged", api::triggers::check_signing_key]
);
extension_sql_file!(
    "../sql/60_channel.sql",
    name = "channel",
    requires = [
        "signing_key",
        api::triggers::authority_changed,
        api::triggers::check_condition,
        api::triggers::check_resource_type
    ]
);
extension_sql_file!(
    "../sql/61_change_event.sql",
    name = "change_event",
    requires = [
        "channel",
        api::audit::cluster_id,
        api::authority::in_logical_worker,
        api::session::principal,
        api::session::tenant
    ]
);
extension_sql_file!(
    "../sql/65_separation_of_duty.sql",
    name = "separation_of_duty",
    requires = ["change_event"]
);
extension_sql_file!(
    "../sql/70_row_security.sql",
    name = "row_security",
    requires = [
        "channel",
        api::row::row_uuid,
        api::row::row_int,
        api::row::row_text,
        api::row::row_condition_uuid,
        api::row::row_condition_int,
        api::row::row_condition_text,
        api::row::sees_all,
        api::row::row_whole,
        api::row::named_tenant,
        api::row::call_support,
        api::row::via_int2,
        api::row::via_int4,
        api::row::via_int8,
        api::row::via_text,
        api::row::reach_uuid,
        api::row::reach_int2,
        api::row::reach_int4,
        api::row::reach_int8,
        api::row::reach_text,
        api::row::plan_support,
        api::can::can_uuid,
        api::can::can_int,
        api::can::can_text,
        api::can::session_can_uuid,
        api::can::session_can_int,
        api::can::session_can_text
    ]
);
extension_sql_file!(
    "../sql/71_administration.sql",
    name = "administration",
    requires = [
        "separation_of_duty",
        api::audit::record_denial,
        api::authority::holds,
        api::authority::role_missing,
        api::authority::permission_missing,
        api::authority::is_addressed,
        api::authority::write_owner,
        api::session::tenant
    ]
);
extension_sql_file!(
    "../sql/72_administer_members.sql",
    name = "administer_members",
    requires = ["administration"]
);
extension_sql_file!(
    "../sql/73_administer_roles.sql",
    name = "administer_roles",
    requires = ["administer_members"]
);
extension_sql_file!(
    "../sql/74_administer_bindings.sql",
    name = "administer_bindings",
    requires = ["administer_roles"]
);
extension_sql_file!(
    "../sql/75_administer_ownership.sql",
    name = "administer_ownership",
    requires = ["administer_bindings"]
);
extension_sql_file!(
    "../sql/76_administer_many.sql",
    name = "administer_many",
    requires = ["administer_ownership"]
);
extension_sql_file!(
    "../sql/80_audit.sql",
    name = "audit",
    requires = ["row_security", api::audit::cluster_id]
);
extension_sql_file!(
    "../sql/82_privileged_access.sql",
    name = "privileged_access",
    requires = ["audit", "administration"]
);
extension_sql_file!(
    "../sql/83_classification.sql",
    name = "classification",
    requires = [
        "administration",
        "audit",
        api::mask::claim_ownership,
        api::mask::claimed_ownership,
        api::mask::class_rank,
        api::mask::column_class
    ]
);
extension_sql_file!(
    "../sql/83_mask.sql",
    name = "mask",
    requires = [
        "classification",
        api::mask::mask_hash_text,
        api::mask::mask_hash_uuid,
        api::mask::mask_support,
        api::mask::within_class,
        api::mask::class_support,
        api::mask::unmasked_moment,
        api::privileged::session_is_masked
    ]
);
extension_sql_file!(
    "../sql/83_reveal.sql",
    name = "reveal",
    requires = ["safe_view", api::mask::count_reveal, api::mask::read_field]
);
extension_sql_file!("../sql/83_safe_view.sql", name = "safe_view", requires = ["mask"]);
extension_sql_file!("../sql/84_login.sql", name = "login", requires = ["privileged_access"]);
extension_sql_file!(
    "../sql/85_audited_view.sql",
    name = "audited_view",
    requires = [
        "audit",
        "change_event",
        api::audited_view::audited,
        api::audited_view::audited_support,
        api::audited_view::one_select,
        api::audited_view::register_audited_view,
        api::audited_view::alter_audited_view
    ]
);
extension_sql_file!(
    "../sql/85_export.sql",
    name = "export",
    requires = [
        "export_query",
        "administration",
        api::authority::terms,
        api::audit::record_denial
    ]
);
extension_sql_file!(
    "../sql/85_export_class.sql",
    name = "export_class",
    requires = ["export_job", "safe_view"]
);
extension_sql_file!(
    "../sql/85_export_definition.sql",
    name = "export_definition",
    requires = ["privileged_access", "change_event"]
);
extension_sql_file!(
    "../sql/85_export_do.sql",
    name = "export_do",
    requires = ["export", api::audit::record_access, api::export::write_export]
);
extension_sql_file!(
    "../sql/85_export_job.sql",
    name = "export_job",
    requires = ["export_definition"]
);
extension_sql_file!(
    "../sql/85_export_query.sql",
    name = "export_query",
    requires = ["export_class"]
);
extension_sql_file!("../sql/85_feed.sql", name = "feed", requires = ["export_do"]);
extension_sql_file!(
    "../sql/86_work.sql",
    name = "work",
    requires = ["login", api::can::can_text]
);
extension_sql_file!(
    "../sql/87_casework.sql",
    name = "casework",
    requires = ["administer_many", "audit", api::session::principal]
);
extension_sql_file!(
    "../sql/87_casework_case.sql",
    name = "casework_case",
    requires = ["casework_decision"]
);
extension_sql_file!(
    "../sql/87_casework_decision.sql",
    name = "casework_decision",
    requires = ["casework_guard"]
);
extension_sql_file!(
    "../sql/87_casework_guard.sql",
    name = "casework_guard",
    requires = ["casework"]
);
extension_sql_file!(
    "../sql/87_casework_install.sql",
    name = "casework_install",
    requires = ["casework_case", "row_security"]
);
extension_sql_file!(
    "../sql/87_casework_sensitive.sql",
    name = "casework_sensitive",
    requires = ["database_roles", "reveal", "audited_view"]
);
extension_sql_file!(
    "../sql/87_database_roles.sql",
    name = "database_roles",
    requires = ["casework_install"]
);
extension_sql_file!(
    "../sql/88_maintenance.sql",
    name = "maintenance",
    requires = ["work", "export_do"]
);
extension_sql_file!(
    "../sql/89_audit_seal.sql",
    name = "audit_seal",
    requires = [
        "maintenance",
        api::seal::audit_seal,
        api::seal::audit_verify,
        api::seal::audit_head,
        api::seal::seal_archive
    ]
);
extension_sql_file!(
    "../sql/89_evidence.sql",
    name = "evidence",
    requires = ["evidence_reader"]
);
extension_sql_file!(
    "../sql/89_evidence_access.sql",
    name = "evidence_access",
    requires = ["evidence"]
);
extension_sql_file!(
    "../sql/89_evidence_reader.sql",
    name = "evidence_reader",
    requires = ["maintenance", "change_event", api::authority::holds]
);
extension_sql_file!(
    "../sql/89_evidence_separation.sql",
    name = "evidence_separation",
    requires = ["evidence_access", "separation_of_duty"]
);
extension_sql_file!(
    "../sql/89_evidence_use.sql",
    name = "evidence_use",
    requires = ["evidence_access", "privileged_access", "export_job"]
);
extension_sql_file!("../sql/90_privilege.sql", name = "privilege", finalize);

/// Called by PostgreSQL when the library is loaded into a backend.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    settings::define();
    pg::invalidation::register();
    pg::transaction::watch(write::pending::on_end);
    pg::transaction::watch(pg::view::on_end);
    pg::transaction::watch(write::read::on_end);
    pg::transaction::watch_commit(write::read::before_commit);
    if pg::queue::register() {
        pg::worker::register();
    }
}
