//! Which rows: those of row security, of the scope and of the filter, and how many (R32, PITFALLS 28).

use crate::{approve, fetch, run};
use authz_tests::exports::{Exports, define, download, exported, request, request_sql, run_export};
use authz_tests::make::{self, id};
use authz_tests::session::act_as;
use authz_tests::{denied, execute, refused, refused_with_hint, value};
use postgres::Client;
use uuid::Uuid;

#[test]
fn r32_rows_are_those_that_row_security_shows_the_requester() {
    let mut w = Exports::new();
    let mut tia = w.of("tia");
    let of_team = format!(", scope_type => 'team', scope_id => '{}'", id("north"));
    let text = exported(&mut tia, &of_team);
    assert!(text.contains(&id("c1").to_string()) && text.contains(&id("c2").to_string()));
    assert!(!text.contains(&id("c3").to_string()) && !text.contains(&id("c4").to_string()));
    // A scope narrows the rows of who sees more.
    let mut rex = w.of("rex");
    let text = exported(&mut rex, &of_team);
    assert_eq!(
        text.matches(",closed,").count() + text.matches(",open,").count(),
        2,
        "{text}"
    );
    let one = exported(
        &mut rex,
        &format!(", scope_type => 'claim', scope_id => '{}'", id("c3")),
    );
    assert!(one.contains(&id("c3").to_string()) && !one.contains(&id("c1").to_string()));
    // A principal of two tenants gets the rows of the one that is asked for.
    make::join(&mut w.admin, id("globex"), id("rex"));
    make::assign(
        &mut w.admin,
        id("globex"),
        id("rex"),
        "exporter",
        "tenant",
        id("globex"),
    );
    let mut rex = w.of("rex");
    let text = exported(&mut rex, "");
    assert!(!text.contains(&id("c4").to_string()), "{text}");
    // What a deny hides is not exported, either.
    make::rule(
        &mut w.admin,
        id("acme"),
        "deny",
        1,
        ("claim", Some(id("c1"))),
        ("any", None),
        Some("claim.view"),
    );
    let text = exported(&mut rex, "");
    assert!(!text.contains(&id("c1").to_string()), "{text}");
    // Scopes that say nothing of rows, or are none.
    refused_with_hint(
        &mut rex,
        &request_sql(&format!(", scope_type => 'team', scope_id => '{}'", id("nowhere"))),
        "42501",
        &["permission denied"],
    );
    refused(
        &mut rex,
        &request_sql(", scope_type => 'nothing', scope_id => 'x'"),
        "42704",
        &["nothing"],
    );
}

#[test]
fn r32_a_scope_contains_what_is_nested_in_it() {
    let mut w = Exports::new();
    let acme = id("acme");
    let group = make::organization(&mut w.admin, acme, "group", None);
    let branch = make::organization(&mut w.admin, acme, "branch", Some(group));
    let west = make::team(&mut w.admin, acme, "west", None, Some(branch));
    let inner = make::team(&mut w.admin, acme, "inner", Some(west), None);
    execute(
        &mut w.admin,
        &format!(
            "INSERT INTO public.claim (tenant_id, claim_id, team_id, status) VALUES ('{acme}', '{}', '{west}', 'west'), ('{acme}', '{}', '{inner}', 'inner')",
            id("w1"),
            id("w2")
        ),
    );
    let mut rex = w.of("rex");
    for (scope_type, scope, expected) in [
        ("organization", group, vec!["inner", "west"]),
        ("organization", branch, vec!["inner", "west"]),
        ("team", west, vec!["inner", "west"]),
        ("team", inner, vec!["inner"]),
    ] {
        let text = exported(
            &mut rex,
            &format!(", scope_type => '{scope_type}', scope_id => '{scope}', columns => '{{status}}'"),
        );
        let mut found: Vec<&str> = text.lines().skip(1).collect();
        found.sort();
        assert_eq!(found, expected, "{scope_type} {scope}");
    }
    let project = make::project(&mut w.admin, acme, "works", None);
    refused_with_hint(
        &mut rex,
        &request_sql(&format!(", scope_type => 'project', scope_id => '{project}'")),
        "22023",
        &["narrowed"],
    );
}

