-- V6: hand-tuned "best practice": SECURITY DEFINER helper functions that return arrays, wrapped in (select ...) so that each is an InitPlan.
-- V6h: the same helpers as IN (select unnest(...)), which the planner turns into a hashed SubPlan.
-- Semantics without session tenant (auditor): the helpers cover every tenant of the principal.
-- The helpers are plpgsql with force_generic_plan, so that their plans are kept for the session.  As SQL functions they are planned anew in every
-- statement (0.4 .. 2.5 ms each, measured); without force_generic_plan the array parameters keep the planner on custom plans (2 .. 3 times slower).
CREATE OR REPLACE FUNCTION app.v6_tenants() RETURNS uuid[] LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE me uuid := current_setting('app.principal_id')::uuid; st uuid := nullif(current_setting('app.tenant_id', true),'')::uuid;
BEGIN
  RETURN (SELECT coalesce(array_agg(m.tenant_id), '{}') FROM base.tenant_membership m JOIN base.principal p ON p.principal_id = m.principal_id
   WHERE m.principal_id = me AND p.status = 'active' AND m.status = 'active' AND (st IS NULL OR m.tenant_id = st));
END $$;
-- roles and what they inherit
CREATE OR REPLACE VIEW app.role_anc AS
  WITH RECURSIVE x(role_code, anc) AS (SELECT role_code, role_code FROM base.role_definition
    UNION SELECT x.role_code, d.parent_role_code FROM x JOIN base.role_definition d ON d.role_code = x.anc WHERE d.parent_role_code IS NOT NULL)
  SELECT * FROM x;
-- scope ids of one kind at which the principal has the permission through a role ('platform': one null element)
CREATE OR REPLACE FUNCTION app.v6_scopes(perm text, kind text) RETURNS uuid[] LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE me uuid := current_setting('app.principal_id')::uuid; st uuid := nullif(current_setting('app.tenant_id', true),'')::uuid;
BEGIN
  RETURN (SELECT coalesce(array_agg(DISTINCT a.scope_id), '{}') FROM base.principal_role_assignment a
   WHERE a.principal_id = me AND a.scope_type = kind AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
     AND (a.scope_type = 'platform' OR st IS NULL OR a.tenant_id = st)
     AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                   UNION SELECT rd.parent_role_code FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.parent_role_code IS NOT NULL)
                 SELECT 1 FROM r JOIN base.role_permission rp ON rp.role_code = r.role_code WHERE rp.permission_code = perm));
END $$;
CREATE OR REPLACE FUNCTION app.v6_platform(perm text) RETURNS boolean LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
BEGIN RETURN cardinality(app.v6_scopes(perm, 'platform')) > 0; END $$;
-- who the principal is, as grantee or subject: ids = itself, its teams, its organizations; rt/rid = its roles (with inherited) and the tenant each is held in (null: platform)
DO $do$
DECLARE ident text := $i$
  SELECT array_agg(tm.team_id) || array_agg(DISTINCT t.org_id) || me INTO ids FROM base.team_membership tm JOIN base.team t ON t.team_id = tm.team_id
   WHERE tm.principal_id = me AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()) AND (st IS NULL OR tm.tenant_id = st);
  WITH RECURSIVE ro(tenant_id, role_code) AS (SELECT a.tenant_id, a.role_code FROM base.principal_role_assignment a
      WHERE a.principal_id = me AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now()) AND (a.scope_type = 'platform' OR st IS NULL OR a.tenant_id = st)
     UNION SELECT ro.tenant_id, d.parent_role_code FROM ro JOIN base.role_definition d ON d.role_code = ro.role_code WHERE d.parent_role_code IS NOT NULL)
  SELECT array_agg(coalesce(ro.tenant_id, st)), array_agg(d.role_id) INTO rt, rid FROM ro JOIN base.role_definition d ON d.role_code = ro.role_code;
