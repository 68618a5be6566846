//! An office that exports claims: a protected table that nobody may read directly, and people who ask, approve and run.

use postgres::Client;
use uuid::Uuid;

use crate::make::{self, id};
use crate::session::act_as;
use crate::{Db, Start, execute, report, value};

/// What an application that exports may call.
const FUNCTIONS: [&str; 8] = [
    "authz_set_session",
    "authz_request_export",
    "authz_approve_export",
    "authz_run_export",
    "authz_download_export",
    "authz_end_export",
    "authz_exports",
    "authz_runnable_exports",
];

/// Tenant acme has two teams, north and south, with claims; globex has one. Rex exports in acme, Tia in team north, Gus in
/// globex; Ann approves in acme, Greg in globex; Mia is a plain member.
pub struct Exports {
    /// Its database.
    pub db: Db,
    /// The owner of the database.
    pub admin: Client,
    /// A role that may call the functions and nothing else.
    pub app: String,
}

/// The claims that everybody starts with: quotes, commas, line feeds, empty texts and NULL among them.
const CLAIMS: &str = r#"
    INSERT INTO public.claim (tenant_id, claim_id, team_id, status, amount, holder, note, filed_at) VALUES
        ('{acme}', '{c1}', '{north}', 'open', 10.50, 'Ina "I" Ost', E'two\nlines', '2026-01-02 03:04:05.6+00'),
        ('{acme}', '{c2}', '{north}', 'closed', 20, 'Jon, Jr', '', '2026-01-03 00:00:00+00'),
        ('{acme}', '{c3}', '{south}', 'open', NULL, E'Käthe\r', '\.', NULL),
        ('{globex}', '{c4}', '{east}', 'open', 40, 'Lou', NULL, '2026-01-05 00:00:00+00')"#;

/// All columns that are defined for export.
const COLUMNS: &str = "claim_id,status,amount,holder,note,filed_at";

impl Exports {
    /// Everything as described.
    pub fn new() -> Exports {
        let db = Db::with(Start::Extension);
        let mut c = db.connect();
        let (acme, globex) = (make::tenant(&mut c, "acme"), make::tenant(&mut c, "globex"));
        for (tenant, team) in [(acme, "north"), (acme, "south"), (globex, "east")] {
            make::team(&mut c, tenant, team, None, None);
        }
        execute(
            &mut c,
            "CREATE TABLE public.claim (tenant_id uuid NOT NULL, claim_id uuid NOT NULL, team_id uuid, status text, amount numeric,
                                        holder text, note text, filed_at timestamptz, secret text, PRIMARY KEY (tenant_id, claim_id));
             INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
             VALUES ('claim.view', 'claim', 'view'), ('claim.export', 'claim', 'export'), ('claim.view_pii', 'claim', 'view_pii');
             SELECT FROM authz_protect('public.claim', 'claim', 'claim_id', 'tenant_id', team => 'team_id');
             INSERT INTO authz.data_classification (target, column_name, classification)
             VALUES ('public.claim', 'claim_id', 'internal'), ('public.claim', 'tenant_id', 'internal'), ('public.claim', 'team_id', 'internal'),
                    ('public.claim', 'status', 'public'), ('public.claim', 'amount', 'internal'), ('public.claim', 'holder', 'pii'),
                    ('public.claim', 'note', 'internal'), ('public.claim', 'filed_at', 'internal'), ('public.claim', 'secret', 'secret')",
        );
        let names = ["acme", "globex", "north", "south", "east", "c1", "c2", "c3", "c4"];
        let claims = names.iter().fold(CLAIMS.to_owned(), |sql, n| {
            sql.replace(&format!("{{{n}}}"), &id(n).to_string())
        });
        execute(&mut c, &claims);
        make::role(
            &mut c,
            "exporter",
            &["export.request", "claim.export", "claim.view", "claim.view_pii"],
        );
        make::role(&mut c, "approver", &["export.approve"]);
        for (tenant, name, role, scope) in [
            (acme, "rex", "exporter", ("tenant", acme)),
            (acme, "tia", "exporter", ("team", id("north"))),
            (acme, "ann", "approver", ("tenant", acme)),
            (globex, "gus", "exporter", ("tenant", globex)),
            (globex, "greg", "approver", ("tenant", globex)),
        ] {
            make::member(&mut c, tenant, name);
            make::assign(&mut c, tenant, id(name), role, scope.0, scope.1);
        }
        make::member(&mut c, acme, "mia");
        execute(&mut c, &define(""));
        let app = db.role();
        for function in FUNCTIONS {
            execute(&mut c, &format!("GRANT EXECUTE ON FUNCTION {function} TO {app}"));
        }
        Exports { db, admin: c, app }
    }

    /// A connection that acts for somebody.
    pub fn of(&self, name: &str) -> Client {
        let mut c = self.db.connect_as(&self.app);
        act_as(&mut c, name);
        c
    }

    /// A column of a job, as text.
    pub fn job(&mut self, export: Uuid, column: &str) -> Option<String> {
        value(
            &mut self.admin,
            &format!("SELECT ({column})::text FROM authz.data_export_job WHERE export_id = $1"),
            &[&export],
        )
    }

    /// How many chunks are kept.
    pub fn chunks(&mut self) -> i64 {
        value(&mut self.admin, "SELECT count(*) FROM authz.data_export_chunk", &[])
    }

    /// How often something is recorded of somebody.
    pub fn events(&mut self, action: &str, name: &str, result: &str) -> i64 {
        value(
            &mut self.admin,
            "SELECT count(*) FROM authz.access_audit_event WHERE action_code = $1 AND principal_id = $2 AND access_result = $3",
            &[&action, &id(name), &result],
        )
    }

    /// What COPY writes of claims, as the owner of the database sees them.
    pub fn copy(&mut self, query: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut out = self
            .admin
            .copy_out(&format!("COPY ({query}) TO STDOUT (FORMAT csv, HEADER)"))
            .unwrap();
        std::io::Read::read_to_end(&mut out, &mut bytes).unwrap();
        bytes
    }
}