#[test]
fn r32_row_limits_come_from_obligations_and_nothing_is_cut_silently() {
    let mut w = Exports::new();
    let mut rex = w.of("rex");
    let export = request(&mut rex, "");
    execute(
        &mut w.admin,
        "UPDATE authz.role_permission SET valid_until = now() WHERE role_code = 'exporter';
         INSERT INTO authz.role_permission (role_code, permission_code, obligations, valid_from) VALUES
            ('exporter', 'claim.view', NULL, now()), ('exporter', 'export.request', '{\"max_records\": 2}', now()),
            ('exporter', 'claim.export', '{\"max_records\": 1000}', now())",
    );
    denied(&mut rex, &run(export), "54000", &["More than 2", "filter"]);
    assert_eq!(
        w.job(export, "status").as_deref(),
        Some("pending"),
        "it can be run again"
    );
    assert_eq!(w.chunks(), 0);
    let two = request(
        &mut rex,
        ", filters => '[{\"column\": \"status\", \"op\": \"=\", \"value\": \"open\"}]'",
    );
    assert_eq!(run_export(&mut rex, two), 2, "as many as are allowed");
    // The least of the limits applies: the definition's own, too.
    execute(&mut w.admin, &define(", max_rows => 1"));
    let export = request(&mut rex, "");
    denied(&mut rex, &run(export), "54000", &["More than 1"]);
    // A writable CTE hides nothing from it (PITFALLS 28).
    denied(
        &mut rex,
        &format!("WITH x AS (SELECT authz_run_export('{export}') AS n) SELECT 1 FROM x WHERE n > 0"),
        "54000",
        &["More than 1"],
    );
    // A tighter obligation counts for what was written before.
    execute(
        &mut w.admin,
        "UPDATE authz.role_permission SET valid_until = clock_timestamp() WHERE role_code = 'exporter' AND permission_code = 'export.request' AND valid_until IS NULL;
         INSERT INTO authz.role_permission (role_code, permission_code, obligations, valid_from)
         VALUES ('exporter', 'export.request', '{\"max_records\": 1, \"allowed_fields\": [\"claim_id\", \"status\"]}', clock_timestamp())",
    );
    denied(&mut rex, &fetch(two, 1), "42501", &["permission denied"]);
    // Fields as well, also those that one only filters by.
    denied(&mut rex, &request_sql(""), "42501", &["claim_id, status"]);
    denied(
        &mut rex,
        &request_sql(", columns => '{status}', filters => '[{\"column\": \"amount\", \"op\": \">\", \"value\": 15}]'"),
        "42501",
        &["claim_id, status"],
    );
    let text = exported(
        &mut rex,
        ", columns => '{status}', filters => '[{\"column\": \"status\", \"op\": \"=\", \"value\": \"closed\"}]'",
    );
    assert_eq!(text, "status\nclosed\n");
    // One that cannot be read leaves nothing.
    execute(
        &mut w.admin,
        "UPDATE authz.role_permission SET valid_until = clock_timestamp() WHERE role_code = 'exporter' AND permission_code = 'export.request' AND valid_until IS NULL;
         INSERT INTO authz.role_permission (role_code, permission_code, obligations, valid_from)
         VALUES ('exporter', 'export.request', '{\"max_records\": \"many\"}', clock_timestamp())",
    );
    execute(&mut w.admin, &define(""));
    let export = request(&mut rex, "");
    denied(&mut rex, &run(export), "54000", &["More than 0"]);
}

#[test]
fn r42_safe_views_are_sources_too() {
    let mut w = Exports::new();
    let owner = w.db.role();
    execute(
        &mut w.admin,
        &format!(
            "CREATE SCHEMA support; GRANT USAGE ON SCHEMA support TO {owner};
             SELECT authz_create_safe_view('support.claim', 'public.claim', owner => '{owner}');
             SELECT authz_define_export('seen', 'support.claim', '{{claim_id,status,holder}}', 'claim.export')"
        ),
    );
    let seen = |more: &str| request_sql(more).replace("'claims'", "'seen'");
    let mut rex = w.of("rex");
    let mut export = |sql: String| -> Uuid { value(&mut rex, &sql, &[]) };
    let (masked, open) = (export(seen("")), export(seen(", unmasked => true")));
    execute(&mut w.of("ann"), &approve(open));
    let mut rex = w.of("rex");
    assert_eq!(run_export(&mut rex, masked), 3);
    let text = String::from_utf8(download(&mut rex, masked)).unwrap();
    assert!(!text.contains("Jon"), "masked though its reader may see it: {text}");
    run_export(&mut rex, open);
    assert!(String::from_utf8(download(&mut rex, open)).unwrap().contains("Jon"));
    let of_team = format!(", scope_type => 'team', scope_id => '{}'", id("south"));
    let narrow: Uuid = value(&mut rex, &seen(&of_team), &[]);
    assert_eq!(run_export(&mut rex, narrow), 1);
    // One that is not safe any more is none.
    let later: Uuid = value(&mut rex, &seen(""), &[]);
    execute(&mut w.admin, "ALTER VIEW support.claim SET (security_barrier = false)");
    refused_with_hint(&mut rex, &run(later), "55000", &["security_barrier"]);
    execute(&mut w.admin, "DROP VIEW support.claim; DROP SCHEMA support");
    refused(&mut rex, &run(later), "55000", &[]);
    execute(&mut w.admin, &format!("DROP OWNED BY {owner}"));
}

