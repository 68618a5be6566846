//! Row security stays in force below them (R43, PITFALLS 24, 25, 33).

use authz_tests::make::{self, id};
use authz_tests::reading::{World, act, events};
use authz_tests::{execute, refused, refused_with_hint, value};

#[test]
fn r43_pitfalls_24_25_33_row_security_stays_in_force() {
    let world = World::new();
    let (owner, reader) = (world.owner.clone(), world.reader.clone());
    let mut admin = world.db.connect();
    execute(
        &mut admin,
        &format!(
            "ALTER TABLE public.case_record OWNER TO {owner};
             SELECT * FROM authz_protect('public.case_record', 'case', 'case_id', 'tenant_id', 'owning_org_id', 'owning_team_id',
                 'project_id', 'owner_id', 'confidentiality_level', 'deleted_at')"
        ),
    );
    let globex = make::tenant(&mut admin, "globex");
    make::case(&mut admin, id("acme"), "affair");
    make::case(&mut admin, globex, "feud");
    make::assign(&mut admin, id("acme"), id("alice"), "viewer", "tenant", id("acme"));

    let mut o = world.owner();
    execute(
        &mut o,
        &format!(
            "SELECT authz_create_audited_view('cases', target => 'public.case_record');
             GRANT SELECT ON cases TO {reader}"
        ),
    );
    let mut c = world.reader();
    for (who, expected) in [("alice", vec!["affair"]), ("bob", vec![])] {
        act(&mut c, who, who);
        let titles: Vec<String> = c
            .query("SELECT title FROM cases", &[])
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect();
        assert_eq!(titles, expected, "{who}");
        assert_eq!(
            events(&mut admin, &format!("request_id = '{who}'")),
            [format!("cases {} completed", expected.len())]
        );
    }
    execute(&mut c, "SELECT authz_clear_session()");
    assert_eq!(value::<i64>(&mut c, "SELECT count(*) FROM cases", &[]), 0);

    // A view of somebody to whom row security does not apply would show everything.
    for sql in [
        "SELECT authz_create_audited_view('public.all_cases', target => 'public.case_record')",
        "CREATE VIEW public.of_a_superuser AS SELECT * FROM public.case_record;
         SELECT authz_create_audited_view('public.all_cases', 'SELECT title FROM public.of_a_superuser')",
    ] {
        refused_with_hint(&mut admin, sql, "55000", &["row security", "case_record"]);
    }
    execute(&mut o, "ALTER TABLE public.case_record NO FORCE ROW LEVEL SECURITY");
    refused(
        &mut o,
        "SELECT authz_create_audited_view('all_cases', target => 'public.case_record')",
        "55000",
        &["row security"],
    );
    let problems: Vec<String> = value(
        &mut admin,
        "SELECT problems FROM authz.audited_surface WHERE target = 'public.cases'::regclass",
        &[],
    );
    assert!(
        problems.len() == 1 && problems[0].contains("case_record"),
        "{problems:?}"
    );
    execute(&mut o, "ALTER TABLE public.case_record FORCE ROW LEVEL SECURITY");
    refused(
        &mut admin,
        "ALTER VIEW public.cases OWNER TO postgres",
        "55000",
        &["row security"],
    );
    // What nothing refuses is reported: a superuser's view of a table that comes under row security later, an owner who becomes more.
    execute(
        &mut admin,
        "CREATE TABLE public.later (id int); SELECT authz_create_audited_view('public.of_later', target => 'public.later')",
    );
    let output = world
        .db
        .command("psql")
        .args(["-X", "-c", "ALTER TABLE public.later ENABLE ROW LEVEL SECURITY"])
        .output()
        .expect("psql runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("audited view public.of_later shows all rows of public.later"),
        "{said}"
    );
    execute(&mut admin, &format!("ALTER ROLE {owner} BYPASSRLS"));
    let problems: i64 = value(
        &mut admin,
        "SELECT count(*) FROM authz.audited_surface WHERE problems <> '{}'",
        &[],
    );
    assert_eq!(problems, 2);
    execute(
        &mut admin,
        &format!("ALTER ROLE {owner} NOBYPASSRLS; DROP TABLE public.later CASCADE"),
    );
    // As its readers: then they need to be allowed to read the table themselves, and it holds for them.
    execute(
        &mut admin,
        &format!(
            "SELECT authz_create_audited_view('public.all_cases', target => 'public.case_record', security_invoker => true);
             GRANT SELECT ON public.all_cases TO {reader}"
        ),
    );
    refused(&mut c, "SELECT * FROM all_cases", "42501", &["case_record"]);
    execute(&mut admin, &format!("GRANT SELECT ON public.case_record TO {reader}"));
    act(&mut c, "alice", "invoker");
    assert_eq!(value::<i64>(&mut c, "SELECT count(*) FROM all_cases", &[]), 1);
    assert_eq!(events(&mut admin, "request_id = 'invoker'"), ["all_cases 1 completed"]);

    // Conditions of the reader see no row that the view does not show, and no row is written through it.
    execute(
        &mut c,
        "CREATE FUNCTION tells(t text) RETURNS boolean COST 0.0001 LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'seen: %', t; END $$",
    );
    execute(
        &mut o,
        &format!(
            "SELECT authz_create_audited_view('few', 'SELECT * FROM reading WHERE id = 1'); GRANT ALL ON few TO {reader}"
        ),
    );
    execute(
        &mut c,
        "CREATE FUNCTION other(i int) RETURNS boolean COST 0.0001 LANGUAGE plpgsql AS
             $$ BEGIN IF i <> 1 THEN RAISE EXCEPTION 'seen: %', i; END IF; RETURN true; END $$",
    );
    execute(&mut c, "SELECT * FROM few WHERE other(id)");
    for sql in [
        "INSERT INTO few VALUES (99, 'x')",
        "INSERT INTO few VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET word = few.word RETURNING *",
        "UPDATE few SET word = 'x' RETURNING *",
        "DELETE FROM few RETURNING *",
    ] {
        assert!(c.batch_execute(sql).is_err(), "{sql}");
    }
}
