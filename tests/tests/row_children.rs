//! Children are searched for by their parents, where those are few; who sees everything is asked once; and either way they
//! show what the check allows (R20, R26). Random policies over children are compared in `row_security/random.rs`.

use authz_tests::make::{self, id};
use authz_tests::{Db, execute, report, value};
use postgres::Client;

/// 60 folders, of two teams and a third that nobody is in, with 10 files each; and 5 files in no folder.
fn folders(key: &str, key_in_file: &str, key_of: &str, more: &str) -> (Db, Client, Client) {
    let db = Db::new();
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    let globex = make::tenant(&mut c, "globex");
    for team in ["red", "blue", "green"] {
        make::team(&mut c, acme, team, None, None);
    }
    execute(
        &mut c,
        &format!(
            "CREATE TABLE public.folder (
                 tenant uuid NOT NULL REFERENCES authz.tenant, id {key} PRIMARY KEY, team uuid, title text,
                 level varchar(20) NOT NULL DEFAULT 'normal' CHECK (level IN ('normal', 'restricted', 'sealed')), UNIQUE (tenant, id));
             CREATE TABLE public.file (
                 tenant uuid NOT NULL REFERENCES authz.tenant, id integer PRIMARY KEY, folder {key_in_file}, title text,
                 level text NOT NULL DEFAULT 'normal' CHECK (level IN ('normal', 'restricted', 'sealed')){more});
             INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
             SELECT t || '.' || a, t, a FROM unnest(ARRAY['folder', 'file']) AS t,
                    unnest(ARRAY['view', 'edit', 'create', 'delete', 'view_restricted', 'view_sealed']) AS a;
             SELECT authz_protect('public.folder', 'folder', 'id', 'tenant', team => 'team', confidentiality => 'level',
                                  create_indexes => true);
             SELECT authz_protect('public.file', 'file', 'id', 'tenant', confidentiality => 'level', parent => 'folder',
                                  parent_type => 'folder', create_indexes => true);
             INSERT INTO public.folder (tenant, id, team, level)
             SELECT CASE WHEN n > 50 THEN '{globex}'::uuid ELSE '{acme}' END, {key_of},
                    (ARRAY['{red}', '{blue}', '{green}']::uuid[])[n % 3 + 1], CASE WHEN n % 10 = 9 THEN 'restricted' ELSE 'normal' END
               FROM generate_series(1, 60) AS n;
             INSERT INTO public.file (tenant, id, folder, level)
             SELECT f.tenant, n * 100 + m, f.id, CASE WHEN m = 7 THEN 'sealed' ELSE 'normal' END
               FROM generate_series(1, 60) AS n JOIN public.folder AS f ON f.id = {key_of}, generate_series(1, 10) AS m;
             INSERT INTO public.file (tenant, id) SELECT '{acme}', n FROM generate_series(1, 5) AS n;
             ANALYZE public.folder, public.file",
            red = id("red"),
            blue = id("blue"),
            green = id("green")
        ),
    );
    make::role(&mut c, "worker", &["folder.view", "file.view", "file.edit"]);
    make::role(
        &mut c,
        "auditor",
        &[
            "folder.view",
            "folder.view_restricted",
            "folder.view_sealed",
            "file.view",
            "file.view_restricted",
            "file.view_sealed",
        ],
    );
    for who in ["alice", "bob", "carol", "dora"] {
        make::member(&mut c, acme, who);
    }
    make::assign(&mut c, acme, id("alice"), "worker", "team", id("red"));
    make::assign(&mut c, acme, id("bob"), "worker", "tenant", acme);
    // Files everywhere, and folders of one team only.
    make::role(&mut c, "filer", &["file.view", "file.edit"]);
    make::role(&mut c, "viewer", &["folder.view"]);
    make::assign(&mut c, acme, id("carol"), "filer", "tenant", acme);
    make::assign(&mut c, acme, id("carol"), "viewer", "team", id("blue"));
    make::principal(&mut c, "auditor");
    make::assign_platform(&mut c, id("auditor"), "auditor");
    execute(
        &mut c,
        "INSERT INTO authz.operator_profile (principal_id, clearance_level)
         SELECT principal_id, 'L3' FROM authz.principal WHERE external_id = 'auditor'
         ON CONFLICT (principal_id) DO UPDATE SET clearance_level = 'L3'",
    );
    let role = db.role();
    execute(
        &mut c,
        &format!(
            "GRANT EXECUTE ON FUNCTION authz_set_session TO {role};
             GRANT SELECT, INSERT, UPDATE, DELETE ON public.folder, public.file TO {role}"
        ),
    );
    let app = db.connect_as(&role);
    (db, c, app)
}