#[test]
fn r32_filters_are_typed_comparisons_and_nothing_else() {
    let mut w = Exports::new();
    execute(&mut w.admin, &define(", rate_limit => 100"));
    let mut rex = w.of("rex");
    let statuses = |c: &mut Client, filters: &str| {
        let text = exported(c, &format!(", columns => '{{status}}', filters => '{filters}'"));
        let mut found: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
        found.sort();
        found
    };
    for (filters, expected) in [
        (r#"[{"column": "amount", "op": ">", "value": 15}]"#, vec!["closed"]),
        (r#"[{"column": "amount", "op": "is_null"}]"#, vec!["open"]),
        (
            r#"[{"column": "amount", "op": "is_not_null"}, {"column": "status", "op": "<>", "value": "closed"}]"#,
            vec!["open"],
        ),
        (
            r#"[{"column": "status", "op": "in", "value": ["closed", "nothing"]}]"#,
            vec!["closed"],
        ),
        (r#"[{"column": "status", "op": "in", "value": []}]"#, vec![]),
        (
            r#"[{"column": "filed_at", "op": ">=", "value": "2026-01-03"}]"#,
            vec!["closed"],
        ),
        // A mask applies before the filter: what is masked cannot be guessed.
        (r#"[{"column": "holder", "op": "=", "value": "Jon, Jr"}]"#, vec![]),
        (
            r#"[{"column": "holder", "op": "is_null"}]"#,
            vec!["closed", "open", "open"],
        ),
        (r#"[{"column": "note", "op": "=", "value": "x'' OR true --"}]"#, vec![]),
        (
            r#"[{"column": "note", "op": "=", "value": "x\\\\'' OR true --"}]"#,
            vec![],
        ),
    ] {
        assert_eq!(statuses(&mut rex, filters), expected, "{filters}");
    }
    for wrong in [
        r#"[{"column": "secret", "op": "=", "value": "x"}]"#,
        r#"[{"column": "status\" OR true --", "op": "=", "value": "x"}]"#,
        r#"[{"column": "status", "op": "= ''x'' OR", "value": "x"}]"#,
        r#"[{"column": "status", "op": "like", "value": "%"}]"#,
        r#"[{"column": "status", "op": "=", "value": null}]"#,
        r#"[{"column": "status", "op": "="}]"#,
        r#"[{"column": "status", "op": "=", "value": ["a"]}]"#,
        r#"[{"column": "status", "op": "in", "value": "a"}]"#,
        r#"[{"column": "amount", "op": ">", "value": "much"}]"#,
        r#"[{"column": "claim_id", "op": "=", "value": "x"}]"#,
        r#"[{"op": "=", "value": "x"}]"#,
        r#"["status"]"#,
        r#"{"column": "status", "op": "=", "value": "x"}"#,
        r#""x""#,
    ] {
        refused_with_hint(&mut rex, &request_sql(&format!(", filters => '{wrong}'")), "22023", &[]);
    }
    for wrong in ["{}", "{status,status}", "{secret}", "{tenant_id}", "{ctid}", "{NULL}"] {
        refused_with_hint(
            &mut rex,
            &request_sql(&format!(", columns => '{wrong}'")),
            "22023",
            &["columns"],
        );
    }
}

#[test]
fn r32_row_security_holds_whoever_runs_it() {
    let mut w = Exports::new();
    let mut rex = w.of("rex");
    let export = request(&mut rex, "");
    // The owner of the database, who sees every row, gets none of them through this.
    act_as(&mut w.admin, "rex");
    refused_with_hint(&mut w.admin, &run(export), "55000", &["row security"]);
    execute(&mut w.admin, &format!("SET ROLE {}", w.app));
    assert_eq!(run_export(&mut w.admin, export), 3, "by the role that acts");
    execute(&mut w.admin, "RESET ROLE");
    // Nor does somebody's definer function open more: the rows are those of the role that acts.
    let export = request(&mut rex, "");
    execute(
        &mut w.admin,
        &format!(
            "CREATE FUNCTION public.helpful(e uuid) RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT authz_run_export(e)';
             CREATE POLICY only_open ON public.claim AS RESTRICTIVE TO {} USING (status = 'open')",
            w.app
        ),
    );
    let rows: i64 = value(&mut rex, "SELECT public.helpful($1)", &[&export]);
    assert_eq!(rows, 2, "policies for the role hold as well");
    execute(&mut rex, "SET row_security = off");
    let export = request(&mut rex, "");
    refused(&mut rex, &run(export), "42501", &["row-level security"]);
}
