//! Attempts to see, change or find out about rows that are not allowed, by people without privileges: each named by
//! what is attempted, each with what it must end in (R20, R21, R27; PITFALLS 11, 16, 19, 23 to 25).
//!
//! Every attempt is watched for the same things as well: nothing that the server says to the attacker (rows, notices,
//! the text of errors) may hold what is in hidden rows, and the hidden rows must be as they were.

use std::sync::{Arc, Mutex};

use authz_tests::make::{self, id};
use authz_tests::{Db, execute, report, value};
use postgres::{Client, NoTls, SimpleQueryMessage};

/// What hidden rows say, and nothing else does. Attempts do not spell it.
const SECRET: &str = "SECRET";

/// Tenants acme (teams red and blue) and globex. Mallory, whose login role is bound to a principal, is a member of acme
/// and may view, edit, create and delete cases, documents and tickets of team red; she may view neither what is sealed
/// nor what is deleted. Nina is the same for team blue. The boss may do everything everywhere.
struct World {
    db: Db,
    admin: Client,
    mallory: String,
    /// A role that Mallory may become, whose principal may view team blue.
    nina: String,
}

/// How an attempt must end.
enum End {
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
type Attempt = (&'static str, &'static str, End);

impl World {
    fn new() -> World {
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
    fn hidden(&mut self) -> String {
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
fn text(sql: &str) -> String {
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
fn connect(db: &Db, role: &str) -> (Client, Arc<Mutex<Vec<String>>>) {
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
    fn resist(&mut self, attempts: &[Attempt]) {
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
            execute(&mut client, "BEGIN; SET LOCAL statement_timeout = '60s'");
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
const MINE: End = Rows(&["mine", "mine too"]);
/// The end of most attempts.
macro_rules! then_look {
    ($before:expr) => {
        concat!($before, "; SELECT title FROM public.case_record ORDER BY title")
    };
}

/// A session's setting as this library writes it, for somebody else.
macro_rules! boss {
    () => {
        r#"format('{"principal":"%s","tenant":null,"context":{},"expires":null}', ':boss')"#
    };
}

#[test]
fn another_identity() {
    World::new().resist(&[
        (
            "set_config of the session's setting",
            concat!("SELECT authz_principal(); SELECT set_config('authz.session', ", boss!(), ", false)"),
            Refused("42501"),
        ),
        (
            "set_config for the transaction",
            concat!("SELECT authz_principal(); SELECT set_config('authz.session', ", boss!(), ", true)"),
            Refused("42501"),
        ),
        (
            "set_config inside the guarded statement",
            concat!("SELECT title FROM case_record WHERE set_config('authz.session', ", boss!(), ", true) IS NOT NULL"),
            Refused("42501"),
        ),
        (
            "set_config in a sub-select that is computed first",
            concat!("SELECT title FROM case_record WHERE title <> (SELECT set_config('authz.session', ", boss!(), ", true))"),
            Refused("42501"),
        ),
        (
            "SET by dynamic SQL",
            concat!("SELECT authz_principal(); DO $$ BEGIN EXECUTE format('SET authz.session = %L', ", boss!(), "); END $$"),
            Refused("42501"),
        ),
        (
            "SET clause of a function",
            concat!("DO $$ BEGIN EXECUTE format('CREATE FUNCTION evil.f() RETURNS SETOF text LANGUAGE sql SET authz.session = %L AS %L', ",
                boss!(), ", 'SELECT title FROM public.case_record'); END $$; SELECT evil.f()"),
            Refused("42501"),
        ),
        (
            "ALTER ROLE SET",
            concat!("DO $$ BEGIN EXECUTE format('ALTER ROLE CURRENT_USER SET authz.session = %L', ", boss!(), "); END $$;
                SELECT title FROM case_record ORDER BY title"),
            Refused("42501"),
        ),
        ("SET SESSION AUTHORIZATION", "SET SESSION AUTHORIZATION {nina}", Refused("42501")),
        ("SET ROLE to a superuser", "SET ROLE postgres", Refused("42501")),
        (
            "SET ROLE to a role whose principal sees other rows",
            then_look!("SET ROLE {nina}"),
            MINE,
        ),
        (
            "SECURITY DEFINER function of another role",
            "SET ROLE {nina}; CREATE FUNCTION pg_temp.f() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER
                AS 'SELECT title FROM public.case_record ORDER BY title'; RESET ROLE; SELECT pg_temp.f()",
            MINE,
        ),
        ("row_security = off", then_look!("SET row_security = off"), Refused("42501")),
        (
            "session_replication_role",
            "SET session_replication_role = replica",
            Refused("42501"),
        ),
        ("authz_set_session", "SELECT authz_set_session(':boss')", Refused("42501")),
        (
            "authz_set_session by a rule of its own",
            "CREATE VIEW evil.v AS SELECT authz_set_session(':boss')::text; SELECT * FROM evil.v",
            Refused("42501"),
        ),
        (
            "a token of algorithm none",
            r#"SELECT authz_set_session_token(translate(encode('{"alg":"none","typ":"JWT"}', 'base64'), '=+/', '-_') || '.' ||
                 translate(encode(convert_to(format('{"sub":"%s","exp":99999999999}', ':boss'), 'UTF8'), 'base64'), E'=+/\n', '-_') || '.')"#,
            Refused("28000"),
        ),
        ("an empty token", "SELECT authz_set_session_token('')", Refused("28000")),
        ("no token", "SELECT authz_set_session_token(NULL)", Refused("28000")),
        (
            "an enormous token",
            "SELECT authz_set_session_token(repeat('a', 20000000) || '.' || repeat('b', 20000000) || '.c')",
            Refused("28000"),
        ),
        (
            "binding one's role to another principal",
            "UPDATE authz.principal SET db_role = CURRENT_USER WHERE principal_id = ':boss'",
            Refused("42501"),
        ),
        (
            "giving oneself a role",
            "INSERT INTO authz.principal_role_assignment (principal_id, role_code, scope_type) VALUES (':mallory', 'boss', 'platform')",
            Refused("42501"),
        ),
        ("reading who has what", "SELECT * FROM authz.principal_role_assignment", Refused("42501")),
        ("reading the tokens' keys", "SELECT * FROM authz.signing_key", Refused("42501")),
        ("reading the session's setting", "SELECT authz_tenant(); SELECT current_setting('authz.session')", Refused("42501")),
        ("SHOW of the session's setting", "SELECT authz_tenant(); SHOW authz.session", Refused("42501")),
        (
            "the setting in pg_settings",
            "SELECT setting FROM pg_settings WHERE name = 'authz.session'",
            Rows(&[]),
        ),
        ("a setting of a like name", "SELECT authz_tenant(); SET authz.sessions = 'x'", Refused("42602")),
        (
            "clearing the session",
            "SELECT authz_clear_session(); SELECT title FROM case_record ORDER BY title",
            Rows(&["", "mine", "mine too"]),
        ),
        (
            "set_config before the library is there",
            concat!("SELECT set_config('authz.session', ", boss!(), ", false) IS NULL; SELECT title FROM case_record ORDER BY title"),
            Rows(&["f", "mine", "mine too"]),
        ),
        (
            "SET before the library is there, then parallel workers that load it",
            concat!("DO $$ BEGIN EXECUTE format('SET authz.session = %L', ", boss!(), "); END $$;
                CREATE FUNCTION evil.w() RETURNS bigint LANGUAGE plpgsql PARALLEL SAFE AS 'BEGIN RETURN (SELECT count(*) FROM public.case_record); END';
                SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0;
                SET LOCAL parallel_leader_participation = off; SET LOCAL {force_parallel} = on; SELECT evil.w()"),
            Rows(&["2"]),
        ),
        ("RESET ALL", then_look!("RESET ALL"), MINE),
        ("RESET of the setting", "SELECT authz_tenant(); RESET authz.session", Refused("42501")),
        ("a cache of no size", then_look!("SET authz.cache_size = 256"), MINE),
        ("a role of the principal's name", "CREATE ROLE boss LOGIN", Refused("42501")),
        ("renaming one's role", "ALTER ROLE {mallory} RENAME TO {mallory}_boss", Refused("0A000")),
        (
            "claims of its own in the context of a question",
            "SELECT authz_can(authz_principal(), 'case.view', ':sealed'::uuid, ':acme', json_build_object('principal', ':boss', 'mfa', true)::jsonb)",
            Rows(&["f"]),
        ),
    ]);
}

#[test]
fn shadowed_names() {
    World::new().resist(&[
        (
            "authz_row in a schema searched first",
            then_look!("CREATE FUNCTION evil.authz_row(text, uuid, uuid, uuid, uuid, uuid, uuid, text, boolean, text)
                RETURNS boolean LANGUAGE sql AS 'SELECT true'; SET search_path = evil, public"),
            MINE,
        ),
        (
            "authz_row in pg_temp",
            then_look!("CREATE FUNCTION pg_temp.authz_row(text, uuid, uuid, uuid, uuid, uuid, uuid, text, boolean, text)
                RETURNS boolean LANGUAGE sql AS 'SELECT true'; SET search_path = pg_temp, public"),
            MINE,
        ),
        (
            "a better overload of authz_row beside the real one",
            then_look!("CREATE FUNCTION public.authz_row(permission text, key uuid, tenant uuid, organization uuid, team uuid)
                RETURNS boolean LANGUAGE sql AS 'SELECT true'"),
            MINE,
        ),
        (
            "via in a schema searched first",
            then_look!("CREATE FUNCTION evil.via(text, text, uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true';
                CREATE FUNCTION evil.row_exact(text, uuid, uuid, uuid, uuid, uuid, uuid, text, boolean, text)
                RETURNS boolean LANGUAGE sql AS 'SELECT true'; SET search_path = evil, public"),
            MINE,
        ),
        (
            "uuid_eq in a schema searched before pg_catalog",
            then_look!("CREATE FUNCTION evil.uuid_eq(uuid, uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true';
                SET search_path = evil, pg_catalog, public"),
            MINE,
        ),
        (
            "operator = of uuids in a schema searched before pg_catalog",
            then_look!("CREATE FUNCTION evil.same(uuid, uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true';
                CREATE OPERATOR evil.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = evil.same);
                SET search_path = evil, pg_catalog, public"),
            MINE,
        ),
        (
            "operator = of texts in pg_temp",
            then_look!("CREATE FUNCTION evil.same_text(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
                CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.same_text);
                SET search_path = evil, pg_catalog, public"),
            MINE,
        ),
        (
            "authority tables in a schema searched first",
            then_look!("CREATE TABLE evil.principal_role_assignment (principal_id uuid, role_code text, scope_type text);
                CREATE TABLE evil.tenant_membership (tenant_id uuid, principal_id uuid, status text);
                CREATE TABLE evil.resource_type (resource_type text, target regclass); SET search_path = evil, public"),
            MINE,
        ),
        (
            "a temporary table of the protected one's name",
            "CREATE TEMP TABLE case_record (title text); SELECT title FROM case_record",
            Rows(&[]),
        ),
        (
            "temporary authority tables",
            then_look!("CREATE TEMP TABLE tenant_membership (tenant_id uuid, principal_id uuid, status text);
                CREATE TEMP TABLE resource_access_grant (tenant_id uuid, resource_id text); SET search_path = pg_temp, authz, public"),
            MINE,
        ),
        ("a schema of the extension's name", "CREATE SCHEMA authz", Refused("42P06")),
        ("another name for the extension's schema", "ALTER SCHEMA authz RENAME TO authz_old", Refused("42501")),
        (
            "replacing authz_row",
            "CREATE OR REPLACE FUNCTION public.authz_row(permission text, key uuid, tenant uuid, organization uuid, team uuid,
                project uuid, owner uuid, confidentiality text, deleted boolean, parent text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
            Refused("42501"),
        ),
        (
            "a support function of one's own",
            "ALTER FUNCTION public.authz_row(text, uuid, uuid, uuid, uuid, uuid, uuid, text, boolean, text) COST 1",
            Refused("42501"),
        ),
        (
            "dropping a function that the plan calls",
            "DROP FUNCTION public.authz_row(text, uuid, uuid, uuid, uuid, uuid, uuid, text, boolean, text) CASCADE",
            Refused("42501"),
        ),
        ("dropping the extension", "DROP EXTENSION authz_ext CASCADE", Refused("42501")),
        ("a cast of one's own", "CREATE CAST (text AS uuid) WITH INOUT AS IMPLICIT", Refused("42501")),
        (
            "an operator class of one's own",
            "CREATE OPERATOR CLASS evil.c DEFAULT FOR TYPE uuid USING btree AS FUNCTION 1 uuid_cmp(uuid, uuid)",
            Refused("42501"),
        ),
        (
            "a default conversion of texts",
            "CREATE DEFAULT CONVERSION evil.c FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1; SELECT title FROM case_record ORDER BY title",
            MINE,
        ),
        (
            "a type that casts itself to text",
            "CREATE TYPE evil.wrap AS (v text); SELECT (ROW(title)::evil.wrap)::text FROM case_record ORDER BY 1",
            Rows(&["(\"mine too\")", "(mine)"]),
        ),
    ]);
}

/// A function that tells what it is called with, cheaper than anything.
const LEAK: &str = "
    CREATE FUNCTION evil.leak(anyelement) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 PARALLEL SAFE IMMUTABLE
        AS $$ BEGIN RAISE NOTICE 'leak %', $1; RETURN true; END $$;
    CREATE FUNCTION evil.leak2(text, text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 PARALLEL SAFE IMMUTABLE
        AS $$ BEGIN RAISE NOTICE 'leak % %', $1, $2; RETURN $1 < $2; END $$;
    CREATE FUNCTION evil.leak3(uuid, uuid) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 PARALLEL SAFE IMMUTABLE
        AS $$ BEGIN RAISE NOTICE 'leak % %', $1, $2; RETURN $1 = $2; END $$;
    CREATE OPERATOR evil.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.leak2, RESTRICT = eqsel, JOIN = eqjoinsel);
    CREATE OPERATOR evil.<<< (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.leak2, RESTRICT = scalarltsel, JOIN = scalarltjoinsel);
    CREATE OPERATOR evil.==== (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = evil.leak3, RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES);
    CREATE FUNCTION evil.step(text, text) RETURNS text LANGUAGE plpgsql PARALLEL SAFE
        AS $$ BEGIN RAISE NOTICE 'leak %', $2; RETURN $2; END $$;
    CREATE AGGREGATE evil.collect(text) (SFUNC = evil.step, STYPE = text, INITCOND = '', COMBINEFUNC = evil.step, PARALLEL = SAFE);
    CREATE FUNCTION public.of_row(public.case_record) RETURNS text LANGUAGE plpgsql COST 0.0000001
        AS $$ BEGIN RAISE NOTICE 'leak %', $1; RETURN $1.title; END $$;
    GRANT USAGE ON SCHEMA evil TO PUBLIC";

fn with_leaks() -> World {
    let world = World::new();
    execute(&mut world.db.connect_as(&world.mallory), LEAK);
    world
}

#[test]
fn leaky_functions_and_operators() {
    with_leaks().resist(&[
        ("a cheap function in WHERE", "SELECT title FROM case_record WHERE evil.leak(title) ORDER BY title", MINE),
        ("a cheap function of the row", "SELECT title FROM case_record c WHERE of_row(c) IS NOT NULL ORDER BY title", MINE),
("a function in attribute notation", "SELECT c.of_row FROM case_record c WHERE (c).of_row IS NOT NULL ORDER BY 1", MINE),
        ("a function in OR", "SELECT title FROM case_record WHERE evil.leak(title) OR title IS NULL ORDER BY title", MINE),
        ("a function in NOT", "SELECT title FROM case_record WHERE NOT evil.leak(title)", Rows(&[])),
        ("a function in CASE", "SELECT title FROM case_record WHERE CASE WHEN evil.leak(title) THEN true END ORDER BY title", MINE),
        ("a function in ORDER BY", "SELECT title FROM case_record ORDER BY evil.leak(title), title", MINE),
        ("a function in GROUP BY", "SELECT count(*) FROM case_record GROUP BY evil.leak(title)", Rows(&["2"])),
        ("a function in HAVING", "SELECT title FROM case_record GROUP BY title HAVING evil.leak(title) ORDER BY title", MINE),
        ("a function in DISTINCT ON", "SELECT DISTINCT ON (evil.leak(title)) 1 FROM case_record", Rows(&["1"])),
        ("a function in a window", "SELECT count(*) OVER (PARTITION BY evil.leak(title)) FROM case_record", Rows(&["2", "2"])),
        ("a function in FILTER", "SELECT count(*) FILTER (WHERE evil.leak(title)) FROM case_record", Rows(&["2"])),
        ("a function in a join", "SELECT a.title FROM case_record a JOIN (VALUES (1)) v ON evil.leak(a.title) ORDER BY 1", MINE),
        ("a function in an outer join", "SELECT a.title FROM (VALUES (1)) v LEFT JOIN case_record a ON evil.leak(a.title) ORDER BY 1", MINE),
        ("a function in a sub-select", "SELECT title FROM case_record c WHERE (SELECT evil.leak(c.title)) ORDER BY 1", MINE),
        ("a function on a child", "SELECT title FROM case_document WHERE evil.leak(title)", Rows(&["my document"])),
        ("a function on a partitioned table", "SELECT title FROM event WHERE evil.leak(title)", Rows(&["first"])),
        ("a function on a generated column", "SELECT title FROM ticket WHERE evil.leak(code)", Rows(&["first"])),
        ("a function in an UPDATE", "UPDATE case_record SET title = title WHERE evil.leak(title)", Count(2)),
        ("a function in a DELETE", "DELETE FROM case_record WHERE evil.leak(title) AND title = 'none'", Count(0)),
        ("a function in RETURNING", "UPDATE case_record SET title = title RETURNING evil.leak(title)", Rows(&["t", "t"])),
        ("a function in SET", "UPDATE case_record SET title = CASE WHEN evil.leak(title) THEN title END", Count(2)),
        ("a function in MERGE's condition", "MERGE INTO case_record c USING (VALUES (1)) v ON evil.leak(c.title)
            WHEN MATCHED AND evil.leak(c.title) THEN UPDATE SET title = c.title", Count(2)),
        ("a function in ON CONFLICT", "INSERT INTO ticket (tenant_id, ticket_id, team_id, title) VALUES (':acme', 1, ':red', 'first')
            ON CONFLICT (tenant_id, ticket_id) DO UPDATE SET title = EXCLUDED.title WHERE evil.leak(ticket.title)", Count(1)),
        ("a function over a barrier view", "SELECT title FROM barrier_view WHERE evil.leak(title) ORDER BY title", MINE),
        ("a function over the caller's view", "SELECT title FROM caller_view WHERE evil.leak(title) ORDER BY title", MINE),
        ("a function in parallel workers", "SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0;
            SELECT count(*) FROM case_record WHERE evil.leak(title)", Rows(&["2"])),
        ("an operator with an estimator", "SELECT title FROM case_record WHERE title OPERATOR(evil.===) 'x' ORDER BY title", MINE),
        ("an estimator that reads the histogram", "EXPLAIN SELECT title FROM case_record WHERE title OPERATOR(evil.<<<) 'x'", Silence),
        ("an estimator on a partitioned table", "EXPLAIN SELECT title FROM event WHERE title OPERATOR(evil.===) 'x'", Silence),
        ("an estimator of a join", "EXPLAIN SELECT a.title FROM case_record a JOIN case_record b ON a.title OPERATOR(evil.===) b.title", Silence),
        ("an operator that says it hashes", "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SELECT count(*) FROM case_record a JOIN case_record b ON a.case_id OPERATOR(evil.====) b.case_id", Rows(&["2"])),
        ("an aggregate of one's own", "SELECT evil.collect(title) IN ('mine', 'mine too') FROM case_record", Rows(&["t"])),
        ("an aggregate of one's own as window", "SELECT evil.collect(title) OVER (ORDER BY title) FROM case_record ORDER BY 1", MINE),
        ("a domain that tells what it checks", "CREATE DOMAIN evil.told AS text CHECK (evil.leak(VALUE)); SELECT title::evil.told FROM case_record ORDER BY 1", MINE),
        ("a function declared leakproof", "CREATE FUNCTION evil.proof(text) RETURNS boolean LANGUAGE sql LEAKPROOF AS 'SELECT true'", Refused("42501")),
        ("making a function leakproof", "ALTER FUNCTION evil.leak2(text, text) LEAKPROOF", Refused("42501")),
        ("an index on a function", "CREATE INDEX ON case_record (evil.leak(title))", Refused("42501")),
        ("statistics on a function", "CREATE STATISTICS evil.s ON (evil.leak(title)), case_id FROM case_record", Refused("42501")),
        ("TABLESAMPLE with a function", "SELECT title FROM case_record TABLESAMPLE SYSTEM (100) WHERE evil.leak(title) ORDER BY 1", MINE),
        ("a method of sampling", "SELECT title FROM case_record TABLESAMPLE BERNOULLI (100) REPEATABLE (1) ORDER BY 1", MINE),
        ("JIT", "SET LOCAL jit_above_cost = 0; SELECT title FROM case_record WHERE evil.leak(title) ORDER BY 1", MINE),
    ]);
}

#[test]
fn error_texts() {
    with_leaks().resist(&[
        ("division by zero", "SELECT 1 FROM case_record WHERE 1 / CASE WHEN title LIKE 'S%' THEN 0 ELSE 1 END > 0", Rows(&["1", "1"])),
        ("a cast", "SELECT title::integer FROM case_record", Refused("22P02")),
        ("a cast in WHERE", "SELECT 1 FROM case_record WHERE title LIKE 'S%' AND title::integer = 1", Rows(&[])),
        ("a regular expression", "SELECT 1 FROM case_record WHERE title LIKE 'S%' AND 'a' ~ ('(' || title)", Rows(&[])),
        ("a JSON parser", "SELECT 1 FROM case_record WHERE title LIKE 'S%' AND title::jsonb IS NOT NULL", Rows(&[])),
        ("overflow of an aggregate", "SELECT sum(1e300::float8 * 10 ^ CASE WHEN title LIKE 'S%' THEN 300 ELSE -300 END) > 0 FROM case_record", Rows(&["t"])),
        ("a scalar sub-select of several rows", "SELECT (SELECT title FROM case_record WHERE title LIKE 'S%')", Rows(&["NULL"])),
        ("the key of another tenant", "INSERT INTO ticket (tenant_id, ticket_id, team_id, title) VALUES (':globex', 1, ':green', 'x')", Refused("42501")),
        ("an unused key of another tenant", "INSERT INTO ticket (tenant_id, ticket_id, team_id, title) VALUES (':globex', 99, ':green', 'x')", Refused("42501")),
        ("the key of another tenant, or nothing", "INSERT INTO ticket (tenant_id, ticket_id, team_id, title) VALUES (':globex', 1, ':green', 'x') ON CONFLICT DO NOTHING", Refused("42501")),
        ("the key of another tenant in one's own", "INSERT INTO ticket (tenant_id, ticket_id, team_id, title) VALUES (':acme', 3, ':red', 'mine');
            DELETE FROM ticket WHERE ticket_id = 3", Count(2)),
        ("a duplicate of a hidden key, for its text", "INSERT INTO case_record (tenant_id, case_id, owning_team_id, title) VALUES (':acme', ':blue case', ':red', 'x')", Refused("23505")),
        ("updating a hidden row by ON CONFLICT", "INSERT INTO ticket (tenant_id, ticket_id, team_id, title) VALUES (':acme', 2, ':red', 'x')
            ON CONFLICT (tenant_id, ticket_id) DO UPDATE SET title = 'x', team_id = ':red' RETURNING ticket.title", Refused("42501")),
        ("reading a hidden row by ON CONFLICT", "INSERT INTO ticket (tenant_id, ticket_id, team_id, title) VALUES (':acme', 2, ':red', 'x')
            ON CONFLICT (tenant_id, ticket_id) DO UPDATE SET title = ticket.title RETURNING *", Refused("42501")),
        ("a hidden parent", "INSERT INTO case_document (tenant_id, document_id, case_id, title) VALUES (':acme', ':new', ':blue case', 'x')", Refused("42501")),
        ("an absent parent", "INSERT INTO case_document (tenant_id, document_id, case_id, title) VALUES (':acme', ':new', ':absent', 'x')", Refused("42501")),
        ("a sealed parent", "INSERT INTO case_document (tenant_id, document_id, case_id, title) VALUES (':acme', ':new', ':sealed', 'x')", Refused("42501")),
        ("a parent of another tenant", "INSERT INTO case_document (tenant_id, document_id, case_id, title) VALUES (':acme', ':new', ':foreign', 'x')", Refused("42501")),
        ("a key that is NULL", "UPDATE case_record SET case_id = NULL", Refused("42501")),
        ("the server's list of usual values", "SELECT most_common_vals, histogram_bounds FROM pg_stats WHERE tablename IN ('case_record', 'event_acme', 'event')", Rows(&[])),
        ("the server's statistics themselves", "SELECT * FROM pg_statistic", Refused("42501")),
        ("extended statistics", "SELECT * FROM pg_stats_ext WHERE tablename = 'case_record'", Rows(&[])),
        ("EXPLAIN", "EXPLAIN (VERBOSE, SETTINGS) SELECT * FROM case_record WHERE title LIKE 'S%'", Silence),
        ("EXPLAIN ANALYZE", "EXPLAIN (ANALYZE, VERBOSE, BUFFERS) SELECT * FROM case_record WHERE evil.leak(title)", Silence),
        ("EXPLAIN ANALYZE of an UPDATE", "EXPLAIN (ANALYZE) UPDATE case_record SET title = title WHERE evil.leak(title)", Silence),
        ("what others do", "SELECT query FROM pg_stat_activity WHERE query LIKE '%SEC' || 'RET%' AND pid <> pg_backend_pid()", Rows(&[])),
        ("a sequence that others moved", "SELECT currval('ticket_ids')", Refused("55000")),
        ("the server's log", "SELECT pg_read_file('postgresql.log')", Refused("42501")),
        ("the table's file", "SELECT pg_read_binary_file(pg_relation_filepath('case_record'))", Refused("42501")),
        ("COPY to a program", "COPY case_record TO PROGRAM 'cat'", Refused("42501")),
        ("COPY to a file", "COPY case_record TO '/tmp/case_record'", Refused("42501")),
        ("a publication", "CREATE PUBLICATION p FOR TABLE case_record", Refused("42501")),
        ("a replication slot", "SELECT pg_create_logical_replication_slot('s', 'pgoutput')", Refused("42501")),
    ]);
}

#[test]
fn writes() {
    World::new().resist(&[
        ("moving a row to another tenant", "UPDATE case_record SET tenant_id = ':globex' WHERE title = 'mine'", Refused("42501")),
        ("moving a row to no tenant", "UPDATE case_record SET tenant_id = NULL WHERE title = 'mine'", Refused("42501")),
        ("moving a row to another team", "UPDATE case_record SET owning_team_id = ':blue' WHERE title = 'mine'", Refused("42501")),
        ("moving a row to no team", "UPDATE case_record SET owning_team_id = NULL WHERE title = 'mine'", Refused("42501")),
        ("moving a partition's row to another tenant", "UPDATE event SET tenant_id = ':globex'", Count(0)),
        ("moving all rows to oneself", "UPDATE case_record SET owning_team_id = ':red', owner_id = ':mallory'", Count(2)),
        ("taking a hidden row's key", "UPDATE case_record SET case_id = ':blue case' WHERE title = 'mine'", Refused("23505")),
        ("taking a denied row's key in another tenant", "UPDATE case_record SET tenant_id = ':globex', case_id = ':foreign' WHERE title = 'mine'", Refused("42501")),
        ("sealing a row", "UPDATE case_record SET confidentiality_level = 'sealed' WHERE title = 'mine'", Refused("42501")),
        ("a level that does not exist", "UPDATE case_record SET confidentiality_level = 'secret' WHERE title = 'mine'", Refused("42501")),
        ("no level", "UPDATE case_record SET confidentiality_level = NULL WHERE title = 'mine'", Refused("42501")),
        ("deleting softly what one may not see then", "UPDATE case_record SET deleted_at = now() WHERE title = 'mine'", Refused("42501")),
        ("undeleting", "UPDATE case_record SET deleted_at = NULL WHERE case_id = ':deleted'", Count(0)),
        ("unsealing", "UPDATE case_record SET confidentiality_level = 'normal' WHERE case_id = ':sealed'", Count(0)),
        ("unsealing without naming a column of it", "UPDATE case_record SET confidentiality_level = 'normal', owner_id = ':mallory'", Count(2)),
        ("updating a hidden row by its key", "UPDATE case_record SET title = 'x' WHERE case_id = ':foreign'", Count(0)),
        ("updating a denied row", "UPDATE case_record SET title = 'x' WHERE case_id = ':denied'", Count(0)),
        ("updating a row of the platform", "UPDATE case_record SET title = 'x' WHERE tenant_id IS NULL", Count(0)),
        ("updating by position", "UPDATE case_record SET title = title WHERE ctid = ANY (ARRAY(SELECT format('(0,%s)', n)::tid FROM generate_series(1, 60) n)) RETURNING title", Within(&["mine", "mine too"])),
        ("updating from a list of ids", "UPDATE case_record c SET title = 'x' FROM (VALUES (':foreign'::uuid), (':sealed'), (':denied')) v (k) WHERE c.case_id = v.k RETURNING *", Count(0)),
        ("updating what a join finds in a child", "UPDATE case_record c SET title = 'x' FROM case_document d WHERE d.case_id = c.case_id AND d.document_id <> ':my document'", Count(0)),
        ("UPDATE with RETURNING of the old key", "UPDATE case_record SET title = 'x' WHERE case_id = ':blue case' RETURNING *", Rows(&[])),
        ("a hidden parent for a child that one has", "UPDATE case_document SET case_id = ':blue case' WHERE document_id = ':my document'", Refused("42501")),
        ("an absent parent for a child that one has", "UPDATE case_document SET case_id = ':absent' WHERE document_id = ':my document'", Refused("42501")),
        ("no parent for a child that one has", "UPDATE case_document SET case_id = NULL WHERE document_id = ':my document'", Refused("42501")),
        ("a child in the tenant of a hidden parent", "UPDATE case_document SET tenant_id = ':globex', case_id = ':foreign' WHERE document_id = ':my document'", Refused("42501")),
        ("deleting everything", "DELETE FROM case_record WHERE title NOT IN ('mine', 'mine too')", Count(0)),
        ("deleting a hidden row by its key", "DELETE FROM case_record WHERE case_id = ':foreign'", Count(0)),
        ("DELETE USING a list of ids", "DELETE FROM case_record c USING (VALUES (':foreign'::uuid), (':sealed')) v (k) WHERE c.case_id = v.k RETURNING *", Count(0)),
        ("deleting a hidden ticket without reading it", "DELETE FROM ticket WHERE ticket_id > 1", Count(0)),
        ("TRUNCATE", "TRUNCATE case_record CASCADE", Refused("42501")),
        ("TRUNCATE of a partition", "TRUNCATE event_globex", Refused("42501")),
        ("INSERT into another tenant", "INSERT INTO case_record (tenant_id, case_id, owning_team_id) VALUES (':globex', ':n1', ':green')", Refused("42501")),
        ("INSERT into another tenant below one's own team", "INSERT INTO case_record (tenant_id, case_id, owning_team_id) VALUES (':globex', ':n1', ':red')", Refused("42501")),
        ("INSERT into another team", "INSERT INTO case_record (tenant_id, case_id, owning_team_id) VALUES (':acme', ':n1', ':blue')", Refused("42501")),
        ("INSERT into no team", "INSERT INTO case_record (tenant_id, case_id) VALUES (':acme', ':n1')", Refused("42501")),
        ("INSERT into no tenant", "INSERT INTO case_record (case_id, owning_team_id) VALUES (':n1', ':red')", Refused("42501")),
        ("INSERT of a sealed row", "INSERT INTO case_record (tenant_id, case_id, owning_team_id, confidentiality_level) VALUES (':acme', ':n1', ':red', 'sealed')", Refused("42501")),
        ("INSERT of a deleted row", "INSERT INTO case_record (tenant_id, case_id, owning_team_id, deleted_at) VALUES (':acme', ':n1', ':red', now())", Refused("42501")),
        ("INSERT of a row with a key that is denied", "INSERT INTO case_record (tenant_id, case_id, owning_team_id) VALUES (':globex', ':denied', ':red')", Refused("42501")),
        ("INSERT of several rows of which one is not allowed", "INSERT INTO case_record (tenant_id, case_id, owning_team_id) VALUES (':acme', ':n1', ':red'), (':globex', ':n2', ':green')", Refused("42501")),
        ("INSERT of a partition's row by way of another partition", "INSERT INTO event_acme (tenant_id, event_id, team_id) VALUES (':globex', 9, ':green')", Within(&[])),
        ("INSERT into a partition", "INSERT INTO event_globex (tenant_id, event_id, team_id) VALUES (':globex', 9, ':green')", Refused("42501")),
        ("UPDATE of a partition", "UPDATE event_globex SET title = title", Count(0)),
        ("DELETE from a partition", "DELETE FROM event_globex", Count(0)),
        ("INSERT of what one cannot select", "INSERT INTO case_record SELECT tenant_id, ':n1', ':red' FROM case_record WHERE case_id = ':foreign'", Count(0)),
        ("INSERT through a view", "INSERT INTO caller_view (tenant_id, case_id, owning_team_id) VALUES (':globex', ':n1', ':green')", Refused("42501")),
        ("UPDATE through a view", "UPDATE caller_view SET title = 'x' WHERE case_id = ':foreign'", Count(0)),
        ("DELETE through a view of one's own", "CREATE VIEW evil.mine AS SELECT * FROM public.case_record; DELETE FROM evil.mine WHERE case_id = ':foreign'", Count(0)),
        ("MERGE that updates", "MERGE INTO case_record c USING (VALUES (':foreign'::uuid), (':sealed')) v (k) ON c.case_id = v.k WHEN MATCHED THEN UPDATE SET title = 'x'", Count(0)),
        ("MERGE that deletes", "MERGE INTO case_record c USING (VALUES (':foreign'::uuid), (':sealed')) v (k) ON c.case_id = v.k WHEN MATCHED THEN DELETE", Count(0)),
        ("MERGE that inserts", "MERGE INTO case_record c USING (VALUES (':n1'::uuid)) v (k) ON c.case_id = v.k
            WHEN NOT MATCHED THEN INSERT (tenant_id, case_id, owning_team_id) VALUES (':globex', v.k, ':green')", Refused("42501")),
        ("MERGE that moves a row away", "MERGE INTO case_record c USING (VALUES (':mine'::uuid)) v (k) ON c.case_id = v.k
            WHEN MATCHED THEN UPDATE SET tenant_id = ':globex'", Refused("42501")),
        ("ON CONFLICT that moves a row away", "INSERT INTO ticket (tenant_id, ticket_id, team_id) VALUES (':acme', 1, ':red')
            ON CONFLICT (tenant_id, ticket_id) DO UPDATE SET tenant_id = ':globex', ticket_id = 77", Refused("42501")),
        ("COPY FROM", "COPY case_record FROM '/dev/null'", Refused("42501")),
        ("locking hidden rows", "SELECT title FROM case_record WHERE case_id IN (':foreign', ':sealed') FOR UPDATE", Rows(&[])),
        ("locking hidden rows, skipping", "SELECT title FROM case_record FOR UPDATE SKIP LOCKED", MINE),
        ("locking key shares", "SELECT title FROM case_record ORDER BY title FOR KEY SHARE NOWAIT", MINE),
        ("updating at a cursor", "DECLARE c CURSOR FOR SELECT title FROM case_record WHERE title = 'mine' FOR UPDATE; MOVE c;
            UPDATE case_record SET tenant_id = ':globex' WHERE CURRENT OF c", Refused("42501")),
        ("switching row security off", "ALTER TABLE case_record DISABLE ROW LEVEL SECURITY", Refused("42501")),
        ("not forcing row security", "ALTER TABLE case_record NO FORCE ROW LEVEL SECURITY", Refused("42501")),
        ("a policy of one's own", "CREATE POLICY p ON case_record USING (true)", Refused("42501")),
        ("dropping a policy", "DROP POLICY authz_select ON case_record", Refused("42501")),
        ("changing a policy", "ALTER POLICY authz_select ON case_record USING (true)", Refused("42501")),
        ("changing who made a policy", "COMMENT ON POLICY authz_select ON case_record IS 'mine'", Refused("42501")),
        ("owning the table", "ALTER TABLE case_record OWNER TO CURRENT_USER", Refused("42501")),
        ("a trigger on the table", "CREATE TRIGGER t BEFORE UPDATE ON case_record FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()", Refused("42501")),
        ("a rule on the table", "CREATE RULE r AS ON UPDATE TO case_record DO ALSO SELECT 1", Refused("42501")),
        ("a child of the table", "CREATE TABLE evil.child () INHERITS (public.case_record)", Refused("42501")),
        ("a partition of the table", "CREATE TABLE evil.part PARTITION OF public.event DEFAULT", Refused("42501")),
        ("a foreign key to the table", "CREATE TABLE evil.probe (t uuid, k uuid, FOREIGN KEY (t, k) REFERENCES public.case_record (tenant_id, case_id))", Refused("42501")),
        ("authz_unprotect", "SELECT authz_unprotect('case_record')", Refused("42501")),
        ("authz_protect", "SELECT authz_protect('case_record', 'case', 'case_id', 'tenant_id')", Refused("42501")),
        ("changing the registration", "UPDATE authz.resource_type SET tenant_column = NULL", Refused("42501")),
    ]);
}

#[test]
fn other_ways_to_the_rows() {
    with_leaks().resist(&[
        ("the table", "SELECT title FROM case_record ORDER BY title", MINE),
        ("the child", "SELECT title FROM case_document", Rows(&["my document"])),
        ("whole rows", "SELECT (c).title FROM case_record c ORDER BY 1", MINE),
        ("rows as text", "SELECT c::text LIKE '%mine%' FROM case_record c", Rows(&["t", "t"])),
        ("rows as JSON", "SELECT to_jsonb(c) ->> 'title' FROM case_record c ORDER BY 1", MINE),
        ("rows compared", "SELECT count(*) FROM case_record a, case_record b WHERE a IS DISTINCT FROM b", Rows(&["2"])),
        ("system columns", "SELECT count(DISTINCT ctid), count(xmin), count(DISTINCT tableoid) FROM case_record", Rows(&["2|2|1"])),
        ("rows by position", "SELECT title FROM case_record WHERE ctid IN (SELECT format('(0,%s)', n)::tid FROM generate_series(1, 60) n) ORDER BY title", MINE),
        ("rows by a range of positions", "SELECT title FROM case_record WHERE ctid >= '(0,0)' AND ctid < '(9,0)' ORDER BY title", MINE),
        ("rows by a known key", "SELECT title FROM case_record WHERE case_id IN (':foreign', ':blue case', ':sealed', ':denied', ':deleted', ':nowhere')", Rows(&[])),
        ("rows of a known tenant", "SELECT title FROM case_record WHERE tenant_id = ':globex'", Rows(&[])),
        ("rows of no tenant", "SELECT title FROM case_record WHERE tenant_id IS NULL", Rows(&[])),
        ("ONLY", "SELECT title FROM ONLY case_record ORDER BY title", MINE),
        ("TABLE", "TABLE case_document", Count(1)),
        ("a partition of one's own tenant", "SELECT title FROM event_acme", Within(&["first"])),
        ("a partition of another tenant", "SELECT title FROM event_globex", Within(&[])),
        ("a join of partitions", "SELECT a.title FROM event e JOIN event_globex a USING (event_id)", Within(&[])),
        ("partitions by their parent", "SELECT title FROM event", Rows(&["first"])),
        ("partitions by a pruned parent", "SELECT title FROM event WHERE tenant_id = ':globex'", Rows(&[])),
        ("aggregates", "SELECT count(*), max(title), min(tenant_id::text) = ':acme' FROM case_record", Rows(&["2|mine too|t"])),
        ("an ordered-set aggregate", "SELECT percentile_disc(ARRAY[0, 0.5, 1]) WITHIN GROUP (ORDER BY title) FROM case_record", Rows(&["{mine,mine,\"mine too\"}"])),
        ("grouping sets", "SELECT count(*) FROM case_record GROUP BY GROUPING SETS ((), (tenant_id))", Rows(&["2", "2"])),
        ("a window", "SELECT count(*) OVER () FROM case_record", Rows(&["2", "2"])),
        ("LATERAL over known keys", "SELECT l.title FROM (VALUES (':foreign'::uuid), (':mine')) v (k), LATERAL (SELECT * FROM case_record WHERE case_id = k OFFSET 0) l", Rows(&["mine"])),
        ("EXISTS over known keys", "SELECT EXISTS (SELECT FROM case_record WHERE case_id = ':foreign'), EXISTS (SELECT FROM case_record WHERE case_id = ':absent')", Rows(&["f|f"])),
        ("NOT IN over known keys", "SELECT ':foreign'::uuid NOT IN (SELECT case_id FROM case_record)", Rows(&["t"])),
        ("a full join with known keys", "SELECT c.title FROM (VALUES (':foreign'::uuid), (':mine')) v (k) FULL JOIN case_record c ON c.case_id = v.k WHERE c.title IS NOT NULL ORDER BY 1", MINE),
        ("an anti-join", "SELECT count(*) FROM case_document d LEFT JOIN case_record c USING (tenant_id, case_id) WHERE c.case_id IS NULL", Rows(&["0"])),
        ("UNION ALL", "SELECT title FROM (SELECT title FROM case_record UNION ALL SELECT title FROM case_document) u WHERE title IS NOT NULL ORDER BY 1", Rows(&["mine", "mine too", "my document"])),
        ("INTERSECT", "SELECT title FROM case_record INTERSECT SELECT title FROM caller_view ORDER BY 1", MINE),
        ("a recursive query", "WITH RECURSIVE r AS (SELECT title, 1 AS n FROM case_record UNION ALL SELECT c.title, n + 1 FROM r, case_record c WHERE n < 2) SELECT DISTINCT title FROM r ORDER BY 1", MINE),
        ("a writing CTE", "WITH u AS (UPDATE case_record SET title = title RETURNING title) SELECT title FROM u ORDER BY 1", MINE),
        ("an array of a sub-select", "SELECT array_length(ARRAY(SELECT title FROM case_record), 1)", Rows(&["2"])),
        ("a cursor", "DECLARE c SCROLL CURSOR FOR SELECT title FROM case_record ORDER BY title; FETCH ALL c; FETCH BACKWARD 1 c; FETCH ABSOLUTE 3 c", Rows(&["mine", "mine too", "mine too"])),
        ("a cursor that is held", "DECLARE c CURSOR WITH HOLD FOR SELECT title FROM case_record ORDER BY title; FETCH ALL c", MINE),
        ("a prepared statement", "PREPARE p AS SELECT title FROM case_record ORDER BY title; EXECUTE p; DEALLOCATE p", MINE),
        ("a prepared statement with parameters", "SET LOCAL plan_cache_mode = force_generic_plan; PREPARE p (uuid) AS SELECT title FROM case_record WHERE case_id = $1; EXECUTE p (':foreign'); EXECUTE p (':mine'); DEALLOCATE p", Rows(&["mine"])),
        ("the caller's view", "SELECT title FROM caller_view ORDER BY title", MINE),
        ("a barrier view", "SELECT title FROM barrier_view ORDER BY title", MINE),
        ("a view of one's own", "CREATE VIEW evil.v AS SELECT title FROM public.case_record ORDER BY title; SELECT * FROM evil.v", MINE),
        ("a materialized view of one's own", "CREATE MATERIALIZED VIEW evil.m AS SELECT title FROM public.case_record ORDER BY title; SELECT * FROM evil.m; REFRESH MATERIALIZED VIEW evil.m", MINE),
        ("CREATE TABLE AS", "CREATE TABLE evil.copy AS SELECT title FROM public.case_record ORDER BY title; SELECT * FROM evil.copy", Rows(&["mine", "mine too"])),
        ("SELECT INTO", "SELECT title INTO evil.copy2 FROM public.case_record ORDER BY title; SELECT * FROM evil.copy2", MINE),
        ("CREATE TABLE LIKE", "CREATE TABLE evil.alike (LIKE public.case_record INCLUDING ALL); SELECT * FROM evil.alike", Rows(&[])),
        ("a function in SQL", "CREATE FUNCTION evil.f() RETURNS SETOF text LANGUAGE sql AS 'SELECT title FROM public.case_record ORDER BY title'; SELECT evil.f()", MINE),
        ("a SECURITY DEFINER function", "CREATE FUNCTION evil.d() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER AS 'SELECT title FROM public.case_record ORDER BY title'; SELECT evil.d()", MINE),
        ("a function in PL/pgSQL", "CREATE FUNCTION evil.p() RETURNS SETOF text LANGUAGE plpgsql AS 'BEGIN RETURN QUERY EXECUTE ''SELECT title FROM public.case_record ORDER BY title''; END'; SELECT evil.p()", MINE),
        ("a function with a body of SQL", "CREATE FUNCTION evil.b() RETURNS SETOF text BEGIN ATOMIC SELECT title FROM public.case_record ORDER BY title; END; SELECT evil.b()", MINE),
        ("a procedure", "CREATE PROCEDURE evil.q() LANGUAGE plpgsql AS $$ DECLARE t text; BEGIN FOR t IN SELECT title FROM public.case_record LOOP RAISE NOTICE '%', t; END LOOP; END $$; CALL evil.q()", Silence),
        ("a DO block", "DO $$ DECLARE t record; BEGIN FOR t IN SELECT * FROM public.case_record LOOP RAISE NOTICE '%', t; END LOOP; END $$", Silence),
        ("a DO block that catches errors", "DO $$ BEGIN UPDATE public.case_record SET tenant_id = ':globex'; EXCEPTION WHEN insufficient_privilege THEN RAISE NOTICE '% %', SQLERRM, SQLSTATE; END $$", Silence),
        ("a trigger on a table of one's own", "CREATE TABLE evil.t (x text); CREATE FUNCTION evil.tr() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
            NEW.x := (SELECT string_agg(title, ',' ORDER BY title) FROM public.case_record); RETURN NEW; END $$;
            CREATE TRIGGER t BEFORE INSERT ON evil.t FOR EACH ROW EXECUTE FUNCTION evil.tr(); INSERT INTO evil.t VALUES ('') RETURNING x", Rows(&["mine,mine too"])),
        ("a rule on a table of one's own", "CREATE TABLE evil.r (x text); CREATE TABLE evil.sink (x text); CREATE RULE r AS ON INSERT TO evil.r DO ALSO INSERT INTO evil.sink SELECT title FROM public.case_record;
            INSERT INTO evil.r VALUES (''); SELECT x FROM evil.sink ORDER BY 1", MINE),
        ("a policy of a table of one's own", "CREATE TABLE evil.p (x text); INSERT INTO evil.p VALUES ('SEC' || 'R'), ('mine'); ALTER TABLE evil.p ENABLE ROW LEVEL SECURITY; ALTER TABLE evil.p FORCE ROW LEVEL SECURITY;
            CREATE POLICY p ON evil.p USING (x IN (SELECT title FROM public.case_record)); SELECT x FROM evil.p", Rows(&["mine"])),
        ("a check of a column of one's own", "CREATE FUNCTION evil.there(k uuid) RETURNS boolean LANGUAGE sql AS 'SELECT EXISTS (SELECT FROM public.case_record WHERE case_id = k)';
            CREATE TABLE evil.guess (k uuid CHECK (evil.there(k))); INSERT INTO evil.guess VALUES (':foreign')", Refused("23514")),
        ("a generated column of one's own", "CREATE FUNCTION evil.n() RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT count(*) FROM public.case_record';
            CREATE TABLE evil.g (x int, n bigint GENERATED ALWAYS AS (evil.n()) STORED); INSERT INTO evil.g VALUES (1) RETURNING n", Rows(&["2"])),
        ("parallel workers", "SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0; SET LOCAL parallel_leader_participation = off;
            SELECT title FROM case_record ORDER BY title", MINE),
        ("parallel workers through a function", "SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0;
            CREATE FUNCTION evil.w() RETURNS bigint LANGUAGE plpgsql PARALLEL SAFE AS 'BEGIN RETURN (SELECT count(*) FROM public.case_record); END'; SELECT DISTINCT evil.w() FROM case_document", Rows(&["2"])),
        ("the table as XML", "SELECT table_to_xml('public.case_record', true, true, '')::text LIKE '%mine too%'", Rows(&["t"])),
        ("a query as XML", "SELECT query_to_xml('SELECT title FROM public.case_record', true, true, '')::text LIKE '%mine too%'", Rows(&["t"])),
        ("the schema as XML", "SELECT length(schema_to_xml('public', true, true, '')::text) > 0", Rows(&["t"])),
        ("full-text statistics", "SELECT word FROM ts_stat('SELECT to_tsvector(title) FROM public.case_record') WHERE word LIKE 's%'", Rows(&[])),
        ("crosstabs of the planner: constant folding", "SELECT title FROM case_record WHERE true OR evil.leak(title) ORDER BY title", MINE),
        ("a join that is removed", "SELECT count(*) FROM (VALUES (1), (2), (3)) v (n) LEFT JOIN (SELECT DISTINCT ON (case_id) * FROM case_record) c ON false", Rows(&["3"])),
        ("a self-join by position", "SELECT b.title FROM case_record a JOIN case_record b ON b.ctid = a.ctid ORDER BY 1", MINE),
        ("a limit in the sub-select", "SELECT title FROM (SELECT * FROM case_record LIMIT 100) c ORDER BY title", MINE),
        ("a savepoint after an error", "DO $$ BEGIN PERFORM set_config('authz.session', 'x', false); EXCEPTION WHEN OTHERS THEN NULL; END $$; SELECT title FROM case_record ORDER BY title", Rows(&["mine", "mine too"])),
    ]);
}

#[test]
fn calling_the_machinery() {
    let mut world = with_leaks();
    let attempts: [Attempt; 28] = [
        ("authz.via", "SELECT authz.via('case.view', 'tenant', ':globex'::uuid)", Refused("42501")),
        ("authz.sees_all", "SELECT authz.sees_all('case.view', false)", Refused("42501")),
        ("authz.reach_uuid", "SELECT authz.reach_uuid('case.view', 'tenant')", Refused("42501")),
        ("authz.row_exact", "SELECT authz.row_exact('case.view', ':foreign'::uuid, ':globex', NULL, NULL, NULL, NULL, NULL, false, NULL, true, false)", Refused("42501")),
        ("authz.plan_support", "SELECT authz.plan_support(NULL)", Refused("42501")),
        ("authz.plan_support as a support function of one's own", "CREATE FUNCTION evil.s(text, uuid) RETURNS boolean LANGUAGE sql SUPPORT authz.plan_support AS 'SELECT true'", Refused("42501")),
        ("an operator of authz.via", "CREATE OPERATOR evil.~> (LEFTARG = text, RIGHTARG = uuid, FUNCTION = authz.via)", Refused("42501")),
        ("a trigger function", "CREATE TABLE evil.x (a int); CREATE TRIGGER t AFTER INSERT ON evil.x FOR EACH ROW EXECUTE FUNCTION authz.authority_changed('model')", Refused("42501")),
        ("authz.missing_indexes", "SELECT authz.missing_indexes('case_record', 1, 'case_id')", Refused("42501")),
        ("authz.protected_table", "SELECT * FROM authz.protected_table", Refused("42501")),
        ("authz_row with another row's places", "SELECT title FROM case_record WHERE authz_row('case.view', case_id, ':acme', team => ':red', confidentiality => 'normal') ORDER BY title", MINE),
        ("authz_row with no places", "SELECT authz_row('case.view', ':foreign'::uuid, ':globex')", Rows(&["f"])),
        ("authz_row with NULLs", "SELECT authz_row(NULL, NULL::uuid, NULL), authz_row('case.view', NULL::uuid, NULL), authz_row('case.view', ':mine'::uuid, NULL), authz_row(NULL, ':mine'::uuid, ':acme', team => ':red')", Rows(&["f|f|f|f"])),
        ("authz_row of a deletion that is unknown", "SELECT authz_row('case.view', ':mine'::uuid, ':acme', team => ':red', confidentiality => 'normal', deleted => NULL)", Rows(&["f"])),
        ("authz_row with a hidden and an absent parent", "SELECT authz_row('document.view', ':n'::uuid, ':acme', confidentiality => 'normal', parent => ':blue case'),
            authz_row('document.view', ':n'::uuid, ':acme', confidentiality => 'normal', parent => ':absent')", Rows(&["f|f"])),
        ("authz_row with parents that are no keys", "SELECT authz_row('document.view', ':n'::uuid, ':acme', confidentiality => 'normal', parent => p) FROM unnest(ARRAY['', 'x', '''; DROP TABLE case_record', repeat('a', 1000000)]) p", Rows(&["f", "f", "f", "f"])),
        ("authz_can for hidden and absent rows", "SELECT authz_can('case.view', ':foreign'::uuid), authz_can('case.view', ':absent'::uuid), authz_can('case.view', ':sealed'::uuid), authz_can('case.view', ':denied'::uuid)", Rows(&["f|f|f|f"])),
        ("authz_can for hidden and absent numbers", "SELECT n, authz_can('ticket.view', n::bigint) FROM generate_series(2, 4) n", Rows(&["2|f", "3|f", "4|f"])),
        ("authz_can_many for hidden and absent rows", "SELECT allowed FROM authz_can_many(authz_principal(), 'case.view', ARRAY[':foreign', ':absent', ':sealed']::uuid[])", Rows(&["f", "f", "f"])),
        ("authz_can with an enormous key", "SELECT authz_can('case.view', repeat('x', 50000000)), authz_can('ticket.view', repeat('9', 1000000)), authz_can('ticket.view', 9223372036854775807)", Rows(&["f|f|f"])),
        ("authz_row with an enormous key", "SELECT authz_row('ticket.view', repeat('x', 50000000), ':acme', team => ':blue')", Rows(&["f"])),
        ("authz_can with NULLs", "SELECT authz_can(NULL, NULL::uuid), authz_can('case.view', NULL::uuid), authz_can(NULL::uuid, 'case.view', ':mine'::uuid)", Rows(&["f|f|f"])),
        ("authz_can with a bomb of nested JSON", "SELECT authz_can(authz_principal(), 'case.view', ':sealed'::uuid, NULL, (repeat('{\"a\":', 1000) || '1' || repeat('}', 1000))::jsonb)", Refused("22023")),
        ("a permission that does not exist", "SELECT authz_can('case.everything', ':mine'::uuid)", Refused("42704")),
        ("authz_explain", "SELECT authz_explain(authz_principal(), 'case.view', ':foreign'::uuid)", Refused("42501")),
        ("authz_permissions on hidden rows", "SELECT permission FROM authz_permissions(authz_principal(), ':foreign'::uuid, 'case', ':globex') UNION ALL
            SELECT permission FROM authz_permissions(authz_principal(), ':blue case'::uuid, 'case', ':acme')", Rows(&[])),
        ("a policy function in a table of one's own", "CREATE TABLE evil.fake (case_id uuid, tenant_id uuid); INSERT INTO evil.fake VALUES (':foreign', ':globex'), (':mine', ':acme');
            SELECT authz_can('case.view', case_id) FROM evil.fake ORDER BY 1", Rows(&["f", "t"])),
        ("authz_row in a table of one's own", "CREATE TABLE evil.fake2 (case_id uuid, tenant_id uuid, team uuid); INSERT INTO evil.fake2 VALUES (':foreign', ':globex', ':red'), (':sealed', ':acme', ':blue');
            SELECT case_id FROM evil.fake2 WHERE authz_row('case.view', case_id, tenant_id, team => team, confidentiality => 'normal')", Rows(&[])),
    ];
    world.resist(&attempts);
}

#[test]
fn the_machinery_in_the_hands_of_one_who_may_use_the_schema() {
    let mut world = with_leaks();
    let mallory = world.mallory.clone();
    execute(&mut world.admin, &format!("GRANT USAGE ON SCHEMA authz TO {mallory}"));
    world.resist(&[
        ("plan_support without a planner", "SELECT authz.plan_support(NULL)", Refused("42883")),
        ("plan_support for a function of one's own", "CREATE FUNCTION evil.s(text, uuid) RETURNS boolean LANGUAGE sql SUPPORT authz.plan_support AS 'SELECT true'", Refused("42501")),
        ("via as a condition", then_look!("SELECT count(*) FROM public.case_record WHERE authz.via('case.view', 'tenant', tenant_id)"), Rows(&["0", "mine", "mine too"])),
        ("reaches of one's own", "SELECT authz.reach_uuid('case.view', 'team') = ARRAY[':red'::uuid], authz.reach_uuid('case.view', 'tenant') = '{}'", Rows(&["t|t"])),
        ("reaches of odd arguments", "SELECT authz.reach_uuid(NULL, NULL), authz.reach_int4('case.view', 'x'), authz.reach_text(NULL, 'key'), authz.via(NULL, NULL, NULL::uuid)", Rows(&["{}|{}|{}|f"])),
        ("sees_all", "SELECT DISTINCT authz.sees_all(p, b)::text IN ('f', '0', 'false') FROM (VALUES ('case.view'), ('case.edit'), (NULL)) v (p), (VALUES (true), (false), (NULL)) w (b)", Rows(&["t"])),
        ("the reach of the principal", "SELECT authz.reach_uuid('case.view', 'principal''s team') = ARRAY[':red'::uuid], authz.reach_uuid('case.view', 'principal''s tenant') = '{}', authz.via('case.view', 'principal''s tenant', ':globex'::uuid)", Rows(&["t|t|f"])),
        ("row_condition with a forged row", "SELECT authz.row_condition('case.view', ':foreign'::uuid, ':globex', NULL, ':green', NULL, NULL, 'normal', false, NULL, r, false) FROM (VALUES (1, 'alpha')) r (id, title)", Rows(&["f"])),
        ("row_condition with what is no row of the table", "SELECT authz.row_condition('case.view', ':mine'::uuid, ':acme', NULL, ':red', NULL, NULL, 'normal', false, NULL, NULL, false), authz.row_condition('case.view', ':mine'::uuid, ':globex', NULL, ':red', NULL, NULL, 'normal', false, NULL, ROW(), false)", Rows(&["f|f"])),
        ("row_exact with another team", "SELECT authz.row_exact('case.view', ':foreign'::uuid, ':globex', NULL, ':green', NULL, NULL, 'normal', false, NULL, true, false)", Rows(&["f"])),
        ("a trigger function", "CREATE TABLE evil.x (a int); CREATE TRIGGER t AFTER INSERT ON evil.x FOR EACH ROW EXECUTE FUNCTION authz.authority_changed('model')", Refused("42501")),
        ("a trigger that checks keys", "CREATE TABLE evil.y (a int); CREATE TRIGGER t AFTER INSERT ON evil.y FOR EACH ROW EXECUTE FUNCTION authz.check_key()", Refused("42501")),
        ("the protected tables", "SELECT * FROM authz.protected_table", Refused("42501")),
        ("the authority tables", "SELECT * FROM authz.principal", Refused("42501")),
        ("changing authority", "INSERT INTO authz.resource_access_grant (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code)
            VALUES (':acme', 'case', ':sealed', 'principal', ':mallory', 'case.view')", Refused("42501")),
        ("an object in the schema", "CREATE FUNCTION authz.via(text, text, text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'", Refused("42501")),
    ]);
}

/// Outside of a list of attempts, because it takes two: Mallory's plans are made while she is allowed, and kept.
#[test]
fn a_plan_from_before_the_revocation() {
    let mut world = World::new();
    let mut mallory = world.db.connect_as(&world.mallory);
    execute(
        &mut mallory,
        "SET plan_cache_mode = force_generic_plan;
         PREPARE all_cases AS SELECT title FROM case_record ORDER BY title;
         PREPARE by_key (uuid) AS SELECT title FROM case_record WHERE case_id = $1",
    );
    let titles = |c: &mut Client, sql: &str| -> Vec<String> {
        c.simple_query(sql)
            .unwrap_or_else(|e| panic!("{}", report(&e)))
            .iter()
            .filter_map(|m| match m {
                SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            })
            .collect()
    };
    let by_key = text("EXECUTE by_key (':mine')");
    assert_eq!(titles(&mut mallory, "EXECUTE all_cases"), ["mine", "mine too"]);
    assert_eq!(titles(&mut mallory, &by_key), ["mine"]);
    // In a transaction that has begun before, and of an isolation that keeps its snapshot.
    execute(&mut mallory, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(titles(&mut mallory, "EXECUTE all_cases"), ["mine", "mine too"]);
    execute(
        &mut world.admin,
        &text(
            "UPDATE authz.principal_role_assignment SET revoked_at = statement_timestamp()
              WHERE principal_id = ':mallory' AND revoked_at IS NULL",
        ),
    );
    assert_eq!(titles(&mut mallory, "EXECUTE all_cases"), [""; 0]);
    assert_eq!(titles(&mut mallory, &by_key), [""; 0]);
    execute(&mut mallory, "COMMIT");
    assert_eq!(titles(&mut mallory, "EXECUTE all_cases"), [""; 0]);
    // Back again, for one case only.
    let acme = id("acme");
    make::grant(
        &mut world.admin,
        acme,
        ("case", id("mine too")),
        ("principal", &id("mallory").to_string()),
        "case.view",
    );
    assert_eq!(titles(&mut mallory, "EXECUTE all_cases"), ["mine too"]);
    assert_eq!(titles(&mut mallory, &by_key), [""; 0]);
    // A lock, and a deny: each for all plans at once.
    make::rule(
        &mut world.admin,
        acme,
        "deny",
        5,
        ("tenant", Some(acme)),
        ("any", None),
        None,
    );
    assert_eq!(titles(&mut mallory, "EXECUTE all_cases"), [""; 0]);
}

/// Whatever is asked about it: the same rows, the same errors, the same plan.
#[test]
fn a_hidden_row_and_an_absent_row_look_the_same() {
    let world = World::new();
    let ask = |sql: &str, key: &str| -> (Vec<String>, String) {
        let (mut client, notices) = connect(&world.db, &world.mallory);
        execute(&mut client, "BEGIN");
        let sql = text(&sql.replace(":key", &format!(":{key}")));
        let outcome = client.simple_query(&sql);
        let notices = format!("{:?}", notices.lock().unwrap()).replace(&id(key).to_string(), "KEY");
        let outcome = match outcome {
            Ok(messages) => messages
                .iter()
                .map(|m| match m {
                    SimpleQueryMessage::Row(row) => (0..row.len())
                        .map(|n| row.get(n).unwrap_or("NULL"))
                        .collect::<Vec<_>>()
                        .join("|"),
                    SimpleQueryMessage::CommandComplete(n) => n.to_string(),
                    _ => String::new(),
                })
                .collect(),
            Err(e) => vec![report(&e)],
        };
        (
            outcome.iter().map(|t| t.replace(&id(key).to_string(), "KEY")).collect(),
            notices,
        )
    };
    for sql in [
        "SELECT * FROM case_record WHERE case_id = ':key'",
        "SELECT * FROM case_record WHERE case_id = ':key' FOR UPDATE",
        "SELECT authz_can('case.view', ':key'::uuid)",
        "SELECT authz_can('case.view', ':key'::text)",
        "SELECT authz_can(authz_principal(), 'case.edit', ':key'::uuid)",
        "SELECT * FROM authz_can_many(authz_principal(), 'case.view', ARRAY[':key']::uuid[])",
        "SELECT * FROM authz_permissions(authz_principal(), ':key'::uuid, 'case')",
        "UPDATE case_record SET title = 'x' WHERE case_id = ':key' RETURNING *",
        "DELETE FROM case_record WHERE case_id = ':key'",
        "INSERT INTO case_document (tenant_id, document_id, case_id, title) VALUES (':acme', ':new', ':key', 'x')",
        "UPDATE case_document SET case_id = ':key'",
        "INSERT INTO case_record (tenant_id, case_id, owning_team_id) VALUES (':globex', ':key', ':green')",
        "INSERT INTO case_record (tenant_id, case_id, owning_team_id) VALUES (':globex', ':key', ':green') ON CONFLICT DO NOTHING",
        "MERGE INTO case_record c USING (VALUES (':key'::uuid)) v (k) ON c.case_id = v.k WHEN MATCHED THEN DELETE",
        "EXPLAIN SELECT * FROM case_record WHERE case_id = ':key'",
    ] {
        let absent = ask(sql, "absent");
        for key in ["foreign", "blue case", "sealed", "deleted", "denied"] {
            assert_eq!(ask(sql, key), absent, "{key}: {sql}");
        }
    }
}
