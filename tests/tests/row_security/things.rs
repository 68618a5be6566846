//! Keys of every type, scopes of every kind, partitions, and policies by hand (R20, R21, R22).

use crate::PLANS;
use crate::{act, application, titles};
use authz_tests::make::{self, id};
use authz_tests::{Db, execute, report};

/// What `SELECT` shows of a table of things, and what the check says.
fn things(definition: &str, key_of: &str, by_hand: Option<&str>) {
    let db = Db::new();
    let mut c = db.connect();
    execute(&mut c, definition);
    for name in ["acme", "globex"] {
        let tenant = make::tenant(&mut c, name);
        make::organization(&mut c, tenant, &format!("{name} firm"), None);
        make::team(
            &mut c,
            tenant,
            &format!("{name} crew"),
            None,
            Some(id(&format!("{name} firm"))),
        );
    }
    execute(
        &mut c,
        &format!(
            "INSERT INTO authz.permission_definition (permission_code, resource_type, action_code) VALUES ('thing.view', 'thing', 'view');
             INSERT INTO public.thing (tenant, key, team, owner)
             SELECT CASE WHEN n % 3 = 0 THEN '{globex}'::uuid ELSE '{acme}' END, {key_of},
                    CASE n % 5 WHEN 0 THEN '{crew}'::uuid WHEN 1 THEN '{other}' END,
                    CASE WHEN n % 7 = 0 THEN '{alice}'::uuid END FROM generate_series(1, 3000) AS n",
            acme = id("acme"),
            globex = id("globex"),
            crew = id("acme crew"),
            other = id("globex crew"),
            alice = id("alice")
        ),
    );
    make::role(&mut c, "holder", &["thing.view"]);
    for (who, tenant) in [
        ("alice", "acme"),
        ("bob", "acme"),
        ("carol", "globex"),
        ("dora", "globex"),
        ("ed", "acme"),
    ] {
        make::member(&mut c, id(tenant), who);
    }
    make::join(&mut c, id("globex"), id("ed"));
    match by_hand {
        None => execute(
            &mut c,
            "SELECT authz_protect('public.thing', 'thing', 'key', 'tenant', team => 'team', owner => 'owner', create_indexes => true)",
        ),
        Some(policy) => execute(
            &mut c,
            &format!(
                "INSERT INTO authz.resource_type (resource_type, target, key_column, tenant_column, team_column, owner_column)
                 VALUES ('thing', 'public.thing', 'key', 'tenant', 'team', 'owner');
                 ALTER TABLE public.thing ENABLE ROW LEVEL SECURITY;
                 CREATE POLICY by_hand ON public.thing USING ({policy});
                 CREATE INDEX ON public.thing (tenant); CREATE INDEX ON public.thing (team); CREATE INDEX ON public.thing (owner);
                 CREATE INDEX ON public.thing (key)"
            ),
        ),
    }
    execute(
        &mut c,
        "UPDATE authz.resource_type SET owner_role = 'holder' WHERE resource_type = 'thing'; ANALYZE public.thing",
    );
    make::assign(&mut c, id("acme"), id("bob"), "holder", "organization", id("acme firm"));
    make::assign(&mut c, id("globex"), id("dora"), "holder", "tenant", id("globex"));
    make::assign(&mut c, id("globex"), id("ed"), "holder", "team", id("globex crew"));
    execute(
        &mut c,
        &format!(
            "INSERT INTO authz.resource_access_grant (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code)
             SELECT tenant, 'thing', key::text, 'principal', CASE WHEN tenant = '{}' THEN '{}' ELSE '{}' END, 'thing.view'
               FROM (SELECT DISTINCT tenant, key FROM public.thing ORDER BY 1, 2 LIMIT 40) AS t",
            id("acme"),
            id("ed"),
            id("carol")
        ),
    );
    let role = application(&db, &mut c);
    let mut app = db.connect_as(&role);
    execute(&mut app, "SET plan_cache_mode = force_generic_plan");
    let list = "SELECT tenant::text || ' ' || key::text FROM public.thing ORDER BY 1";
    let statement = app.prepare(list).unwrap();
    let mut most = 0;
    for who in ["alice", "bob", "carol", "dora", "ed", "nobody"] {
        for tenant in [None, Some(id("acme")), Some(id("globex"))] {
            let only = tenant.map_or(String::new(), |t| format!(" AND tenant = '{t}'"));
            let expected = titles(
                &mut c,
                &format!(
                    "SELECT tenant::text || ' ' || key::text FROM public.thing
                      WHERE authz_can('{}'::uuid, 'thing.view', key::text, tenant){only} ORDER BY 1",
                    id(who)
                ),
            );
            most = most.max(expected.len());
            act(&mut app, id(who), tenant, "{}");
            let rows = app.query(&statement, &[]).unwrap_or_else(|e| panic!("{}", report(&e)));
            let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            assert_eq!(found, expected, "{who} {tenant:?}, kept plan: {definition}");
            for (name, settings) in PLANS {
                execute(&mut app, "SAVEPOINT s");
                execute(&mut app, settings);
                assert_eq!(
                    titles(&mut app, list),
                    expected,
                    "{who} {tenant:?}, {name}: {definition}"
                );
                execute(&mut app, "ROLLBACK TO s");
            }
            execute(&mut app, "ROLLBACK");
        }
    }
    assert!(most > 100, "hardly anything is seen: {definition}");
}