const KEY: &str = ", FOREIGN KEY (tenant, folder) REFERENCES public.folder (tenant, id)";
const PEOPLE: [&str; 6] = ["alice", "bob", "carol", "dora", "auditor", "nobody"];

fn act(c: &mut Client, who: &str) {
    execute(c, "BEGIN");
    if let Err(e) = c.execute("SELECT authz_set_session($1)", &[&id(who)]) {
        panic!("{}", report(&e));
    }
}

#[track_caller]
fn ids(c: &mut Client, sql: &str) -> Vec<i32> {
    match c.query(sql, &[]) {
        Ok(rows) => rows.iter().map(|row| row.get(0)).collect(),
        Err(e) => panic!("{}\nin: {sql}", report(&e)),
    }
}

fn plan(c: &mut Client, sql: &str) -> String {
    let rows = c.query(&format!("EXPLAIN {sql}"), &[]).unwrap();
    rows.iter().map(|row| row.get::<_, String>(0) + "\n").collect()
}

const FILES: &str = "SELECT id FROM public.file ORDER BY id";
const CHECKED: &str = "SELECT id FROM public.file WHERE authz_can($1::uuid, 'file.view', id::text, tenant) ORDER BY id";

#[test]
fn children_are_those_that_the_check_allows() {
    for (key, key_in_file, key_of) in [
        ("uuid", "uuid", "md5(n::text)::uuid"),
        ("uuid", "text", "md5(n::text)::uuid"),
        ("integer", "bigint", "n"),
        ("bigint", "smallint", "n"),
        ("text", "text", "'k' || n"),
        ("varchar(9)", "text", "'v' || n"),
        ("integer", "text", "n"),
    ] {
        let constraints = if key_in_file == key { KEY } else { "" };
        // Where the types differ the check of keys takes the texts.
        let (_db, mut admin, mut app) = match (key, key_in_file) {
            ("uuid" | "integer", "text") => folders_by_text(key, key_of),
            _ => folders(key, key_in_file, key_of, constraints),
        };
        execute(&mut app, "SET plan_cache_mode = force_generic_plan");
        let kept = app.prepare(FILES).unwrap();
        for who in PEOPLE {
            let rows = admin.query(CHECKED, &[&id(who)]).unwrap();
            let expected: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
            let least = match who {
                "auditor" => 600,
                "bob" => 300,
                "alice" | "carol" => 100,
                _ => 0,
            };
            assert!(expected.len() >= least, "{who}: {}", expected.len());
            act(&mut app, who);
            let found: Vec<i32> = app.query(&kept, &[]).unwrap().iter().map(|r| r.get(0)).collect();
            assert_eq!(found, expected, "{who}, kept plan, {key} {key_in_file}");
            for settings in [
                "enable_indexscan = on",
                "enable_seqscan = off",
                "enable_indexscan = off",
                "enable_bitmapscan = off",
            ] {
                execute(&mut app, &format!("SET LOCAL {settings}"));
                assert_eq!(ids(&mut app, FILES), expected, "{who}, {settings}, {key} {key_in_file}");
            }
            execute(&mut app, "ROLLBACK");
        }
    }
}

