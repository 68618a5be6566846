//! A table with something to hide, and people who see different parts of it.
//!
//! | who | what |
//! |---|---|
//! | ida | sees everybody in acme, and all of them |
//! | hana | sees everybody in acme, all of team north; may reveal anywhere in acme |
//! | ben | sees team north |
//! | gus | sees everybody in globex, and reveals there |
//!
//! `person`: 1, 3 and 5 of team north, 2 and 4 of team south, 9 of globex.

use postgres::Client;

use crate::make::{self, id};
use crate::{Db, Start, execute};

/// The table, its owner and a role that reads.
pub struct People {
    /// Where it is.
    pub db: Db,
    /// Owns the table, and may use what is needed to classify and to make views.
    pub owner: String,
    /// May begin sessions, call `authz_reveal`, and nothing else.
    pub app: String,
}

/// What a reader of the safe view sees of somebody: all columns but tenant and team, as text.
pub const SHOWN: &str = "concat_ws('|', id, name, ssn, email, born, seen, pay, rate, card, ext, note)";

impl People {
    /// Makes it, without any classes.
    pub fn bare() -> People {
        let db = Db::with(Start::Extension);
        let mut c = db.connect();
        let (owner, app) = (db.role(), db.role());
        let prefix = crate::casework::install_roles(&db);
        let (acme, globex) = (make::tenant(&mut c, "acme"), make::tenant(&mut c, "globex"));
        make::team(&mut c, acme, "north", None, None);
        make::team(&mut c, acme, "south", None, None);
        execute(
            &mut c,
            &format!(
                "INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
                 SELECT 'person.' || a, 'person', a FROM unnest('{{view,create,edit,reveal,view_pii,view_secret}}'::text[]) AS a;
                 GRANT {prefix}migration TO {owner}; GRANT CREATE ON SCHEMA public TO {owner};
                 GRANT EXECUTE ON FUNCTION authz_set_session TO {app};
                 GRANT EXECUTE ON FUNCTION authz_reveal(regclass, text, text, text), authz_reveal(regclass, uuid, text, text),
                     authz_reveal(regclass, bigint, text, text) TO {app};
                 CREATE DOMAIN public.email AS text CHECK (value ~ '@') NOT NULL"
            ),
        );
        make::role(&mut c, "viewer", &["person.view"]);
        make::role(&mut c, "pii", &["person.view_pii"]);
        make::role(&mut c, "revealer", &["person.reveal"]);
        for (tenant, who) in [(acme, "ida"), (acme, "hana"), (acme, "ben"), (globex, "gus")] {
            make::member(&mut c, tenant, who);
        }
        for (tenant, who, role, scope_type, scope) in [
            (acme, "ida", "viewer", "tenant", acme),
            (acme, "ida", "pii", "tenant", acme),
            (acme, "hana", "viewer", "tenant", acme),
            (acme, "hana", "pii", "team", id("north")),
            (acme, "hana", "revealer", "tenant", acme),
            (acme, "ben", "viewer", "team", id("north")),
            (globex, "gus", "viewer", "tenant", globex),
            (globex, "gus", "revealer", "tenant", globex),
        ] {
            make::assign(&mut c, tenant, id(who), role, scope_type, scope);
        }
        let people = People { db, owner, app };
        execute(
            &mut people.table_owner(),
            "CREATE TABLE public.person (
                 tenant_id uuid NOT NULL, id integer PRIMARY KEY, gone text, team uuid, name text, ssn varchar(20), email public.email,
                 born date, seen timestamptz, pay integer, rate float8, card text, ext uuid, note text);
             ALTER TABLE public.person DROP COLUMN gone;
             CREATE INDEX person_tenant ON public.person (tenant_id); CREATE INDEX person_team ON public.person (team);
             CREATE INDEX person_name ON public.person (name); CREATE INDEX person_ssn ON public.person (ssn);
             SELECT * FROM authz_protect('public.person', 'person', key => 'id', tenant => 'tenant_id', team => 'team')",
        );
        execute(
            &mut c,
            &format!(
                "INSERT INTO public.person
                 SELECT CASE i WHEN 9 THEN '{globex}' ELSE '{acme}' END::uuid, i,
                        CASE WHEN i = 9 THEN NULL WHEN i % 2 = 1 THEN '{}' ELSE '{}' END::uuid,
                        'name ' || i, '222-22-000' || i, 'p' || i || '@example.org', '1980-05-17', '2020-03-04 05:06:07+00',
                        10000 * i + 7, 1000 * i + 0.5, '411111111111000' || i, '{}', 'note ' || i
                 FROM unnest('{{1,2,3,4,5,9}}'::integer[]) AS i; ANALYZE public.person",
                id("north"),
                id("south"),
                id("ext")
            ),
        );
        people
    }

    /// Makes it, with classes, masks of all kinds, and the view `person_safe`, which the reader may read.
    pub fn masked() -> People {
        let people = People::bare();
        execute(
            &mut people.table_owner(),
            &format!(
                "SELECT authz_classify('person', 'name', 'internal', 'everybody knows it');
                 SELECT authz_classify('person', c, 'pii', 'data protection law') FROM unnest('{{ssn,email,born,seen,pay,rate,card,ext}}'::text[]) AS c;
                 SELECT authz_mask('person', 'ssn', 'hash'), authz_mask('person', 'email', 'fixed', '{{\"value\": \"hidden@example.org\"}}'),
                        authz_mask('person', 'born', 'generalise', '{{\"to\": \"year\"}}'), authz_mask('person', 'seen', 'generalise'),
                        authz_mask('person', 'pay', 'generalise', '{{\"step\": 20000}}'),
                        authz_mask('person', 'rate', 'generalise', '{{\"step\": 1000}}'),
                        authz_mask('person', 'card', 'partial'), authz_mask('person', 'ext', 'hash');
                 SELECT authz_create_safe_view('person_safe', 'person');
                 GRANT SELECT ON person_safe TO {}",
                people.app
            ),
        );
        people
    }

    /// A superuser's connection.
    pub fn admin(&self) -> Client {
        self.db.connect()
    }

    /// A connection as the owner of the table.
    pub fn table_owner(&self) -> Client {
        self.db.connect_as(&self.owner)
    }

    /// A connection of the reading role, in the session of somebody.
    pub fn of(&self, who: &str) -> Client {
        let mut c = self.db.connect_as(&self.app);
        crate::session::act_as(&mut c, who);
        c
    }

    /// What somebody sees of the safe view, by number.
    pub fn shown(&self, who: &str) -> Vec<(i32, String)> {
        shown(&mut self.of(who), SHOWN)
    }
}

/// An expression over the safe view, by number.
#[track_caller]
pub fn shown(c: &mut Client, expression: &str) -> Vec<(i32, String)> {
    c.query(
        &format!("SELECT id, ({expression})::text FROM person_safe ORDER BY id"),
        &[],
    )
    .unwrap_or_else(|e| panic!("{}", crate::report(&e)))
    .iter()
    .map(|row| {
        (
            row.get(0),
            row.get::<_, Option<String>>(1).unwrap_or_else(|| "NULL".to_owned()),
        )
    })
    .collect()
}