fn thing_table(key: &str, more: &str) -> String {
    format!("CREATE TABLE public.thing (tenant uuid NOT NULL, key {key} NOT NULL, team uuid, owner uuid{more})")
}

#[test]
fn keys_of_every_type() {
    things(&thing_table("integer", ""), "n", None);
    things(
        &thing_table("bigint", ", UNIQUE (tenant, key)"),
        "n::bigint << 20",
        None,
    );
    things(&thing_table("smallint", ", UNIQUE (key, tenant)"), "n - 1500", None);
    things(
        &thing_table("uuid", ", PRIMARY KEY (tenant, key)"),
        "md5(n::text)::uuid",
        None,
    );
    things(
        &thing_table("varchar(50)", ", PRIMARY KEY (tenant, key)"),
        "'k' || n",
        None,
    );
}

#[test]
fn text_keys_that_look_like_others() {
    // In upper case, with zeros in front, with blanks: different keys, whatever they look like.
    things(
        &thing_table("text", ", PRIMARY KEY (tenant, key)"),
        "CASE n % 4 WHEN 0 THEN n::text WHEN 1 THEN '00' || n WHEN 2 THEN md5((n / 4)::text)::uuid::text
              ELSE upper(md5((n / 4)::text)::uuid::text) END",
        None,
    );
}

#[test]
fn keys_that_are_in_two_tenants() {
    things(
        &thing_table(
            "integer",
            ", PRIMARY KEY (tenant, key, owner_n), owner_n integer DEFAULT random() * 1e9",
        ),
        "n / 2 * 2 + n % 3 / 2",
        None,
    );
}

#[test]
fn scopes_kept_as_text() {
    things(
        "CREATE TABLE public.thing (tenant uuid NOT NULL, key integer NOT NULL, team text, owner varchar(40));
         CREATE FUNCTION public.spell() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN NEW.team := CASE NEW.key % 4 WHEN 0 THEN upper(NEW.team) WHEN 1 THEN '{' || NEW.team || '}' ELSE NEW.team END; RETURN NEW; END $$;
         CREATE TRIGGER spell BEFORE INSERT ON public.thing FOR EACH ROW EXECUTE FUNCTION public.spell()",
        "n",
        None,
    );
}

#[test]
fn partitioned_tables() {
    things(
        &thing_table(
            "integer",
            ", PRIMARY KEY (tenant, key)) PARTITION BY HASH (tenant);
             CREATE TABLE public.thing_0 PARTITION OF public.thing FOR VALUES WITH (MODULUS 2, REMAINDER 0);
             CREATE TABLE public.thing_1 (owner uuid, gone text, team uuid, key integer NOT NULL, tenant uuid NOT NULL);
             ALTER TABLE public.thing_1 DROP COLUMN gone;
             ALTER TABLE public.thing ATTACH PARTITION public.thing_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1",
        ),
        "n",
        None,
    );
}

