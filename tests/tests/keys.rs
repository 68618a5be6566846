//! Resources are found by their keys whatever those are: uuid, integer, bigint, text; with every kind of index or none;
//! in partitioned tables; in several tenants at once.

use authz_tests::make::{self, id};
use authz_tests::{Db, execute, refused, report, value};
use postgres::Client;

/// Tenants acme and globex; Alice is a member of both, and `holder` (thing.view) at both.
fn world(db: &Db, table: &str) -> Client {
    let mut c = db.connect();
    execute(&mut c, table);
    execute(
        &mut c,
        "INSERT INTO authz.resource_type (resource_type, target, key_column, tenant_column, team_column)
         VALUES ('thing', 'public.thing', 'key', 'tenant', 'team');
         INSERT INTO authz.permission_definition (permission_code, resource_type, action_code) VALUES ('thing.view', 'thing', 'view')",
    );
    make::role(&mut c, "holder", &["thing.view"]);
    make::principal(&mut c, "alice");
    for name in ["acme", "globex"] {
        let tenant = make::tenant(&mut c, name);
        make::join(&mut c, tenant, id("alice"));
        make::team(&mut c, tenant, &format!("{name} team"), None, None);
        make::assign(
            &mut c,
            tenant,
            id("alice"),
            "holder",
            "team",
            id(&format!("{name} team")),
        );
    }
    c
}

/// One row, in the team of its tenant where `inside`.
fn thing(c: &mut Client, tenant: &str, key: &str, inside: bool) {
    let team = if inside {
        format!("'{}'", id(&format!("{tenant} team")))
    } else {
        "NULL".to_owned()
    };
    execute(
        c,
        &format!(
            "INSERT INTO public.thing (tenant, key, team) VALUES ('{}', {key}, {team})",
            id(tenant)
        ),
    );
}

#[track_caller]
fn can(c: &mut Client, key: &str) -> bool {
    ask(c, &format!("'{}', 'thing.view', {key}", id("alice")))
}

#[track_caller]
fn can_in(c: &mut Client, key: &str, tenant: &str) -> bool {
    ask(c, &format!("'{}', 'thing.view', {key}, '{}'", id("alice"), id(tenant)))
}

/// The call as an application writes it: literals without a type where the overloads allow.
#[track_caller]
fn ask(c: &mut Client, arguments: &str) -> bool {
    let sql = format!("SELECT authz_can({arguments})");
    match c.query_one(&sql, &[]) {
        Ok(row) => row
            .get::<_, Option<bool>>(0)
            .unwrap_or_else(|| panic!("NULL from {sql}")),
        Err(e) => panic!("{}\nin: {sql}", report(&e)),
    }
}

fn table(key: &str, more: &str) -> String {
    format!("CREATE TABLE public.thing (tenant uuid NOT NULL, key {key} NOT NULL, team uuid{more})")
}

/// What holds for numbers of every width, by the overload for bigint and by that for text.
fn numbers(key: &str, more: &str, beyond: &[&str]) {
    let db = Db::new();
    let mut c = world(&db, &table(key, more));
    thing(&mut c, "acme", "7", true);
    thing(&mut c, "acme", "8", false);
    thing(&mut c, "globex", "8", true);
    thing(&mut c, "acme", "-9", true);
    let what = format!("{key}{more}");
    for cast in ["::bigint", "::integer", "::smallint", ""] {
        assert!(can(&mut c, &format!("(7){cast}")), "{what} {cast}");
        assert!(can(&mut c, &format!("(-9){cast}")), "{what} {cast}");
        // In both tenants: without the tenant it could be either, and is neither.
        assert!(!can(&mut c, &format!("(8){cast}")), "{what} {cast}");
        assert!(!can_in(&mut c, &format!("(8){cast}"), "acme"), "{what} {cast}");
        assert!(can_in(&mut c, &format!("(8){cast}"), "globex"), "{what} {cast}");
        assert!(!can_in(&mut c, &format!("(7){cast}"), "globex"), "{what} {cast}");
        assert!(!can(&mut c, &format!("(10){cast}")), "{what} {cast}");
    }
    assert!(can(&mut c, "'7'::text"), "{what}");
    assert!(can(&mut c, "'-9'::text"), "{what}");
    for other in ["x", "", "7.0", "7e0", "0x7", "٧", "7;", "99999999999999999999999999"] {
        assert!(!can(&mut c, &format!("'{other}'::text")), "{what}: {other:?}");
    }
    for beyond in beyond {
        assert!(
            !can(&mut c, &format!("({beyond})::bigint")),
            "{what}: {beyond} is out of range"
        );
        assert!(
            !can(&mut c, &format!("'{beyond}'::text")),
            "{what}: {beyond} is out of range"
        );
    }
    // A key of another type is no key of this one.
    assert!(!can(&mut c, &format!("'{}'::uuid", id("acme"))), "{what}");
    // A grant names the key by its canonical text.
    execute(
        &mut c,
        &format!(
            "INSERT INTO authz.resource_access_grant (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code)
             VALUES ('{}', 'thing', '8', 'principal', '{}', 'thing.view')",
            id("acme"), id("alice")
        ),
    );
    assert!(can_in(&mut c, "8::bigint", "acme"), "{what}: by the grant");
    refused(
        &mut c,
        &format!(
            "INSERT INTO authz.resource_access_grant (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code)
             VALUES ('{}', 'thing', '007', 'principal', '{}', 'thing.view')",
            id("acme"), id("alice")
        ),
        "22023",
        &["007", "'7'"],
    );
}