/// The fixture's join of keys of different types needs a cast.
fn folders_by_text(key: &str, key_of: &str) -> (Db, Client, Client) {
    let (db, mut admin, app) = folders(key, key, key_of, "");
    execute(
        &mut admin,
        "SELECT authz_unprotect('public.file');
         ALTER TABLE public.file ALTER COLUMN folder TYPE text USING folder::text;
         -- A uuid may be spelled in other ways.
         UPDATE public.file SET folder = upper(folder) WHERE id % 100 = 3;
         SELECT authz_protect('public.file', 'file', 'id', 'tenant', confidentiality => 'level', parent => 'folder',
                              parent_type => 'folder', create_indexes => true);
         ANALYZE public.file",
    );
    (db, admin, app)
}

#[test]
fn few_parents_are_searched_for_by_index() {
    let (_db, _admin, mut app) = folders("uuid", "uuid", "md5(n::text)::uuid", KEY);
    act(&mut app, "alice");
    execute(&mut app, "SET LOCAL enable_seqscan = off");
    let text = plan(&mut app, FILES);
    assert!(
        text.contains("authz.reach_uuid('file.view'::text, 'parent'::text"),
        "{text}"
    );
    assert!(text.contains("Index Cond: (folder = ANY"), "{text}");
    execute(&mut app, "ROLLBACK");
    // One who sees a tenant searches by tenant, and not for one parent after the other.
    act(&mut app, "bob");
    let reach: (i64, i64) = {
        let row = app
            .query_one("SELECT count(*), count(DISTINCT folder) FROM public.file", &[])
            .unwrap();
        (row.get(0), row.get(1))
    };
    assert!(reach.0 > 300 && reach.1 > 30, "{reach:?}");
    execute(&mut app, "ROLLBACK");
}

/// What is remembered of parents is what the statement sees: a change in the same transaction, or undone, counts.
#[test]
fn parents_that_change_between_statements() {
    let (_db, mut admin, mut app) = folders("uuid", "uuid", "md5(n::text)::uuid", KEY);
    let green = id("green");
    execute(
        &mut admin,
        &format!(
            "CREATE FUNCTION public.give(to_team uuid) RETURNS void LANGUAGE sql SECURITY DEFINER
             AS $$ UPDATE public.folder SET team = to_team WHERE team = '{}' $$;
             CREATE FUNCTION public.look() RETURNS text LANGUAGE plpgsql AS $$
             DECLARE counts bigint[] := '{{}}'; n bigint;
             BEGIN
                 SELECT count(*) INTO n FROM public.file; counts := counts || n;
                 PERFORM public.give('{green}');
                 SELECT count(*) INTO n FROM public.file; counts := counts || n;
                 BEGIN
                     PERFORM public.back('{green}');
                     SELECT count(*) INTO n FROM public.file; counts := counts || n;
                     RAISE EXCEPTION 'undo';
                 EXCEPTION WHEN raise_exception THEN
                     SELECT count(*) INTO n FROM public.file; counts := counts || n;
                 END;
                 PERFORM public.back('{green}');
                 SELECT count(*) INTO n FROM public.file; counts := counts || n;
                 RETURN counts::text;
             END $$;
             CREATE FUNCTION public.back(from_team uuid) RETURNS void LANGUAGE sql SECURITY DEFINER
             AS $$ UPDATE public.folder SET team = '{}' WHERE team = from_team AND title = 'red' $$;
             UPDATE public.folder SET title = 'red' WHERE team = '{}'",
            id("red"),
            id("red"),
            id("red")
        ),
    );
    act(&mut app, "alice");
    let all: i64 = value(&mut app, "SELECT count(*) FROM public.file", &[]);
    assert!(all > 100, "{all}");
    let counts: String = value(&mut app, "SELECT public.look()", &[]);
    execute(&mut app, "ROLLBACK");
    assert_eq!(counts, format!("{{{all},0,{all},0,{all}}}"));
}