#[test]
fn policies_by_hand() {
    for policy in [
        "authz_can('thing.view', key)",
        "authz_can('thing.view'::text, key::bigint)",
        "authz_can(authz_principal(), 'thing.view', key) AND (authz_tenant() IS NULL OR tenant = authz_tenant())",
        "authz_can(authz_principal(), 'thing.view', key, tenant) AND (authz_tenant() IS NULL OR tenant = authz_tenant())",
        "authz_can(authz_principal(), 'thing.view', key, tenant, NULL) AND tenant IS NOT DISTINCT FROM coalesce(authz_tenant(), tenant)",
        "authz_row('thing.view', key, tenant, team => team, owner => owner)",
        "authz_can('thing.view', key::text)",
    ] {
        things(
            &thing_table("integer", ", PRIMARY KEY (tenant, key)"),
            "n",
            Some(policy),
        );
    }
}

#[test]
fn indexes_of_other_kinds() {
    for index in [
        "CREATE INDEX ON public.thing USING hash (key); CREATE INDEX ON public.thing USING brin (tenant, team, key",
        "CREATE INDEX ON public.thing (key text_pattern_ops); CREATE INDEX ON public.thing USING spgist (key",
        "CREATE INDEX ON public.thing (key COLLATE \"C\" DESC) WHERE team IS NULL; CREATE INDEX ON public.thing (lower(key)",
    ] {
        things(
            &thing_table("text", &format!("); {index}")),
            "'k' || n",
            Some("authz_can('thing.view', key)"),
        );
    }
}

/// The check has nothing but the key, which two tenants use. Whichever of its rows it takes it for: a row of a tenant in
/// which nothing was given is not shown.
#[test]
fn a_policy_by_hand_does_not_take_a_row_for_that_of_another_tenant() {
    for unique in ["", ", UNIQUE (tenant, key)"] {
        let db = Db::new();
        let mut c = db.connect();
        execute(&mut c, &thing_table("integer", unique));
        let (acme, globex) = (make::tenant(&mut c, "acme"), make::tenant(&mut c, "globex"));
        execute(
            &mut c,
            &format!(
                "INSERT INTO authz.permission_definition (permission_code, resource_type, action_code) VALUES ('thing.view', 'thing', 'view');
                 INSERT INTO authz.resource_type (resource_type, target, key_column, tenant_column) VALUES ('thing', 'public.thing', 'key', 'tenant');
                 INSERT INTO public.thing (tenant, key) VALUES ('{acme}', 1), ('{acme}', 2), ('{globex}', 1);
                 ALTER TABLE public.thing ENABLE ROW LEVEL SECURITY;
                 CREATE POLICY by_hand ON public.thing USING (authz_can('thing.view', key))"
            ),
        );
        make::role(&mut c, "holder", &["thing.view"]);
        make::member(&mut c, acme, "alice");
        make::assign(&mut c, acme, id("alice"), "holder", "tenant", acme);
        let role = application(&db, &mut c);
        let mut app = db.connect_as(&role);
        let list = "SELECT tenant::text || ' ' || key FROM public.thing ORDER BY 1";
        for tenant in [None, Some(acme), Some(globex)] {
            act(&mut app, id("alice"), tenant, "{}");
            let found = titles(&mut app, list);
            assert!(
                found.iter().all(|row| row.starts_with(&acme.to_string())),
                "tenant {tenant:?}{unique}: {found:?}"
            );
            let sees_the_other = found.contains(&format!("{acme} 2"));
            assert_eq!(
                sees_the_other,
                tenant != Some(globex),
                "tenant {tenant:?}{unique}: {found:?}"
            );
            execute(&mut app, "ROLLBACK");
        }
    }
}
