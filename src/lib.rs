//! `authz_ext`: who may do what to which row is decided inside PostgreSQL, from data.
//!
//! Data flows one way: **SQL call → session → compiled policy (cache → store) → engine → decision**.
//!
//! | module | what it does |
//! |---|---|
//! | `api` | the SQL functions: take arguments apart, call, convert |
//! | `session` | says who asks |
//! | `decision` | puts question, policy and resource together and asks the engine |
//! | `resource` | finds a row by its key and builds its scope chain |
//! | `cache` | keeps compiled policy, bounded, and right after every commit |
//! | `store` | turns rows of the authority tables into facts |
//! | `pg` | the boundary to PostgreSQL; all `unsafe` code |
//! | `error`, `settings` | error messages with SQLSTATE, detail and hint; settings |
//!
//! The decision itself is the crate `authz_engine`, which knows no PostgreSQL.

#[cfg(not(panic = "unwind"))]
compile_error!("a panic must become an SQL error, not a crash of the server: build with panic = \"unwind\"");

mod api;
mod cache;
mod decision;
mod error;
mod pg;
mod resource;
mod session;
mod settings;
mod store;

use pgrx::{extension_sql_file, pg_guard};

pgrx::pg_module_magic!(name, version);

extension_sql_file!("../sql/00_schema.sql", name = "schema", bootstrap);
extension_sql_file!("../sql/05_guard.sql", name = "guard", requires = ["schema"]);
extension_sql_file!("../sql/10_scope.sql", name = "scope", requires = ["guard"]);
extension_sql_file!("../sql/20_principal.sql", name = "principal", requires = ["scope"]);
extension_sql_file!("../sql/25_profile.sql", name = "profile", requires = ["principal"]);
extension_sql_file!("../sql/30_role.sql", name = "role", requires = ["profile"]);
extension_sql_file!("../sql/35_membership.sql", name = "membership", requires = ["role"]);
extension_sql_file!("../sql/40_binding.sql", name = "binding", requires = ["membership"]);
extension_sql_file!("../sql/45_rule.sql", name = "rule", requires = ["binding"]);
extension_sql_file!(
    "../sql/50_resource_type.sql",
    name = "resource_type",
    requires = ["rule"]
);
extension_sql_file!(
    "../sql/55_privileged.sql",
    name = "privileged",
    requires = ["resource_type"]
);
extension_sql_file!(
    "../sql/60_channel.sql",
    name = "channel",
    requires = [
        "privileged",
        api::triggers::authority_changed,
        api::triggers::check_condition,
        api::triggers::check_resource_type
    ]
);
extension_sql_file!("../sql/90_privilege.sql", name = "privilege", finalize);

/// Called by PostgreSQL when the library is loaded into a backend.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    settings::define();
    pg::invalidation::register();
}
