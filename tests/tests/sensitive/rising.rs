//! A class that rises is obeyed at once (R40 to R42): whatever way the change takes, no safe view goes on showing the column.

use authz_tests::dump::{Dump, Format};
use authz_tests::make::id;
use authz_tests::people::{People, shown};
use authz_tests::{Db, execute, refused, value};
use postgres::Client;

/// What Ida, who sees everybody and everything, sees of the first person's columns.
fn seen(c: &mut Client, columns: &str) -> String {
    shown(c, &format!("concat_ws('|', {columns})"))[0].1.clone()
}

/// Raises the class of a column by plain SQL.
fn raise(c: &mut Client, column: &str, class: &str) {
    execute(
        c,
        &format!(
            "UPDATE authz.data_classification SET classification = '{class}' WHERE column_name = '{column}' AND dropped_at IS NULL"
        ),
    );
}

#[test]
fn r42_a_column_whose_class_rises_is_masked_in_every_view_at_once() {
    let people = People::masked();
    let mut owner = people.table_owner();
    execute(
        &mut owner,
        &format!(
            "SELECT authz_create_safe_view('lean', 'person', leave_out => true, columns => '{{id,name,team}}');
             SELECT authz_create_safe_view('wide', 'person', max_class => 'confidential', columns => '{{id,name}}');
             GRANT SELECT ON lean, wide TO {}",
            people.app
        ),
    );
    // Plans that exist, by name, in a function, and generic ones.
    let mut ida = people.of("ida");
    execute(
        &mut ida,
        "SET plan_cache_mode = force_generic_plan; PREPARE q AS SELECT name FROM person_safe WHERE id = 1; EXECUTE q; EXECUTE q",
    );
    let mut ask = |sql: &str| -> Vec<Option<String>> {
        ida.simple_query(sql)
            .unwrap()
            .into_iter()
            .filter_map(|m| match m {
                postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
                _ => None,
            })
            .collect()
    };
    let all = |ask: &mut dyn FnMut(&str) -> Vec<Option<String>>| {
        [
            "EXECUTE q",
            "SELECT name FROM lean WHERE id = 1",
            "SELECT name FROM wide WHERE id = 1",
        ]
        .map(|sql| ask(sql)[0].clone())
    };
    let plain = Some("name 1".to_owned());
    assert_eq!(all(&mut ask), [plain.clone(), plain.clone(), plain.clone()]);
    execute(
        &mut owner,
        "SELECT authz_classify('person', 'name', 'confidential', 'law')",
    );
    assert_eq!(
        all(&mut ask),
        [None, None, plain.clone()],
        "confidential is above internal"
    );
    execute(&mut owner, "SELECT authz_classify('person', 'name', 'pii', 'law')");
    assert_eq!(all(&mut ask), [None, None, None]);
    // Neither a condition, nor sorting, nor an aggregate knows more, nor does a whole row, nor a view of the reader's.
    for guess in [
        "SELECT id FROM person_safe WHERE name = 'name 1'",
        "SELECT id FROM person_safe WHERE name LIKE 'name%'",
        "SELECT id FROM person_safe GROUP BY id, name HAVING max(name) > 'a'",
        "SELECT id FROM person_safe AS p WHERE p::text LIKE '%name 1%'",
        "SELECT id FROM person_safe JOIN lean USING (id, name)",
    ] {
        assert!(ask(guess).is_empty(), "{guess}");
    }
    // Lowered again, it is shown again; and a transaction that is rolled back leaves nothing.
    execute(
        &mut owner,
        "SELECT authz_classify('person', 'name', 'internal', 'a mistake')",
    );
    assert_eq!(all(&mut ask), [plain.clone(), plain.clone(), plain.clone()]);
    execute(
        &mut owner,
        "BEGIN; SELECT authz_classify('person', 'name', 'secret', 'no'); ROLLBACK",
    );
    assert_eq!(all(&mut ask), [plain.clone(), plain.clone(), plain]);
}