#[test]
fn integer_keys() {
    numbers(
        "integer",
        ", PRIMARY KEY (tenant, key)",
        &["2147483648", "-2147483649", "4294967303"],
    );
}

#[test]
fn integer_keys_with_an_index_of_their_own() {
    numbers(
        "integer",
        ", PRIMARY KEY (tenant, key)); CREATE INDEX ON public.thing (key",
        &["4294967303"],
    );
}

#[test]
fn smallint_keys() {
    numbers("smallint", ", PRIMARY KEY (tenant, key)", &["32768", "65543"]);
}

#[test]
fn bigint_keys() {
    numbers("bigint", ", PRIMARY KEY (tenant, key)", &[]);
}

#[test]
fn bigint_keys_to_the_end_of_their_range() {
    let db = Db::new();
    let mut c = world(&db, &table("bigint", ", PRIMARY KEY (tenant, key)"));
    for key in ["9223372036854775807", "-9223372036854775808", "4294967303"] {
        thing(&mut c, "acme", &format!("'{key}'"), true);
        assert!(can(&mut c, &format!("'{key}'::bigint")), "{key}");
        assert!(can(&mut c, &format!("'{key}'::text")), "{key}");
    }
    assert!(!can(&mut c, "7::bigint"), "4294967303 is not 7");
}

#[test]
fn keys_of_other_types_are_refused() {
    let db = Db::new();
    let mut c = db.connect();
    execute(&mut c, &table("numeric", ", PRIMARY KEY (tenant, key)"));
    refused(
        &mut c,
        "INSERT INTO authz.resource_type (resource_type, target, key_column, tenant_column) VALUES ('thing', 'public.thing', 'key', 'tenant')",
        "42804",
        &["thing", "numeric", "key"],
    );
}

#[test]
fn keys_without_any_index() {
    numbers("integer", "", &["4294967303"]);
}

#[test]
fn keys_with_a_partial_or_an_unusable_index() {
    // An index that does not hold every row must not be believed about the rows that it lacks; nor one on an expression.
    numbers(
        "integer",
        "); CREATE INDEX ON public.thing (key) WHERE team IS NULL; CREATE INDEX ON public.thing ((key + 1)",
        &[],
    );
    numbers(
        "integer",
        "); CREATE INDEX ON public.thing USING hash (key); CREATE INDEX ON public.thing USING brin (key",
        &[],
    );
}

