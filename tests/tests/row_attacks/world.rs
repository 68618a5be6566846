//! Who attacks what, and how an attempt is watched.

use authz_tests::make::{self, id};
use authz_tests::{Db, execute, report, value};
use postgres::{Client, NoTls, SimpleQueryMessage};
use std::sync::{Arc, Mutex};

/// What hidden rows say, and nothing else does. Attempts do not spell it.
const SECRET: &str = "SECRET";

/// Tenants acme (teams red and blue) and globex. Mallory, whose login role is bound to a principal, is a member of acme
/// and may view, edit, create and delete cases, documents and tickets of team red; she may view neither what is sealed
/// nor what is deleted. Nina is the same for team blue. The boss may do everything everywhere.
pub struct World {
    pub db: Db,
    pub admin: Client,
    pub mallory: String,
    /// A role that Mallory may become, whose principal may view team blue.
    pub nina: String,
}

/// How an attempt must end.
pub enum End {
    /// With an error of this SQLSTATE.
    Refused(&'static str),
    /// With these rows of all its statements together, fields separated by `|`.
    Rows(&'static [&'static str]),
    /// With none but these rows.
    Within(&'static [&'static str]),
    /// With this many rows read or changed by its statements together.
    Count(u64),
    /// Somehow, as long as nothing comes out.
    Silence,
}
use End::{Count, Refused, Rows, Silence, Within};

/// Name, statements, end. `:name` in a statement is the id that the name stands for.
pub type Attempt = (&'static str, &'static str, End);