/// Classes, in the order in which the views and the library know them.
#[test]
fn r40_each_class_is_masked_above_its_view() {
    let people = People::bare();
    let mut owner = people.table_owner();
    let mut admin = people.admin();
    let classes = ["public", "internal", "confidential", "pii", "sensitive_pii", "secret"];
    execute(&mut owner, "SELECT authz_classify('person', 'name', 'public', 'x')");
    for class in classes {
        execute(
            &mut owner,
            &format!(
                "SELECT authz_create_safe_view('up_to_{class}', 'person', '{class}', columns => '{{id,name}}'); GRANT SELECT ON up_to_{class} TO {}",
                people.app
            ),
        );
    }
    let mut ben = people.of("ben");
    for (n, class) in classes.iter().enumerate() {
        raise(&mut admin, "name", class);
        for (m, view) in classes.iter().enumerate() {
            let shown: bool = value(
                &mut ben,
                &format!("SELECT bool_and(name IS NOT NULL) FROM up_to_{view}"),
                &[],
            );
            assert_eq!(shown, n <= m, "{class} in a view up to {view}");
        }
    }
}

#[test]
fn r40_every_way_in_which_a_class_can_rise() {
    let people = People::masked();
    let mut admin = people.admin();
    let mut ida = people.of("ida");
    assert_eq!(seen(&mut ida, "name"), "name 1");
    // Renamed: the class stays with the column, and so does the view.
    execute(&mut people.table_owner(), "ALTER TABLE person RENAME name TO full_name");
    assert_eq!(seen(&mut ida, "name"), "name 1");
    raise(&mut admin, "full_name", "pii");
    assert_eq!(seen(&mut ida, "name"), "");
    raise(&mut admin, "full_name", "internal");
    // The names of two columns swapped: classes are those of the columns.
    execute(
        &mut people.table_owner(),
        "ALTER TABLE person RENAME full_name TO x; ALTER TABLE person RENAME note TO full_name; ALTER TABLE person RENAME x TO note",
    );
    assert_eq!(seen(&mut ida, "name, note"), "name 1");
    raise(&mut admin, "note", "pii");
    assert_eq!(seen(&mut ida, "name, note"), "");
    raise(&mut admin, "note", "internal");
    // As a replica, where ordinary triggers do not fire.
    execute(&mut admin, "SET session_replication_role = replica");
    raise(&mut admin, "note", "secret");
    assert_eq!(seen(&mut ida, "name"), "");
    raise(&mut admin, "note", "internal");
    execute(&mut admin, "RESET session_replication_role");
    // Classes that are taken away: what nobody has classified is secret.
    for away in [
        "UPDATE authz.data_classification SET dropped_at = now() WHERE column_name = 'note'",
        "DELETE FROM authz.data_classification WHERE column_name = 'note'",
    ] {
        execute(&mut admin, &format!("BEGIN; {away}"));
        execute(&mut admin, "COMMIT");
        assert_eq!(seen(&mut ida, "name"), "", "{away}");
        execute(
            &mut admin,
            "INSERT INTO authz.data_classification (target, column_name, classification) VALUES ('person', 'note', 'internal')",
        );
        assert_eq!(seen(&mut ida, "name"), "name 1");
    }
    refused(
        &mut admin,
        "TRUNCATE authz.data_classification",
        "55000",
        &["authz.data_classification"],
    );
    // A column that says where the row belongs is internal, until it does not say so any more, or is classified.
    assert_eq!(seen(&mut ida, "team"), id("north").to_string());
    execute(
        &mut people.table_owner(),
        "SELECT FROM authz_protect('public.person', 'person', key => 'id', tenant => 'tenant_id')",
    );
    assert_eq!(seen(&mut ida, "team"), "");
    execute(
        &mut people.table_owner(),
        "SELECT authz_classify('person', 'tenant_id', 'pii', 'x')",
    );
    assert_eq!(seen(&mut ida, "tenant_id"), "");
}

/// What a domain allows does not matter for its masks: they are of the type below.
#[test]
fn columns_of_domains_follow_their_class() {
    let people = People::bare();
    let mut owner = people.table_owner();
    execute(
        &mut owner,
        &format!(
            "SELECT authz_classify('person', 'email', 'public', 'printed on the door');
             SELECT authz_create_safe_view('person_safe', 'person', columns => '{{id,email}}'); GRANT SELECT ON person_safe TO {}",
            people.app
        ),
    );
    let mut ida = people.of("ida");
    assert_eq!(seen(&mut ida, "email"), "p1@example.org");
    execute(
        &mut owner,
        "SELECT authz_classify('person', 'email', 'pii', 'not any more')",
    );
    assert_eq!(seen(&mut ida, "email"), "");
    execute(
        &mut owner,
        "SELECT authz_mask('person', 'email', 'fixed', '{\"value\": \"hidden\"}');
         SELECT authz_create_safe_view('person_safe', 'person', columns => '{id,email}', replace => true)",
    );
    assert_eq!(seen(&mut people.of("ben"), "email"), "hidden");
    assert_eq!(seen(&mut ida, "email"), "p1@example.org");
}