$i$;
BEGIN
-- single cases: case-scope roles and ACL grants
EXECUTE format($f$CREATE OR REPLACE FUNCTION app.v6_cases(perm text) RETURNS uuid[] LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS %L$f$, $b$
DECLARE me uuid := current_setting('app.principal_id')::uuid; st uuid := nullif(current_setting('app.tenant_id', true),'')::uuid; ids uuid[]; rt uuid[]; rid uuid[];
BEGIN $b$ || ident || $b$
  RETURN (SELECT coalesce(array_agg(DISTINCT id), '{}') FROM (
    SELECT unnest(app.v6_scopes(perm, 'case')) AS id
    UNION ALL SELECT g.resource_id FROM base.resource_access_grant g
     WHERE g.grantee_id = ANY (ids) AND g.permission_code = perm AND g.resource_type = 'case' AND g.revoked_at IS NULL AND (g.expires_at IS NULL OR g.expires_at > now()) AND (st IS NULL OR g.tenant_id = st)
    UNION ALL SELECT g.resource_id FROM unnest(rt, rid) x(t, r) JOIN base.resource_access_grant g ON g.grantee_id = x.r AND g.tenant_id = x.t
     WHERE g.grantee_type = 'role' AND g.permission_code = perm AND g.resource_type = 'case' AND g.revoked_at IS NULL AND (g.expires_at IS NULL OR g.expires_at > now())
    UNION ALL SELECT g.resource_id FROM unnest(rt, rid) x(t, r) JOIN base.resource_access_grant g ON g.grantee_id = x.r
     WHERE x.t IS NULL AND g.grantee_type = 'role' AND g.permission_code = perm AND g.resource_type = 'case' AND g.revoked_at IS NULL AND (g.expires_at IS NULL OR g.expires_at > now())) q);
END $b$);
EXECUTE format($f$CREATE OR REPLACE FUNCTION app.v6_denied(perm text, kind text) RETURNS uuid[] LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS %L$f$, $b$
DECLARE me uuid := current_setting('app.principal_id')::uuid; st uuid := nullif(current_setting('app.tenant_id', true),'')::uuid; ids uuid[]; rt uuid[]; rid uuid[]; tn uuid[] := app.v6_tenants();
BEGIN $b$ || ident || $b$
  RETURN (SELECT coalesce(array_agg(DISTINCT d.scope_id), '{}') FROM base.resource_access_rule d
   WHERE d.effect = 'deny' AND d.disabled_at IS NULL AND (d.expires_at IS NULL OR d.expires_at > now()) AND (d.permission_code IS NULL OR d.permission_code = perm)
     AND d.scope_type = kind AND d.tenant_id = ANY (tn)
     AND (d.subject_type = 'any' OR (d.subject_type <> 'role' AND d.subject_id = ANY (ids))
       OR (d.subject_type = 'role' AND EXISTS (SELECT 1 FROM unnest(rt, rid) x(t, r) WHERE x.r = d.subject_id AND d.tenant_id = coalesce(x.t, d.tenant_id)))));
END $b$);
END $do$;

CALL app.variant_begin('v6');
DO $do$
DECLARE
  -- ARR(x): how the column is compared with the helper's array
  body text := $b$
   ( (select app.v6_platform('case.read'))
     OR tenant_id      <ANY app.v6_scopes('case.read','tenant')>
     OR owning_org_id  <ANY app.v6_scopes('case.read','organization')>
     OR owning_team_id <ANY app.v6_scopes('case.read','team')>
     OR case_id        <ANY app.v6_cases('case.read')> )
   AND ( confidentiality_level = 'normal'
     OR (confidentiality_level = 'restricted' AND ( (select app.v6_platform('case.view_restricted'))
        OR tenant_id      <ANY app.v6_scopes('case.view_restricted','tenant')>
        OR owning_org_id  <ANY app.v6_scopes('case.view_restricted','organization')>
        OR owning_team_id <ANY app.v6_scopes('case.view_restricted','team')>
        OR case_id        <ANY app.v6_scopes('case.view_restricted','case')> ))
     OR (confidentiality_level = 'sealed' AND ( (select app.v6_platform('case.view_sealed'))
        OR tenant_id      <ANY app.v6_scopes('case.view_sealed','tenant')>
        OR owning_org_id  <ANY app.v6_scopes('case.view_sealed','organization')>
        OR owning_team_id <ANY app.v6_scopes('case.view_sealed','team')>
        OR case_id        <ANY app.v6_scopes('case.view_sealed','case')> )))
   AND NOT ( tenant_id     <ANY app.v6_denied('case.read','tenant')>
        OR owning_org_id  <ANY app.v6_denied('case.read','organization')>
        OR owning_team_id <ANY app.v6_denied('case.read','team')>
        OR case_id        <ANY app.v6_denied('case.read','case')> )$b$;
  arr text := regexp_replace(body, '<ANY ([^>]*)>', '= ANY ((select \1)::uuid[])', 'g');
  hsh text := regexp_replace(body, '<ANY ([^>]*)>', 'IN (select unnest(\1))', 'g');
  one text := $q$ tenant_id = (select (app.v6_tenants())[1]) AND (select nullif(current_setting('app.tenant_id', true),'')) IS NOT NULL AND $q$;
  all_ text := $q$ tenant_id = ANY ((select app.v6_tenants())::uuid[]) AND $q$;
BEGIN
  CALL app.variant_policy('v6', one || arr);
  CALL app.variant_policy('v6', all_ || arr, true);
  CALL app.variant_begin('v6h');
  CALL app.variant_policy('v6h', one || hsh);
  CALL app.variant_policy('v6h', replace(all_, '= ANY ((select app.v6_tenants())::uuid[])', 'IN (select unnest(app.v6_tenants()))') || hsh, true);
END $do$;
