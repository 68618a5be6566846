//! Ownership and level as they stood, where a type names the table of their history (R17).

use crate::{can_at, mark};
use authz_tests::make::{self, id};
use authz_tests::{Db, execute, refused_with_hint, value};
use postgres::Client;
use uuid::Uuid;

/// A type that names histories: `casework`'s ownership history has the same columns.
fn with_history(c: &mut Client, acme: Uuid) {
    execute(
        c,
        "CREATE TABLE public.ownership (
             tenant_id uuid NOT NULL, case_id uuid NOT NULL, owner_type text NOT NULL, owner_id uuid NOT NULL,
             assigned_by uuid, assigned_at timestamptz NOT NULL DEFAULT clock_timestamp(), unassigned_at timestamptz,
             reason_code text);
         CREATE INDEX ON public.ownership (case_id);
         CREATE TABLE public.level (
             tenant_id uuid, case_id uuid, level text, since timestamptz, until timestamptz);
         CREATE INDEX ON public.level (tenant_id, case_id);
         INSERT INTO authz.resource_history VALUES
             ('case', 'owner', 'public.ownership', 'case_id', 'tenant_id', 'owner_id', 'assigned_at', 'unassigned_at', 'owner_type', 'principal'),
             ('case', 'team', 'public.ownership', 'case_id', 'tenant_id', 'owner_id', 'assigned_at', 'unassigned_at', 'owner_type', 'team'),
             ('case', 'confidentiality', 'public.level', 'case_id', 'tenant_id', 'level', 'since', 'until', NULL, NULL)",
    );
    make::role(c, "owner", &["case.view"]);
    execute(
        c,
        "UPDATE authz.resource_type SET owner_role = 'owner' WHERE resource_type = 'case'",
    );
    make::case(c, acme, "affair");
}

fn own(c: &mut Client, acme: Uuid, kind: &str, owner: Uuid) {
    execute(
        c,
        &format!(
            "UPDATE public.ownership SET unassigned_at = clock_timestamp() WHERE unassigned_at IS NULL;
             INSERT INTO public.ownership (tenant_id, case_id, owner_type, owner_id)
             VALUES ('{acme}', '{case}', '{kind}', '{owner}');
             UPDATE public.case_record SET owner_id = {principal}, owning_team_id = {team} WHERE case_id = '{case}'",
            case = id("affair"),
            principal = if kind == "principal" {
                format!("'{owner}'")
            } else {
                "NULL".into()
            },
            team = if kind == "team" {
                format!("'{owner}'")
            } else {
                "NULL".into()
            },
        ),
    );
}