/// The function that a view asks tells nothing else.
#[test]
fn what_is_no_column_has_no_class() {
    let people = People::masked();
    execute(
        &mut people.admin(),
        &format!("GRANT USAGE ON SCHEMA authz TO {}", people.app),
    );
    let mut ida = people.of("ida");
    execute(
        &mut ida,
        "CREATE TEMP TABLE mine (name text); INSERT INTO mine VALUES ('x')",
    );
    for (call, why) in [
        ("SELECT authz.within_class('x'::text, 'secret')", "a constant"),
        (
            "SELECT authz.within_class(name || '', 'internal') FROM mine",
            "an expression",
        ),
        (
            "SELECT authz.within_class(name, 'pii') FROM mine",
            "a column that nobody has classified",
        ),
        (
            "SELECT authz.within_class(name, 'internal') FROM person_safe",
            "a view's column that nobody has classified",
        ),
        ("SELECT authz.within_class(name, 'no such class') FROM mine", "no class"),
        ("SELECT authz.within_class(name, NULL) FROM mine", "NULL"),
    ] {
        let yes: bool = value(&mut ida, &format!("{call} LIMIT 1"), &[]);
        assert!(!yes, "{why}");
    }
    refused(
        &mut ida,
        "SELECT authz.within_class(name, 'internal') FROM person",
        "42501",
        &["person"],
    );
}

/// PITFALLS 34: classes and views come out of a dump together, and classes alone into views that are there.
#[test]
fn r70_a_class_that_comes_out_of_a_dump_is_obeyed() {
    let people = People::masked();
    let mut admin = people.admin();
    let before = Dump::of(&people.db, Format::Custom);
    execute(
        &mut people.table_owner(),
        "SELECT authz_classify('person', 'name', 'pii', 'names are personal, too')",
    );
    let after = Dump::of(&people.db, Format::Custom);
    // The view was not made anew: it masks in the copy as well.
    let copy = after.restored();
    let as_ida = |db: &Db| {
        let mut c = db.connect_as(&people.app);
        authz_tests::session::act_as(&mut c, "ida");
        c
    };
    assert_eq!(seen(&mut as_ida(&copy), "coalesce(name, 'masked')"), "masked");
    // The classes of later come into the database of before.
    let old = before.restored();
    let mut ida = as_ida(&old);
    assert_eq!(seen(&mut ida, "name"), "name 1");
    execute(&mut old.connect(), "DELETE FROM authz.data_classification");
    after.restore_into(&old, &["--data-only", "--schema=authz", "--table=data_classification"]);
    assert_eq!(seen(&mut ida, "coalesce(name, 'masked')"), "masked");
    // Nothing of it looks like a change that somebody made.
    let events =
        "SELECT count(*) FROM authz.access_change_event WHERE table_name IN ('data_classification', 'safe_view')";
    let there: i64 = value(&mut admin, events, &[]);
    let came: i64 = value(&mut copy.connect(), events, &[]);
    assert_eq!(came, there);
}

/// R42: what was granted on a safe view, and who owns it, stays when it is made anew.
#[test]
fn r42_a_safe_view_that_is_made_anew_keeps_its_owner_and_what_was_granted_on_it() {
    let people = People::masked();
    let mut admin = people.admin();
    let (keeper, reader) = (people.db.role(), people.db.role());
    execute(
        &mut admin,
        &format!(
            "SELECT authz_create_safe_view('v', 'person', columns => '{{id,name,ssn}}', owner => '{keeper}');
             GRANT SELECT ON v TO {reader} WITH GRANT OPTION; GRANT SELECT (id) ON v TO PUBLIC"
        ),
    );
    let state = "SELECT concat_ws(' ', c.oid, c.relowner::regrole, c.relacl,
                                  (SELECT string_agg(a.attacl::text, ' ') FROM pg_attribute AS a WHERE a.attrelid = c.oid))
                 FROM pg_class AS c WHERE c.oid = 'v'::regclass";
    let before: String = value(&mut admin, state, &[]);
    execute(
        &mut admin,
        "SELECT authz_classify('person', 'name', 'pii', 'x');
         SELECT authz_create_safe_view('v', 'person', columns => '{id,name,ssn}', replace => true)",
    );
    assert_eq!(value::<String>(&mut admin, state, &[]), before);
    let keeper_is: String = value(
        &mut admin,
        "SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE relname = 'v'",
        &[],
    );
    assert_eq!(keeper_is, keeper);
}
