//! Whose authority an export has (R32): the requester's, at each step, and in the same words whatever is there.

use crate::content::fill;
use crate::course::end;
use crate::{approve, fetch, run};
use authz_tests::exports::{Exports, chunk, exported, request, request_sql, run_export};
use authz_tests::make::{self, id};
use authz_tests::session::act_as;
use authz_tests::waiting::until_it_waits;
use authz_tests::{denied, execute, recorded, refused, refused_with_hint, value};
use uuid::Uuid;

#[test]
fn r32_the_permission_is_asked_for_at_request_run_and_each_download() {
    let mut w = Exports::new();
    // Both permissions, at the scope, are needed to ask.
    denied(&mut w.of("mia"), &request_sql(""), "42501", &["permission denied"]);
    denied(&mut w.of("gus"), &request_sql(""), "42501", &["permission denied"]);
    denied(&mut w.of("tia"), &request_sql(""), "42501", &["permission denied"]);
    denied(
        &mut w.db.connect_as(&w.app),
        &request_sql(""),
        "42501",
        &["permission denied"],
    );
    for (name, permission) in [("half", "export.request"), ("other", "claim.export")] {
        make::role(&mut w.admin, name, &[permission]);
        make::member(&mut w.admin, id("acme"), name);
        make::assign(&mut w.admin, id("acme"), id(name), name, "tenant", id("acme"));
        denied(&mut w.of(name), &request_sql(""), "42501", &["permission denied"]);
    }
    let mut rex = w.of("rex");
    fill(&mut w, 40_000);
    let (pending, done) = (request(&mut rex, ""), request(&mut rex, ""));
    run_export(&mut rex, done);
    let (chunks, _) = chunk(&mut rex, done, 1);
    assert!(chunks > 2, "{chunks} chunks");
    // Half-way through the download the requester is revoked: nothing more, in the same connection, at once.
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal_role_assignment SET revoked_at = statement_timestamp() WHERE principal_id = '{}'",
            id("rex")
        ),
    );
    denied(&mut rex, &fetch(done, 2), "42501", &["permission denied"]);
    denied(&mut rex, &fetch(done, 1), "42501", &["permission denied"]);
    denied(&mut rex, &run(pending), "42501", &["permission denied"]);
    assert_eq!(w.job(pending, "status").as_deref(), Some("pending"));
    // With the permission back, the download goes on where it was.
    let again = make::assign(&mut w.admin, id("acme"), id("rex"), "exporter", "tenant", id("acme"));
    assert_eq!(
        chunk(&mut rex, done, 2),
        chunk(&mut rex, done, 2),
        "the same bytes each time"
    );
    assert_eq!(chunk(&mut rex, done, 2).0, chunks);
    make::revoke(&mut w.admin, again);
    // Nor one who is suspended, or whose membership is.
    make::assign(&mut w.admin, id("acme"), id("rex"), "exporter", "tenant", id("acme"));
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal SET status = 'suspended' WHERE principal_id = '{}'",
            id("rex")
        ),
    );
    denied(&mut rex, &fetch(done, 2), "42501", &["permission denied"]);
}

#[test]
fn r32_unknown_and_other_peoples_exports_are_refused_in_the_same_words() {
    let mut w = Exports::new();
    let mut rex = w.of("rex");
    let export = request(&mut rex, ", unmasked => true");
    let unknown = Uuid::from_u128(7);
    for name in ["gus", "mia", "tia", "greg"] {
        let mut c = w.of(name);
        for call in [run, approve, end, |e| fetch(e, 1)] {
            let there = denied(&mut c, &call(export), "42501", &["permission denied"]);
            let not_there = denied(&mut c, &call(unknown), "42501", &["permission denied"]);
            assert_eq!(there, not_there, "{name}");
        }
    }
    // Also while it is locked: no waiting, no other words.
    execute(
        &mut w.admin,
        &format!("BEGIN; SELECT FROM authz.data_export_job WHERE export_id = '{export}' FOR UPDATE"),
    );
    let mut gus = w.of("gus");
    denied(&mut gus, &run(export), "42501", &["permission denied"]);
    execute(&mut w.admin, "ROLLBACK");
    // A session of another tenant does not reach it, though the principal does.
    make::join(&mut w.admin, id("globex"), id("rex"));
    execute(
        &mut rex,
        &format!(
            "SELECT authz_set_session('{}', '{}', is_local => false)",
            id("rex"),
            id("globex")
        ),
    );
    denied(&mut rex, &run(export), "42501", &["permission denied"]);
    denied(&mut rex, &request_sql(""), "42501", &["permission denied"]);
    // Which definitions there are, only who may ask learns.
    let other = |sql: String| sql.replace("'claims'", "'other'");
    denied(&mut gus, &other(request_sql("")), "42501", &["permission denied"]);
    let mut rex = w.of("rex");
    refused_with_hint(&mut rex, &other(request_sql("")), "42704", &["other"]);
    refused(
        &mut rex,
        &request_sql("").replace("the yearly report", " "),
        "22023",
        &["reason"],
    );
}