impl Default for Exports {
    fn default() -> Self {
        Exports::new()
    }
}

/// Defines the export of claims, with further arguments.
pub fn define(more: &str) -> String {
    format!("SELECT authz_define_export('claims', 'public.claim', '{{{COLUMNS}}}', 'claim.export'{more})")
}

/// A request for acme's claims, with further arguments, as SQL.
pub fn request_sql(more: &str) -> String {
    format!(
        "SELECT authz_request_export('claims', 'the yearly report', '{}'{more})",
        id("acme")
    )
}

/// Requests acme's claims.
#[track_caller]
pub fn request(c: &mut Client, more: &str) -> Uuid {
    let sql = request_sql(more);
    match c.query_one(&sql, &[]) {
        Ok(row) => row.get(0),
        Err(e) => panic!("{}\nin: {sql}", report(&e)),
    }
}

/// Runs an export; its rows.
#[track_caller]
pub fn run_export(c: &mut Client, export: Uuid) -> i64 {
    value(c, "SELECT authz_run_export($1)", &[&export])
}

/// One chunk: how many there are, and its bytes.
#[track_caller]
pub fn chunk(c: &mut Client, export: Uuid, number: i32) -> (i32, Vec<u8>) {
    let sql = "SELECT number, chunks, content, sha256 = sha256(content) FROM authz_download_export($1, $2)";
    match c.query_one(sql, &[&export, &number]) {
        Ok(row) => {
            assert_eq!(row.get::<_, i32>(0), number);
            assert!(row.get::<_, bool>(3), "the hash is that of the bytes");
            (row.get(1), row.get(2))
        }
        Err(e) => panic!("{}\nin: {sql}", report(&e)),
    }
}

/// All chunks, one after the other.
#[track_caller]
pub fn download(c: &mut Client, export: Uuid) -> Vec<u8> {
    let (chunks, mut bytes) = chunk(c, export, 1);
    for number in 2..=chunks {
        bytes.extend(chunk(c, export, number).1);
    }
    bytes
}

/// Requests, runs and downloads, as text.
#[track_caller]
pub fn exported(c: &mut Client, more: &str) -> String {
    let export = request(c, more);
    run_export(c, export);
    String::from_utf8(download(c, export)).expect("exports are UTF-8")
}