impl World {
    pub fn new() -> World {
        let db = Db::new();
        let (mallory, nina) = (db.role(), db.role());
        let mut admin = db.connect();
        let c = &mut admin;
        let acme = make::tenant(c, "acme");
        let globex = make::tenant(c, "globex");
        make::team(c, acme, "red", None, None);
        make::team(c, acme, "blue", None, None);
        make::team(c, globex, "green", None, None);
        execute(
            c,
            "INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
             VALUES ('case.create', 'case', 'create'), ('case.delete', 'case', 'delete'),
                    ('document.create', 'document', 'create'), ('document.delete', 'document', 'delete'),
                    ('ticket.view', 'ticket', 'view'), ('ticket.edit', 'ticket', 'edit'),
                    ('ticket.create', 'ticket', 'create'), ('ticket.delete', 'ticket', 'delete'),
                    ('event.view', 'event', 'view')",
        );
        let worker = [
            "case.view",
            "case.edit",
            "case.create",
            "case.delete",
            "document.view",
            "document.edit",
            "document.create",
            "document.delete",
            "ticket.view",
            "ticket.edit",
            "ticket.create",
            "ticket.delete",
            "event.view",
        ];
        make::role(c, "worker", &worker);
        let mut all = worker.to_vec();
        all.extend(["case.view_sealed", "case.view_restricted", "case.view_deleted"]);
        make::role(c, "boss", &all);
        for (name, role, team) in [("mallory", &mallory, "red"), ("nina", &nina, "blue")] {
            make::member(c, acme, name);
            make::assign(c, acme, id(name), "worker", "team", id(team));
            execute(
                c,
                &format!(
                    "UPDATE authz.principal SET db_role = '{role}' WHERE principal_id = '{}'",
                    id(name)
                ),
            );
        }
        make::principal(c, "boss");
        make::assign_platform(c, id("boss"), "boss");
        execute(
            c,
            &text(
                "CREATE TABLE public.ticket (
                     tenant_id uuid NOT NULL, ticket_id integer NOT NULL, team_id uuid, title text,
                     code text GENERATED ALWAYS AS (upper(title)) STORED, UNIQUE (tenant_id, ticket_id));
                 CREATE SEQUENCE public.ticket_ids;
                 CREATE INDEX ON public.ticket (ticket_id);
                 CREATE TABLE public.event (tenant_id uuid NOT NULL, event_id bigint NOT NULL, team_id uuid, title text,
                     PRIMARY KEY (tenant_id, event_id)) PARTITION BY LIST (tenant_id);
                 CREATE TABLE public.event_acme PARTITION OF public.event FOR VALUES IN (':acme');
                 CREATE TABLE public.event_globex (title text, team_id uuid, event_id bigint NOT NULL, tenant_id uuid NOT NULL);
                 ALTER TABLE public.event ATTACH PARTITION public.event_globex FOR VALUES IN (':globex');
                 CREATE TABLE public.note (note_id integer PRIMARY KEY, tenant_id uuid NOT NULL, case_id uuid NOT NULL,
                     FOREIGN KEY (tenant_id, case_id) REFERENCES public.case_record (tenant_id, case_id));
                 INSERT INTO public.case_record (tenant_id, case_id, owning_team_id, confidentiality_level, deleted_at, title)
                 VALUES (':acme', ':mine', ':red', 'normal', NULL, 'mine'),
                        (':acme', ':mine too', ':red', 'normal', NULL, 'mine too'),
                        (':acme', ':blue case', ':blue', 'normal', NULL, 'SECRET of blue'),
                        (':acme', ':sealed', ':red', 'sealed', NULL, 'SECRET sealed'),
                        (':acme', ':deleted', ':red', 'normal', now(), 'SECRET deleted'),
                        (':acme', ':denied', ':red', 'normal', NULL, 'SECRET denied'),
                        (':globex', ':foreign', ':green', 'normal', NULL, 'SECRET of globex'),
                        (NULL, ':nowhere', NULL, 'normal', NULL, 'SECRET of the platform');
                 INSERT INTO public.case_document (tenant_id, document_id, case_id, confidentiality_level, title)
                 VALUES (':acme', ':my document', ':mine', 'normal', 'my document'),
                        (':acme', ':sealed document', ':mine', 'sealed', 'SECRET sealed document'),
                        (':acme', ':blue document', ':blue case', 'normal', 'SECRET document of blue'),
                        (':acme', ':lost document', ':sealed', 'normal', 'SECRET document of a sealed case'),
                        (':globex', ':foreign document', ':foreign', 'normal', 'SECRET document of globex');
                 INSERT INTO public.ticket (tenant_id, ticket_id, team_id, title)
                 VALUES (':acme', 1, ':red', 'first'), (':acme', 2, ':blue', 'SECRET ticket'),
                        (':globex', 1, ':green', 'SECRET ticket of globex'), (':globex', 3, ':green', 'SECRET third');
                 INSERT INTO public.event (tenant_id, event_id, team_id, title)
                 VALUES (':acme', 1, ':red', 'first'), (':acme', 2, ':blue', 'SECRET event'),
                        (':globex', 1, ':green', 'SECRET event of globex');
                 SELECT authz_protect('public.case_record', 'case', key => 'case_id', tenant => 'tenant_id',
                     organization => 'owning_org_id', team => 'owning_team_id', project => 'project_id',
                     owner => 'owner_id', confidentiality => 'confidentiality_level', deleted_at => 'deleted_at',
                     create_indexes => true);
                 SELECT authz_protect('public.case_document', 'document', key => 'document_id', tenant => 'tenant_id',
                     confidentiality => 'confidentiality_level', parent => 'case_id', parent_type => 'case',
                     create_indexes => true);
                 SELECT authz_protect('public.ticket', 'ticket', key => 'ticket_id', tenant => 'tenant_id', team => 'team_id');
                 SELECT authz_protect('public.event', 'event', key => 'event_id', tenant => 'tenant_id', team => 'team_id');
                 CREATE VIEW public.caller_view WITH (security_invoker) AS SELECT * FROM public.case_record;
                 CREATE VIEW public.barrier_view WITH (security_invoker, security_barrier) AS
                     SELECT * FROM public.case_record WHERE title IS NOT NULL;
                 ANALYZE",
            ),
        );
        make::rule(
            c,
            acme,
            "deny",
            1,
            ("case", Some(id("denied"))),
            ("principal", Some(&id("mallory").to_string())),
            None,
        );
        execute(
            c,
            &format!(
                "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {mallory}, {nina};
                 GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {mallory};
                 GRANT {nina} TO {mallory};
                 CREATE SCHEMA evil AUTHORIZATION {mallory};
                 GRANT CREATE ON SCHEMA public TO {mallory};
                 GRANT CREATE, TEMP ON DATABASE {} TO {mallory}",
                db.name
            ),
        );
        World {
            db,
            admin,
            mallory,
            nina,
        }
    }

    /// All that Mallory may not see, and who she is.
    pub fn hidden(&mut self) -> String {
        value(
            &mut self.admin,
            "SELECT string_agg(row, E'\n' ORDER BY row) FROM (
                 SELECT t.tableoid::regclass || t::text FROM public.case_record t WHERE title LIKE 'SECRET%' UNION ALL
                 SELECT t.tableoid::regclass || t::text FROM public.case_document t WHERE title LIKE 'SECRET%' UNION ALL
                 SELECT t.tableoid::regclass || t::text FROM public.ticket t WHERE title LIKE 'SECRET%' UNION ALL
                 SELECT t.tableoid::regclass || t::text FROM public.event t WHERE title LIKE 'SECRET%' UNION ALL
                 SELECT count(*) || ' outside' FROM (
                     SELECT tenant_id FROM public.case_record UNION ALL SELECT tenant_id FROM public.case_document UNION ALL
                     SELECT tenant_id FROM public.ticket UNION ALL SELECT tenant_id FROM public.event) t
                  WHERE tenant_id IS DISTINCT FROM (SELECT tenant_id FROM authz.tenant WHERE slug = 'acme') UNION ALL
                 SELECT 'policy ' || p::text FROM pg_policies p WHERE schemaname = 'public' UNION ALL
                 SELECT count(*) || ' bindings' FROM authz.principal_role_assignment) AS v (row)",
            &[],
        )
    }
}

