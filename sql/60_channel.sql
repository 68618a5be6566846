-- Channels: a trigger sends a relcache message for the number of what was changed, and each backend that hears it compiles
-- anew what depends on it. Hashed by subject, so that changing one principal's access leaves the others' compiled access in
-- place. The numbers are OIDs that no relation has: see src/pg/invalidation.rs.

-- What backends know the installation by: its OID is another one when the extension is dropped and created again, and
-- dropping it tells every backend.
CREATE TYPE authz.installation AS ();
REVOKE ALL ON TYPE authz.installation FROM PUBLIC;
COMMENT ON TYPE authz.installation IS 'Has no values: dropping it tells every backend that the extension is gone.';

-- Row triggers, because logical replication fires no statement triggers; ENABLE ALWAYS, because it applies changes as
-- a replica; TRUNCATE apart, because it has no rows.
DO $$
DECLARE
    t record;
BEGIN
    FOR t IN
        SELECT * FROM (VALUES
            ('tenant',                    $a$'tenant', 'tenant_id'$a$),
            ('tenant_status_history',     $a$'tenant', 'tenant_id'$a$),
            ('organization',              $a$'tenant', 'tenant_id', 'group', 'organization_id'$a$),
            ('team',                      $a$'tenant', 'tenant_id', 'group', 'team_id'$a$),
            ('project',                   $a$'tenant', 'tenant_id', 'group', 'project_id'$a$),
            ('principal',                 $a$'principal', 'principal_id', 'db_role', 'db_role'$a$),
            ('principal_status_history',  $a$'principal', 'principal_id'$a$),
            ('principal_lock_history',    $a$'principal', 'principal_id'$a$),
            ('operator_profile',          $a$'principal', 'principal_id'$a$),
            ('account_security',          $a$'principal', 'principal_id'$a$),
            ('tenant_membership',         $a$'principal', 'principal_id'$a$),
            ('tenant_membership_history', $a$'principal', 'principal_id'$a$),
            ('team_membership_history',   $a$'principal', 'principal_id'$a$),
            ('principal_role_assignment', $a$'principal', 'principal_id'$a$),
            ('privileged_access_session', $a$'principal', 'principal_id'$a$),
            ('resource_access_grant',     $a$'grantee', 'grantee_id'$a$),
            ('resource_access_rule',      $a$'grantee', 'grantee_id'$a$),
            ('permission_definition',     $a$'model', ''$a$),
            ('permission_implication',    $a$'model', ''$a$),
            ('role_permission',           $a$'model', ''$a$),
            ('role_definition',           $a$'shape', ''$a$),
            ('role_inheritance',          $a$'shape', ''$a$),
            ('resource_type',             $a$'shape', ''$a$),
            ('resource_history',          $a$'shape', ''$a$)
        ) AS t (name, arguments)
    LOOP
        EXECUTE pg_catalog.format(
            'CREATE TRIGGER invalidate AFTER INSERT OR UPDATE OR DELETE ON authz.%I
                 FOR EACH ROW EXECUTE FUNCTION authz.authority_changed(%s)', t.name, t.arguments);
        EXECUTE pg_catalog.format(
            'CREATE TRIGGER invalidate_all AFTER TRUNCATE ON authz.%I
                 FOR EACH STATEMENT EXECUTE FUNCTION authz.authority_changed(%s)', t.name, t.arguments);
        EXECUTE pg_catalog.format('ALTER TABLE authz.%I ENABLE ALWAYS TRIGGER invalidate', t.name);
        EXECUTE pg_catalog.format('ALTER TABLE authz.%I ENABLE ALWAYS TRIGGER invalidate_all', t.name);
    END LOOP;
END
$$;

-- What is stored must be usable: a condition parses, a resource type names a table and columns that fit. ALWAYS as
-- well: a row that arrives by replication is compiled here, too.
CREATE TRIGGER check_condition BEFORE INSERT OR UPDATE ON authz.role_permission
    FOR EACH ROW WHEN (NEW.condition IS NOT NULL) EXECUTE FUNCTION authz.check_condition();
ALTER TABLE authz.role_permission ENABLE ALWAYS TRIGGER check_condition;
CREATE TRIGGER check_resource_type BEFORE INSERT OR UPDATE ON authz.resource_type
    FOR EACH ROW EXECUTE FUNCTION authz.check_resource_type();