/// Authority that changes while a statement runs: its arms fit together all the same.
#[test]
fn a_cursor_goes_on_when_authority_changes() {
    let (_db, mut admin, mut app) = folders("uuid", "uuid", "md5(n::text)::uuid", KEY);
    for settings in ["enable_seqscan = off", "enable_indexscan = off"] {
        act(&mut app, "alice");
        execute(&mut app, &format!("SET LOCAL {settings}; SET LOCAL enable_sort = on"));
        let before = ids(&mut app, FILES);
        execute(&mut app, "DECLARE c CURSOR FOR SELECT id FROM public.file");
        let mut found = ids(&mut app, "FETCH 10 FROM c");
        // Wider than before: whatever was seen at the beginning is still seen.
        let assignment = make::assign(&mut admin, id("acme"), id("alice"), "worker", "tenant", id("acme"));
        found.extend(ids(&mut app, "FETCH ALL FROM c"));
        execute(&mut app, "ROLLBACK");
        assert!(
            before.iter().all(|n| found.contains(n)),
            "{settings}: {found:?} of {before:?}"
        );
        make::revoke(&mut admin, assignment);
    }
}

#[test]
fn who_sees_everything_is_asked_once() {
    let (_db, mut admin, mut app) = folders("uuid", "uuid", "md5(n::text)::uuid", KEY);
    act(&mut app, "auditor");
    let text = plan(&mut app, FILES);
    assert!(text.contains("authz.still"), "{text}");
    assert_eq!(ids(&mut app, FILES).len(), 605);
    execute(&mut app, "ROLLBACK");

    // A plan that relies on a constraint of the parents' table does not outlive it.
    execute(&mut app, "SET plan_cache_mode = force_generic_plan");
    act(&mut app, "auditor");
    let kept = app.prepare(FILES).unwrap();
    assert_eq!(app.query(&kept, &[]).unwrap().len(), 605);
    execute(&mut app, "COMMIT");
    execute(
        &mut admin,
        "ALTER TABLE public.folder DROP CONSTRAINT folder_level_check;
         UPDATE public.folder SET level = 'secret' WHERE id = md5('1')::uuid",
    );
    act(&mut app, "auditor");
    assert_eq!(app.query(&kept, &[]).unwrap().len(), 595, "a level that is not known");
    let text = plan(&mut app, FILES);
    assert!(!text.contains("authz.still"), "{text}");
    execute(&mut app, "ROLLBACK");

    // Nor without a key, which says that the parent is there, and in the same tenant.
    let (_db, mut admin, mut app) = folders(
        "uuid",
        "uuid",
        "md5(n::text)::uuid",
        ", FOREIGN KEY (folder) REFERENCES public.folder",
    );
    execute(
        &mut admin,
        &format!("UPDATE public.file SET tenant = '{}' WHERE id = 101", id("globex")),
    );
    act(&mut app, "auditor");
    assert!(!plan(&mut app, FILES).contains("authz.still"));
    assert_eq!(ids(&mut app, FILES).len(), 604, "a parent of another tenant");
    execute(&mut app, "ROLLBACK");
}

/// Asked about rows that an outer join made up, those who see everything see none.
#[test]
fn rows_of_outer_joins_are_nobodys() {
    let (_db, mut admin, _) = folders("uuid", "uuid", "md5(n::text)::uuid", KEY);
    for who in ["auditor", "bob"] {
        act(&mut admin, who);
        for call in [
            "authz_can('folder.view', f.id)",
            "authz_can(authz_principal(), 'folder.view', f.id)",
            "authz_can('file.view', d.id)",
            "authz_row('folder.view', f.id, f.tenant, team => f.team, confidentiality => f.level)",
        ] {
            let sql = format!(
                "SELECT count(*) FROM generate_series(1, 100) AS n LEFT JOIN public.folder AS f ON f.id = md5((n + 50)::text)::uuid
                    LEFT JOIN public.file AS d ON d.id = n * 100 + 1 AND n > 50 WHERE {call}"
            );
            let found: i64 = value(&mut admin, &sql, &[]);
            let of_table = match (who, call.contains("file")) {
                ("auditor", true) => 10,
                ("auditor", false) => 10,
                _ => 0,
            };
            assert_eq!(found, of_table, "{who}: {call}");
        }
        execute(&mut admin, "ROLLBACK");
    }
}

