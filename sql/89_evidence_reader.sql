-- Whose evidence a reader of the views of evidence sees: of each tenant in which the session's principal holds audit.read
-- by standing authority; whoever may read authz.access_audit_event itself sees all, with or without a session. So the views
-- can be granted to roles that many share. They are security barriers: a condition of the reader's own never sees a
-- row that the reader does not.

CREATE FUNCTION authz.reads_all_evidence() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT has_table_privilege('authz.access_audit_event'::regclass, 'SELECT')
$$;
COMMENT ON FUNCTION authz.reads_all_evidence() IS
    'May the current role read the table of access events itself? Then views of evidence show it everything.';

CREATE FUNCTION authz.audited_tenants() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.tenant_id FROM authz.tenant AS t
    WHERE authz.session_principal() IS NOT NULL AND coalesce(authz.session_tenant(), t.tenant_id) = t.tenant_id
      AND authz.holds('audit.read', t.tenant_id, 'tenant', t.tenant_id::text)
$$;
COMMENT ON FUNCTION authz.audited_tenants() IS
    'The tenants in which the session''s principal holds audit.read: whose evidence the views show to it.';

CREATE FUNCTION authz.audits_platform() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT authz.session_tenant() IS NULL AND authz.holds('audit.read', NULL, 'platform', NULL)
$$;
COMMENT ON FUNCTION authz.audits_platform() IS
    'Does the session''s principal hold audit.read at platform scope, so that the views show it what belongs to no tenant?';
-- Executable by everybody: views call them with their reader's privileges, and they tell of the reader alone.