/// `:name` replaced by the id that it stands for; names end at the next quote.
pub fn text(sql: &str) -> String {
    let mut out = String::new();
    let mut rest = sql;
    while let Some(start) = rest.find("':") {
        let after = &rest[start + 2..];
        if let Some(behind) = after.strip_prefix(':') {
            // A cast.
            out.push_str(&rest[..start + 3]);
            rest = behind;
            continue;
        }
        let end = after.find('\'').expect("a quoted name");
        out.push_str(&rest[..=start]);
        out.push_str(&id(&after[..end]).to_string());
        out.push('\'');
        rest = &after[end + 1..];
    }
    out.push_str(rest);
    out
}

/// A connection whose notices are kept.
pub fn connect(db: &Db, role: &str) -> (Client, Arc<Mutex<Vec<String>>>) {
    let notices = Arc::new(Mutex::new(Vec::new()));
    let kept = notices.clone();
    let client = postgres::Config::new()
        .host(&db.server.host)
        .port(db.server.port)
        .user(role)
        .dbname(&db.name)
        .notice_callback(move |n| {
            kept.lock()
                .unwrap()
                .push(format!("{n} {:?} {:?}", n.detail(), n.hint()))
        })
        .connect(NoTls)
        .unwrap_or_else(|e| panic!("{}", report(&e)));
    (client, notices)
}

impl World {
    /// Makes attempts, each in a transaction of a connection of its own that is committed if it can be, and lists those
    /// that did not end as they must.
    pub fn resist(&mut self, attempts: &[Attempt]) {
        let mut failures = Vec::new();
        let mut names = std::collections::HashSet::new();
        let mut admin = self.db.connect();
        let version: i32 = value(&mut admin, "SELECT current_setting('server_version_num')::integer", &[]);
        let force_parallel = if version >= 160_000 {
            "debug_parallel_query"
        } else {
            "force_parallel_mode"
        };
        for (name, statements, end) in attempts {
            assert!(names.insert(name), "two attempts are called {name}");
            let before = self.hidden();
            let sql = text(statements)
                .replace("{mallory}", &self.mallory)
                .replace("{nina}", &self.nina)
                .replace("{force_parallel}", force_parallel);
            let (mut client, notices) = connect(&self.db, &self.mallory);
            let (mut rows, mut count, mut outcome) = (Vec::new(), 0, None);
            execute(&mut client, "BEGIN; SET LOCAL statement_timeout = '120s'");
            match client.simple_query(&sql) {
                Ok(messages) => {
                    for message in messages {
                        match message {
                            SimpleQueryMessage::Row(row) => {
                                let fields: Vec<&str> = (0..row.len()).map(|n| row.get(n).unwrap_or("NULL")).collect();
                                rows.push(fields.join("|"));
                            }
                            SimpleQueryMessage::CommandComplete(n) => count += n,
                            _ => {}
                        }
                    }
                    // What was deferred comes out at the end.
                    if let Err(e) = client.batch_execute("COMMIT") {
                        outcome = Some(e);
                    }
                }
                Err(e) => {
                    outcome = Some(e);
                    if let Err(e) = client.batch_execute("ROLLBACK") {
                        failures.push(format!("{name}: the server is gone: {}", report(&e)));
                        continue;
                    }
                }
            }
            let error = outcome.as_ref().map(report).unwrap_or_default();
            let sqlstate = outcome
                .as_ref()
                .map(|e| e.code().map_or("none".to_owned(), |c| c.code().to_owned()));
            let said = format!("{}\n{error}\n{:?}", rows.join("\n"), notices.lock().unwrap());
            let ended = match end {
                Refused(wanted) => sqlstate.as_deref() == Some(*wanted),
                Rows(wanted) => sqlstate.is_none() && rows == *wanted,
                Within(allowed) => {
                    sqlstate.as_deref().is_none_or(|s| s == "42501")
                        && rows.iter().all(|r| allowed.contains(&r.as_str()))
                }
                Count(wanted) => sqlstate.is_none() && count == *wanted,
                Silence => sqlstate.is_none(),
            };
            // A server that was built without libxml tells nothing by that way.
            let without_xml = sqlstate.as_deref() == Some("0A000") && error.contains("unsupported XML feature");
            if !ended && !without_xml {
                failures.push(format!(
                    "{name}: ended otherwise ({sqlstate:?}, {count} rows)\n{said}\nin: {sql}"
                ));
            }
            if said.contains(SECRET) {
                failures.push(format!("{name}: a hidden row came out\n{said}\nin: {sql}"));
            }
            let after = self.hidden();
            if after != before {
                failures.push(format!(
                    "{name}: hidden rows were\n{before}\nand are\n{after}\nin: {sql}"
                ));
            }
        }
        println!("{} attempts", attempts.len());
        assert!(
            failures.is_empty(),
            "{} of {}:\n{}",
            failures.len(),
            attempts.len(),
            failures.join("\n\n")
        );
    }
}

/// The rows that Mallory sees, and nobody may make more of.
pub const MINE: End = Rows(&["mine", "mine too"]);

/// The end of most attempts.
macro_rules! then_look {
    ($before:expr) => {
        concat!($before, "; SELECT title FROM public.case_record ORDER BY title")
    };
}
pub(crate) use then_look;