#[test]
fn writing_children() {
    let (_db, mut admin, mut app) = folders("uuid", "uuid", "md5(n::text)::uuid", KEY);
    for (who, permission) in [("alice", "file.edit"), ("carol", "file.edit"), ("bob", "file.edit")] {
        let expected: i64 = value(
            &mut admin,
            &format!(
                "SELECT count(*) FROM public.file WHERE authz_can('{who}'::uuid, '{permission}', id::text, tenant)
                    AND authz_can('{who}'::uuid, 'file.view', id::text, tenant)",
                who = id(who)
            ),
            &[],
        );
        assert!(expected > 50, "{who}: {expected}");
        for sql in [
            "UPDATE public.file SET title = 'x'",
            "SELECT FROM public.file FOR UPDATE",
        ] {
            act(&mut app, who);
            let changed = app.execute(sql, &[]).unwrap_or_else(|e| panic!("{}", report(&e)));
            execute(&mut app, "ROLLBACK");
            assert_eq!(changed as i64, expected, "{who}: {sql}");
        }
        // Into a folder that they do not see.
        act(&mut app, who);
        let moved = app.execute(
            "UPDATE public.file SET folder = md5('55')::uuid, tenant = (SELECT tenant FROM public.folder LIMIT 1) WHERE id % 100 = 1",
            &[],
        );
        execute(&mut app, "ROLLBACK");
        let code = moved.unwrap_err().code().map(|c| c.code().to_owned());
        assert_eq!(code.as_deref(), Some("42501"), "{who}");
    }
}

/// PITFALLS 29: a policy that asks about rows of its own table does not recurse without end.
#[test]
fn a_table_that_is_its_own_parent() {
    let db = Db::new();
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    execute(
        &mut c,
        "CREATE TABLE public.shelf (tenant uuid NOT NULL, id integer PRIMARY KEY, inside integer);
         INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
         SELECT 'shelf.' || a, 'shelf', a FROM unnest(ARRAY['view', 'create', 'edit', 'delete']) AS a;
         SELECT authz_protect('public.shelf', 'shelf', 'id', 'tenant', parent => 'inside', parent_type => 'shelf')",
    );
    // As a superuser: 1 holds 2, which holds 3; 4 stands alone; 5 and 6 are inside each other; 7 is inside itself.
    execute(
        &mut c,
        &format!(
            "INSERT INTO public.shelf
             SELECT '{acme}', v.* FROM (VALUES (1, NULL::integer), (2, 1), (3, 2), (4, NULL), (5, 6), (6, 5), (7, 7)) AS v"
        ),
    );
    make::role(&mut c, "reader", &["shelf.view"]);
    let alice = make::member(&mut c, acme, "alice");
    execute(
        &mut c,
        &format!(
            "INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
             VALUES ('{acme}', '{alice}', 'reader', 'shelf', '1')"
        ),
    );
    let web = db.role();
    execute(
        &mut c,
        &format!("GRANT SELECT ON public.shelf TO {web}; GRANT EXECUTE ON FUNCTION authz_set_session TO {web}"),
    );
    let mut w = db.connect_as(&web);
    w.query("SELECT authz_set_session($1, is_local => false)", &[&alice])
        .unwrap();
    let ids = |w: &mut Client, sql: &str| -> Vec<i32> {
        let rows = w.query(sql, &[]).unwrap_or_else(|e| panic!("{}", report(&e)));
        rows.iter().map(|row| row.get(0)).collect()
    };
    assert_eq!(
        ids(&mut w, "SELECT id FROM public.shelf WHERE id <= 4 ORDER BY id"),
        [1, 2, 3]
    );
    // No end can be found inside these: that is an error, not an answer.
    for circle in [5, 6, 7] {
        authz_tests::refused(
            &mut w,
            &format!("SELECT id FROM public.shelf WHERE id = {circle}"),
            "54001",
            &[],
        );
    }
}