#[test]
fn r17_ownership_and_level_are_as_they_stood_where_the_type_names_a_history() {
    let db = Db::new();
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    with_history(&mut c, acme);
    for name in ["alice", "bob", "carol"] {
        make::member(&mut c, acme, name);
    }
    make::team(&mut c, acme, "night", None, None);
    make::role(&mut c, "viewer", &["case.view"]);
    make::assign(&mut c, acme, id("carol"), "viewer", "team", id("night"));
    // Nothing is written of it yet: its row counts, which nobody owns.
    let unowned = mark(&mut c);
    own(&mut c, acme, "principal", id("alice"));
    let alices = mark(&mut c);
    own(&mut c, acme, "principal", id("bob"));
    let bobs = mark(&mut c);
    own(&mut c, acme, "team", id("night"));
    let nights = mark(&mut c);
    own(&mut c, acme, "principal", id("alice"));
    let levels = mark(&mut c);
    execute(
        &mut c,
        &format!(
            "INSERT INTO public.level VALUES ('{acme}', '{case}', 'normal', '{nights}', clock_timestamp());
             UPDATE public.case_record SET confidentiality_level = 'sealed';
             INSERT INTO public.level VALUES ('{acme}', '{case}', 'sealed', clock_timestamp(), NULL)",
            case = id("affair")
        ),
    );
    let sealed = mark(&mut c);
    let expected = [
        (&unowned, None),
        // Of the time before its level was written down nothing is known, so nobody was allowed anything.
        (&alices, None),
        (&bobs, None),
        (&nights, Some("carol")),
        (&levels, Some("alice")),
        (&sealed, None),
    ];
    let check = |c: &mut Client, expected: &[(&String, Option<&str>)]| {
        for (at, owner) in expected {
            for name in ["alice", "bob", "carol"] {
                assert_eq!(
                    can_at(c, name, "case.view", "affair", at),
                    *owner == Some(name),
                    "{name} at {at}"
                );
                let listed: i64 = value(
                    c,
                    "SELECT count(*) FROM authz_resources($1, 'case.view', at => $2::text::timestamptz)",
                    &[&id(name), at],
                );
                assert_eq!(listed == 1, *owner == Some(name), "{name} lists at {at}");
            }
            let who: Vec<Uuid> = c
                .query(
                    "SELECT principal FROM authz_principals('case.view', $1::uuid, at => $2::text::timestamptz)",
                    &[&id("affair"), at],
                )
                .unwrap()
                .iter()
                .map(|row| row.get(0))
                .collect();
            assert_eq!(who, owner.iter().map(|name| id(name)).collect::<Vec<_>>(), "at {at}");
        }
    };
    check(&mut c, &expected);
    // With ownership alone.
    execute(
        &mut c,
        "DELETE FROM authz.resource_history WHERE attribute = 'confidentiality'",
    );
    execute(&mut c, "UPDATE public.case_record SET confidentiality_level = 'normal'");
    check(
        &mut c,
        &[
            (&unowned, None),
            (&alices, Some("alice")),
            (&bobs, Some("bob")),
            (&nights, Some("carol")),
            (&levels, Some("alice")),
        ],
    );
    // The explanation says which is which.
    let notes: String = value(
        &mut c,
        "SELECT authz_explain($1::uuid, 'case.view', $2::uuid, at => $3::text::timestamptz) ->> 'notes'",
        &[&id("alice"), &id("affair"), &alices],
    );
    assert!(
        notes.contains("owner, team") && notes.contains("as it stood"),
        "{notes}"
    );
    execute(&mut c, "DELETE FROM authz.resource_history");
    assert!(
        can_at(&mut c, "alice", "case.view", "affair", &bobs),
        "without a history, the present row counts"
    );
    let notes: String = value(
        &mut c,
        "SELECT authz_explain($1::uuid, 'case.view', $2::uuid, at => $3::text::timestamptz) ->> 'notes'",
        &[&id("alice"), &id("affair"), &alices],
    );
    assert!(notes.contains("no history of it is registered"), "{notes}");
}

#[test]
fn a_history_that_does_not_fit_is_refused_and_one_that_is_gone_allows_nothing() {
    let db = Db::new();
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    with_history(&mut c, acme);
    make::member(&mut c, acme, "alice");
    own(&mut c, acme, "principal", id("alice"));
    execute(&mut c, "DELETE FROM authz.resource_history WHERE attribute <> 'owner'");
    let at = mark(&mut c);
    assert!(can_at(&mut c, "alice", "case.view", "affair", &at));
    for (columns, words) in [
        (
            "'nonsense', 'tenant_id', 'owner_id', 'assigned_at', 'unassigned_at', NULL, NULL",
            "key_column",
        ),
        (
            "'case_id', 'owner_type', 'owner_id', 'assigned_at', 'unassigned_at', NULL, NULL",
            "tenant_column",
        ),
        (
            "'case_id', 'tenant_id', 'assigned_at', 'assigned_at', 'unassigned_at', NULL, NULL",
            "value_column",
        ),
        (
            "'case_id', 'tenant_id', 'owner_id', 'owner_id', 'unassigned_at', NULL, NULL",
            "from_column",
        ),
        (
            "'case_id', 'tenant_id', 'owner_id', 'assigned_at', 'owner_id', NULL, NULL",
            "until_column",
        ),
        (
            "'case_id', 'tenant_id', 'owner_id', 'assigned_at', 'unassigned_at', 'owner_id', 'x'",
            "kind_column",
        ),
    ] {
        refused_with_hint(
            &mut c,
            &format!("INSERT INTO authz.resource_history VALUES ('case', 'project', 'public.ownership', {columns})"),
            "42804",
            &[words],
        );
    }
    execute(&mut c, "DROP TABLE public.ownership");
    assert!(
        !can_at(&mut c, "alice", "case.view", "affair", &at),
        "who owned it is not known any more"
    );
}