#[test]
fn partitioned_tables() {
    numbers(
        "integer",
        ", PRIMARY KEY (tenant, key)) PARTITION BY HASH (tenant);
           CREATE TABLE public.thing_0 PARTITION OF public.thing FOR VALUES WITH (MODULUS 2, REMAINDER 0);
           CREATE TABLE public.thing_1 PARTITION OF public.thing FOR VALUES WITH (MODULUS 2, REMAINDER 1",
        &["4294967303"],
    );
}

#[test]
fn partitions_whose_columns_are_in_another_order() {
    numbers(
        "integer",
        ") PARTITION BY LIST (key);
           CREATE TABLE public.seven (gone text, team uuid, key integer NOT NULL, tenant uuid NOT NULL);
           ALTER TABLE public.seven DROP COLUMN gone;
           ALTER TABLE public.thing ATTACH PARTITION public.seven FOR VALUES IN (7, 8);
           CREATE TABLE public.rest PARTITION OF public.thing DEFAULT; CREATE INDEX ON public.seven (key",
        &[],
    );
}

#[test]
fn text_keys() {
    let db = Db::new();
    let mut c = world(&db, &table("text", ", PRIMARY KEY (tenant, key)"));
    for key in ["CASE-1", "case-1x", "7", "007", "", " ", "ünïcode", "o''brien", "a\tb"] {
        thing(&mut c, "acme", &format!("'{key}'"), true);
        assert!(can(&mut c, &format!("'{key}'::text")), "{key:?}");
    }
    thing(&mut c, "acme", "'both'", true);
    thing(&mut c, "globex", "'both'", true);
    assert!(!can(&mut c, "'both'::text"));
    assert!(can_in(&mut c, "'both'::text", "globex"));
    // Byte by byte: neither case nor normal form nor blanks are taken for the same. (PITFALLS 5)
    for other in ["case-1", "CASE-1 ", "CASE-", "07", "7 ", "u\u{308}nïcode"] {
        assert!(!can(&mut c, &format!("'{other}'::text")), "{other:?}");
    }
    // A number and a uuid are the text that they are written as.
    assert!(can(&mut c, "7::bigint"));
    thing(&mut c, "acme", &format!("'{}'", id("written")), true);
    assert!(can(&mut c, &format!("'{}'::uuid", id("written"))));
    thing(&mut c, "acme", &format!("upper('{}')", id("shouted")), true);
    assert!(!can(&mut c, &format!("'{}'::uuid", id("shouted"))));
    assert!(can(&mut c, &format!("upper('{}')", id("shouted"))));
}

#[test]
fn text_keys_under_a_collation_that_knows_no_case() {
    let db = Db::new();
    let mut c = db.connect();
    if c.batch_execute(
        "CREATE COLLATION public.blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
    )
    .is_err()
    {
        // A server built without ICU has no such collations, so nothing can go wrong with them.
        let icu: i64 = value(
            &mut c,
            "SELECT count(*) FROM pg_collation WHERE collprovider = 'i'",
            &[],
        );
        assert_eq!(icu, 0, "ICU is there, but the collation was refused");
        return;
    }
    // Ids are compared byte by byte; an index that takes two of them for one could not be used.
    execute(
        &mut c,
        &table("text COLLATE public.blind", ", PRIMARY KEY (tenant, key)"),
    );
    refused(
        &mut c,
        "INSERT INTO authz.resource_type (resource_type, target, key_column, tenant_column) VALUES ('thing', 'public.thing', 'key', 'tenant')",
        "42P22",
        &["thing", "key"],
    );
}

#[test]
fn varchar_keys() {
    let db = Db::new();
    let mut c = world(&db, &table("varchar(20)", ", PRIMARY KEY (tenant, key)"));
    thing(&mut c, "acme", "'CASE-1'", true);
    assert!(can(&mut c, "'CASE-1'::text"));
    assert!(can(&mut c, "'CASE-1'::varchar"));
    assert!(!can(&mut c, "'CASE-2'::text"));
}

#[test]
fn uuid_keys() {
    let db = Db::new();
    let mut c = world(&db, &table("uuid", ", PRIMARY KEY (tenant, key)"));
    let key = id("thing");
    thing(&mut c, "acme", &format!("'{key}'"), true);
    assert!(can(&mut c, &format!("'{key}'::uuid")));
    assert!(
        can(&mut c, &format!("'{}'::uuid", key.to_string().to_uppercase())),
        "the same uuid"
    );
    assert!(can(&mut c, &format!("'{key}'::text")));
    // A text spells a key of the column's type; in the tables, which compare ids as they stand, only one spelling is let in.
    assert!(can(&mut c, &format!("'{}'::text", key.to_string().to_uppercase())));
    assert!(!can(&mut c, "'x'::text") && !can(&mut c, "''::text") && !can(&mut c, "'7'::text"));
    assert!(!can(&mut c, "7::bigint"));
    refused(
        &mut c,
        &format!(
            "INSERT INTO authz.resource_access_grant (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code)
             VALUES ('{}', 'thing', '{}', 'principal', '{}', 'thing.view')",
            id("acme"), key.to_string().to_uppercase(), id("alice")
        ),
        "22023",
        &[&key.to_string()],
    );
}

#[test]
fn many_keys_of_every_type_at_once() {
    for (key, values) in [
        (
            "uuid",
            format!("ARRAY['{0}', '{1}', '{0}']::uuid[]", id("thing"), id("nothing")),
        ),
        ("bigint", "ARRAY[7, 8, 7]::bigint[]".to_owned()),
        ("text", "ARRAY['7', '8', '7']::text[]".to_owned()),
    ] {
        let db = Db::new();
        let mut c = world(&db, &table(key, ", PRIMARY KEY (tenant, key)"));
        let first = if key == "uuid" {
            format!("'{}'", id("thing"))
        } else {
            "'7'".to_owned()
        };
        thing(&mut c, "acme", &first, true);
        let rows = c
            .query(
                &format!("SELECT allowed FROM authz_can_many('{}', 'thing.view', {values}) WITH ORDINALITY AS m(resource, allowed, n) ORDER BY n", id("alice")),
                &[],
            )
            .unwrap_or_else(|e| panic!("{key}: {}", report(&e)));
        let answers: Vec<bool> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(answers, [true, false, true], "{key}");
    }
}
