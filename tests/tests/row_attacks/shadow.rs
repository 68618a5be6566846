//! Names that take the place of others (R20, R21, PITFALLS 16).

use crate::world::End::{Refused, Rows};
use crate::world::{MINE, World, then_look};

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