/// What an export runs of others (policies here) gets no rights that the calling code does not have: a definer function
/// of theirs must not become its caller by way of an export.
#[test]
fn a_definer_function_does_not_become_its_caller() {
    let mut w = Exports::new();
    let mallory = w.db.role();
    execute(
        &mut w.admin,
        &format!(
            "CREATE TABLE public.trap (tenant_id uuid NOT NULL, id uuid PRIMARY KEY);
             INSERT INTO public.trap VALUES ('{acme}', '{acme}');
             INSERT INTO authz.permission_definition (permission_code, resource_type, action_code) VALUES ('trap.view', 'trap', 'view');
             INSERT INTO authz.role_permission (role_code, permission_code) VALUES ('exporter', 'trap.view');
             SELECT FROM authz_protect('public.trap', 'trap', 'id', 'tenant_id');
             SELECT authz_classify('public.trap', c, 'public', 'for all') FROM unnest('{{id,tenant_id}}'::text[]) AS c;
             ALTER TABLE public.trap OWNER TO {mallory};
             GRANT CREATE ON SCHEMA public TO {mallory};
             SELECT authz_create_safe_view('public.trap_view', 'public.trap');
             SELECT authz_define_export('traps', 'public.trap_view', '{{id}}', 'trap.view');
             SELECT authz_define_export('trap_rows', 'public.trap', '{{id}}', 'trap.view');
             CREATE TABLE public.caught (who text); GRANT INSERT ON public.caught TO PUBLIC;
             GRANT EXECUTE ON FUNCTION authz_request_export, authz_run_export TO {mallory};
             SET ROLE {mallory};
             CREATE FUNCTION public.catch() RETURNS boolean LANGUAGE plpgsql AS
                 'BEGIN INSERT INTO public.caught VALUES (current_user); RETURN true; END';
             CREATE POLICY trap ON public.trap AS RESTRICTIVE USING (public.catch());
             CREATE FUNCTION public.harmless(kind text) RETURNS bigint LANGUAGE sql SECURITY DEFINER AS
                 $$ SELECT authz_run_export(authz_request_export(kind, 'why not', '{acme}')) $$;
             RESET ROLE",
            acme = id("acme")
        ),
    );
    let mut rex = w.of("rex");
    act_as(&mut w.admin, "rex");
    for kind in ["traps", "trap_rows"] {
        for c in [&mut w.admin, &mut rex] {
            let rows: i64 = value(c, "SELECT public.harmless($1)", &[&kind]);
            assert_eq!(rows, 1, "{kind}");
        }
    }
    // Nor by what PostgreSQL runs as a table's owner while a superuser maintains it.
    execute(
        &mut w.admin,
        &format!(
            "SET ROLE {mallory};
             CREATE FUNCTION public.indexed(id integer) RETURNS bigint IMMUTABLE LANGUAGE sql AS
                 $$ SELECT public.authz_run_export(public.authz_request_export('traps', 'why not', '{}')) $$;
             CREATE TABLE public.lure (id integer); CREATE INDEX ON public.lure (public.indexed(id));
             RESET ROLE; INSERT INTO public.lure VALUES (1); TRUNCATE public.caught; ANALYZE public.lure",
            id("acme")
        ),
    );
    let caught: Vec<String> = value(&mut w.admin, "SELECT array_agg(DISTINCT who) FROM public.caught", &[]);
    assert_eq!(caught, [mallory]);
}

#[test]
fn r32_who_is_revoked_while_rows_are_read_gets_nothing() {
    let mut w = Exports::new();
    let mut rex = w.of("rex");
    let export = request(&mut rex, "");
    execute(
        &mut w.admin,
        "CREATE FUNCTION public.slowly() RETURNS boolean LANGUAGE sql VOLATILE AS 'SELECT pg_advisory_xact_lock_shared(7) IS NOT NULL';
         CREATE POLICY slow ON public.claim AS RESTRICTIVE USING (public.slowly()); SELECT pg_advisory_lock(7)",
    );
    let pid: i32 = value(&mut rex, "SELECT pg_backend_pid()", &[]);
    let running = std::thread::spawn(move || {
        let before = recorded(&mut rex);
        refused(&mut rex, &run(export), "42501", &["permission denied"]);
        recorded(&mut rex) - before
    });
    until_it_waits(&mut w.admin, pid);
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal_role_assignment SET revoked_at = statement_timestamp() WHERE principal_id = '{}'",
            id("rex")
        ),
    );
    execute(&mut w.admin, "SELECT pg_advisory_unlock(7)");
    assert_eq!(running.join().unwrap(), 1);
    assert_eq!((w.job(export, "status").as_deref(), w.chunks()), (Some("pending"), 0));
}

#[test]
fn nothing_that_callers_plant_takes_the_place_of_what_is_called() {
    let mut w = Exports::new();
    // PITFALLS 16: temporary tables and functions, operators in public, a search_path of the caller's.
    execute(&mut w.admin, &format!("GRANT CREATE ON SCHEMA public TO {}", w.app));
    let mut rex = w.of("rex");
    execute(
        &mut rex,
        "CREATE TEMP TABLE data_export_job (export_id uuid); CREATE TEMP TABLE claim (claim_id uuid);
         CREATE FUNCTION public.always(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
         CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.always);
         CREATE FUNCTION public.sha256(text) RETURNS bytea LANGUAGE sql AS 'SELECT NULL::bytea';
         SET search_path = pg_temp, public, pg_catalog; SET DateStyle = 'German'; SET extra_float_digits = -10; SET IntervalStyle = iso_8601",
    );
    let text = exported(
        &mut rex,
        ", columns => '{status,filed_at}', filters => '[{\"column\": \"status\", \"op\": \"=\", \"value\": \"closed\"}]'",
    );
    assert_eq!(text, "status,filed_at\nclosed,2026-01-03 00:00:00+00\n");
    // One that fits the call of a mask better than ours.
    let export = request(&mut rex, ", unmasked => true");
    execute(&mut w.of("ann"), &approve(export));
    execute(
        &mut rex,
        "CREATE FUNCTION public.authz_row(text, uuid, uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    );
    refused_with_hint(&mut rex, &run(export), "42501", &["not part of authz_ext"]);
    execute(&mut w.admin, &format!("DROP OWNED BY {}", w.app));
}
