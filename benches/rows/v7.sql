-- V7: a flattened table (principal, permission, scope) kept by triggers; the policy probes it.
-- V7h: the same table read once a statement through hashed IN sub-selects.
CALL app.variant_begin('v7');
CALL app.variant_begin('v7h');
DROP TABLE IF EXISTS app.effective_access CASCADE;
DROP VIEW IF EXISTS app.ea_view CASCADE;
CREATE TABLE app.effective_access(
  principal_id uuid NOT NULL, permission_code text NOT NULL,          -- '*': a deny rule on every permission
  effect text NOT NULL, via text NOT NULL,                            -- allow|deny; role|acl|rule
  scope_type text NOT NULL, scope_id uuid NOT NULL,                   -- tenant|organization|team|case (platform: one row a tenant the principal is a member of)
  tenant_id uuid NOT NULL, source_id uuid NOT NULL, valid_until timestamptz NOT NULL);
CREATE OR REPLACE VIEW app.role_perm AS SELECT DISTINCT x.role_code, rp.permission_code FROM app.role_anc x JOIN base.role_permission rp ON rp.role_code = x.anc;
-- what the table must hold; every branch lets principal_id and source_id be pushed down
CREATE VIEW app.ea_view AS
SELECT principal_id, permission_code, effect, via, scope_type, scope_id, tenant_id, source_id, max(valid_until) AS valid_until FROM (
  -- roles
  SELECT a.principal_id, rp.permission_code, 'allow' AS effect, 'role' AS via,
         CASE a.scope_type WHEN 'platform' THEN 'tenant' ELSE a.scope_type END AS scope_type,
         CASE a.scope_type WHEN 'platform' THEN m.tenant_id ELSE a.scope_id END AS scope_id, m.tenant_id, a.assignment_id AS source_id, coalesce(a.expires_at,'infinity') AS valid_until
    FROM base.principal_role_assignment a
    JOIN base.principal p ON p.principal_id = a.principal_id AND p.status = 'active'
    JOIN base.tenant_membership m ON m.principal_id = a.principal_id AND m.status = 'active' AND (a.scope_type = 'platform' OR m.tenant_id = a.tenant_id)
    JOIN app.role_perm rp ON rp.role_code = a.role_code
   WHERE a.revoked_at IS NULL
  UNION ALL
  -- ACL grants: to the principal, its teams, its organizations, its roles
  SELECT i.principal_id, g.permission_code, 'allow', 'acl', g.resource_type, g.resource_id, g.tenant_id, g.grant_id, least(coalesce(g.expires_at,'infinity'), i.valid_until)
    FROM (SELECT m.principal_id, m.tenant_id, 'principal' AS kind, m.principal_id AS id, 'infinity'::timestamptz AS valid_until FROM base.tenant_membership m
          UNION ALL SELECT tm.principal_id, tm.tenant_id, 'team', tm.team_id, coalesce(tm.valid_until,'infinity') FROM base.team_membership tm
          UNION ALL SELECT tm.principal_id, tm.tenant_id, 'organization', t.org_id, coalesce(tm.valid_until,'infinity') FROM base.team_membership tm JOIN base.team t ON t.team_id = tm.team_id
          UNION ALL SELECT a.principal_id, m.tenant_id, 'role', d.role_id, coalesce(a.expires_at,'infinity') FROM base.principal_role_assignment a
              JOIN base.tenant_membership m ON m.principal_id = a.principal_id AND (a.scope_type = 'platform' OR m.tenant_id = a.tenant_id)
              JOIN app.role_anc x ON x.role_code = a.role_code JOIN base.role_definition d ON d.role_code = x.anc WHERE a.revoked_at IS NULL) i
    JOIN base.resource_access_grant g ON g.grantee_id = i.id AND g.grantee_type = i.kind AND g.tenant_id = i.tenant_id
    JOIN base.principal p ON p.principal_id = i.principal_id AND p.status = 'active'
    JOIN base.tenant_membership mm ON mm.principal_id = i.principal_id AND mm.tenant_id = g.tenant_id AND mm.status = 'active'
   WHERE g.revoked_at IS NULL AND g.resource_type = 'case'
  UNION ALL
  -- deny rules
  SELECT i.principal_id, coalesce(d.permission_code,'*'), 'deny', 'rule', d.scope_type, d.scope_id, d.tenant_id, d.rule_id, least(coalesce(d.expires_at,'infinity'), i.valid_until)
    FROM (SELECT m.principal_id, m.tenant_id, 'any' AS kind, NULL::uuid AS id, 'infinity'::timestamptz AS valid_until FROM base.tenant_membership m
          UNION ALL SELECT m.principal_id, m.tenant_id, 'principal', m.principal_id, 'infinity' FROM base.tenant_membership m
          UNION ALL SELECT tm.principal_id, tm.tenant_id, 'team', tm.team_id, coalesce(tm.valid_until,'infinity') FROM base.team_membership tm
          UNION ALL SELECT tm.principal_id, tm.tenant_id, 'organization', t.org_id, coalesce(tm.valid_until,'infinity') FROM base.team_membership tm JOIN base.team t ON t.team_id = tm.team_id
          UNION ALL SELECT a.principal_id, m.tenant_id, 'role', d.role_id, coalesce(a.expires_at,'infinity') FROM base.principal_role_assignment a
              JOIN base.tenant_membership m ON m.principal_id = a.principal_id AND (a.scope_type = 'platform' OR m.tenant_id = a.tenant_id)
              JOIN app.role_anc x ON x.role_code = a.role_code JOIN base.role_definition d ON d.role_code = x.anc WHERE a.revoked_at IS NULL) i
    JOIN base.resource_access_rule d ON d.subject_type = i.kind AND d.subject_id IS NOT DISTINCT FROM i.id AND d.tenant_id = i.tenant_id
    JOIN base.principal p ON p.principal_id = i.principal_id AND p.status = 'active'
    JOIN base.tenant_membership mm ON mm.principal_id = i.principal_id AND mm.tenant_id = d.tenant_id AND mm.status = 'active'
   WHERE d.disabled_at IS NULL
) q GROUP BY principal_id, permission_code, effect, via, scope_type, scope_id, tenant_id, source_id;

INSERT INTO app.effective_access SELECT * FROM app.ea_view WHERE valid_until > now();
CREATE UNIQUE INDEX ea_probe ON app.effective_access(principal_id, scope_id, permission_code, effect, via, source_id, tenant_id) INCLUDE (valid_until);
CREATE INDEX ea_list ON app.effective_access(principal_id, permission_code, effect, scope_type) INCLUDE (scope_id, via, valid_until);
CREATE INDEX ea_source ON app.effective_access(source_id);
VACUUM (FREEZE, ANALYZE) app.effective_access;

-- maintenance
CREATE OR REPLACE FUNCTION app.ea_sync_principal(p uuid) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended(p::text, 7));     -- two writers for one principal must not interleave
  DELETE FROM app.effective_access WHERE principal_id = p;
  INSERT INTO app.effective_access SELECT * FROM app.ea_view v WHERE v.principal_id = p AND v.valid_until > now();
END $$;
CREATE OR REPLACE FUNCTION app.ea_sync_source(s uuid) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  DELETE FROM app.effective_access WHERE source_id = s;
  INSERT INTO app.effective_access SELECT * FROM app.ea_view v WHERE v.source_id = s AND v.valid_until > now();
END $$;
CREATE OR REPLACE FUNCTION app.ea_trg_principal() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF TG_OP <> 'INSERT' THEN PERFORM app.ea_sync_principal(OLD.principal_id); END IF;
  IF TG_OP = 'INSERT' OR (TG_OP = 'UPDATE' AND NEW.principal_id <> OLD.principal_id) THEN PERFORM app.ea_sync_principal(NEW.principal_id); END IF;
  RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION app.ea_trg_grant() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN PERFORM app.ea_sync_source(coalesce(NEW.grant_id, OLD.grant_id)); RETURN NULL; END $$;
CREATE OR REPLACE FUNCTION app.ea_trg_rule() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN PERFORM app.ea_sync_source(coalesce(NEW.rule_id, OLD.rule_id)); RETURN NULL; END $$;
-- a permission of a role: every assignment of the role or of one below it
CREATE OR REPLACE FUNCTION app.ea_trg_roleperm() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE v_role text := coalesce(NEW.role_code, OLD.role_code); v_perm text := coalesce(NEW.permission_code, OLD.permission_code); s uuid[];
BEGIN
  SELECT array_agg(a.assignment_id) INTO s FROM base.principal_role_assignment a JOIN app.role_anc x ON x.role_code = a.role_code WHERE x.anc = v_role AND a.revoked_at IS NULL;
  DELETE FROM app.effective_access WHERE source_id = ANY (s) AND permission_code = v_perm AND via = 'role';
  INSERT INTO app.effective_access SELECT * FROM app.ea_view v WHERE v.source_id = ANY (s) AND v.permission_code = v_perm AND v.via = 'role' AND v.valid_until > now();
  RETURN NULL;
END $$;
-- the hierarchy itself changes rarely: rebuild
CREATE OR REPLACE FUNCTION app.ea_trg_hierarchy() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN DELETE FROM app.effective_access; INSERT INTO app.effective_access SELECT * FROM app.ea_view WHERE valid_until > now(); RETURN NULL; END $$;
CREATE OR REPLACE PROCEDURE app.ea_triggers(onoff boolean) LANGUAGE plpgsql AS $$
DECLARE r record;
BEGIN
  FOR r IN SELECT * FROM (VALUES ('principal','ea_trg_principal','ROW'),('tenant_membership','ea_trg_principal','ROW'),('principal_role_assignment','ea_trg_principal','ROW'),
      ('team_membership','ea_trg_principal','ROW'),('resource_access_grant','ea_trg_grant','ROW'),('resource_access_rule','ea_trg_rule','ROW'),
      ('role_permission','ea_trg_roleperm','ROW'),('role_definition','ea_trg_hierarchy','STATEMENT')) v(t,f,lvl) LOOP
    EXECUTE format('DROP TRIGGER IF EXISTS ea_sync ON base.%I', r.t);
    IF onoff THEN EXECUTE format('CREATE TRIGGER ea_sync AFTER INSERT OR UPDATE OR DELETE ON base.%I FOR EACH %s EXECUTE FUNCTION app.%I()', r.t, r.lvl, r.f); END IF;
  END LOOP;
END $$;
CALL app.ea_triggers(true);

-- Q5's point check
CREATE OR REPLACE FUNCTION app.v7_check(p_principal uuid, p_perm text, p_t uuid, p_c uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
SELECT EXISTS (SELECT 1 FROM data.case_record c WHERE c.tenant_id = p_t AND c.case_id = p_c
  AND (EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = p_principal AND e.scope_id = c.tenant_id AND e.permission_code = p_perm AND e.effect = 'allow' AND e.valid_until > now())
       OR EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = p_principal AND e.scope_id = c.owning_org_id AND e.permission_code = p_perm AND e.effect = 'allow' AND e.valid_until > now())
       OR EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = p_principal AND e.scope_id = c.owning_team_id AND e.permission_code = p_perm AND e.effect = 'allow' AND e.valid_until > now())
       OR EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = p_principal AND e.scope_id = c.case_id AND e.permission_code = p_perm AND e.effect = 'allow' AND e.valid_until > now()))
  AND (c.confidentiality_level = 'normal'
    OR (c.confidentiality_level = 'restricted' AND (EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = p_principal AND e.scope_id = c.tenant_id AND e.permission_code = 'case.view_restricted' AND e.effect = 'allow' AND e.via = 'role' AND e.valid_until > now())
       OR EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = p_principal AND e.scope_id = c.owning_org_id AND e.permission_code = 'case.view_restricted' AND e.effect = 'allow' AND e.via = 'role' AND e.valid_until > now())
       OR EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = p_principal AND e.scope_id = c.owning_team_id AND e.permission_code = 'case.view_restricted' AND e.effect = 'allow' AND e.via = 'role' AND e.valid_until > now())
       OR EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = p_principal AND e.scope_id = c.case_id AND e.permission_code = 'case.view_restricted' AND e.effect = 'allow' AND e.via = 'role' AND e.valid_until > now())))
    OR (c.confidentiality_level = 'sealed' AND (EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = p_principal AND e.scope_id = c.tenant_id AND e.permission_code = 'case.view_sealed' AND e.effect = 'allow' AND e.via = 'role' AND e.valid_until > now())
       OR EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = p_principal AND e.scope_id = c.owning_org_id AND e.permission_code = 'case.view_sealed' AND e.effect = 'allow' AND e.via = 'role' AND e.valid_until > now())
       OR EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = p_principal AND e.scope_id = c.owning_team_id AND e.permission_code = 'case.view_sealed' AND e.effect = 'allow' AND e.via = 'role' AND e.valid_until > now())
       OR EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = p_principal AND e.scope_id = c.case_id AND e.permission_code = 'case.view_sealed' AND e.effect = 'allow' AND e.via = 'role' AND e.valid_until > now()))))
  AND NOT (EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = p_principal AND e.scope_id = c.tenant_id AND e.permission_code IN (p_perm, '*') AND e.effect = 'deny' AND e.valid_until > now())
       OR EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = p_principal AND e.scope_id = c.owning_org_id AND e.permission_code IN (p_perm, '*') AND e.effect = 'deny' AND e.valid_until > now())
       OR EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = p_principal AND e.scope_id = c.owning_team_id AND e.permission_code IN (p_perm, '*') AND e.effect = 'deny' AND e.valid_until > now())
       OR EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = p_principal AND e.scope_id = c.case_id AND e.permission_code IN (p_perm, '*') AND e.effect = 'deny' AND e.valid_until > now())))
$f$;
DO $do$
DECLARE t text; v text; aud boolean; pre text; probe text; hashed text; me text := $q$(select current_setting('app.principal_id')::uuid)$q$;
BEGIN
  CALL app.variant_role('app_v7_aud'); CALL app.variant_role('app_v7h_aud');
  GRANT SELECT ON app.effective_access TO app_v7, app_v7_aud, app_v7h, app_v7h_aud;
  FOREACH t IN ARRAY ARRAY['case_record','case_item','case_inbox'] LOOP
    probe := replace(replace($q$
 (EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = @me AND e.scope_id = @t.tenant_id AND e.permission_code = 'case.read' AND e.effect = 'allow' AND e.valid_until > now())
       OR EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = @me AND e.scope_id = @t.owning_org_id AND e.permission_code = 'case.read' AND e.effect = 'allow' AND e.valid_until > now())
       OR EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = @me AND e.scope_id = @t.owning_team_id AND e.permission_code = 'case.read' AND e.effect = 'allow' AND e.valid_until > now())
       OR EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = @me AND e.scope_id = @t.case_id AND e.permission_code = 'case.read' AND e.effect = 'allow' AND e.valid_until > now()))
  AND (@t.confidentiality_level = 'normal'
    OR (@t.confidentiality_level = 'restricted' AND (EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = @me AND e.scope_id = @t.tenant_id AND e.permission_code = 'case.view_restricted' AND e.effect = 'allow' AND e.via = 'role' AND e.valid_until > now())
       OR EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = @me AND e.scope_id = @t.owning_org_id AND e.permission_code = 'case.view_restricted' AND e.effect = 'allow' AND e.via = 'role' AND e.valid_until > now())
       OR EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = @me AND e.scope_id = @t.owning_team_id AND e.permission_code = 'case.view_restricted' AND e.effect = 'allow' AND e.via = 'role' AND e.valid_until > now())
       OR EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = @me AND e.scope_id = @t.case_id AND e.permission_code = 'case.view_restricted' AND e.effect = 'allow' AND e.via = 'role' AND e.valid_until > now())))
    OR (@t.confidentiality_level = 'sealed' AND (EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = @me AND e.scope_id = @t.tenant_id AND e.permission_code = 'case.view_sealed' AND e.effect = 'allow' AND e.via = 'role' AND e.valid_until > now())
       OR EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = @me AND e.scope_id = @t.owning_org_id AND e.permission_code = 'case.view_sealed' AND e.effect = 'allow' AND e.via = 'role' AND e.valid_until > now())
       OR EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = @me AND e.scope_id = @t.owning_team_id AND e.permission_code = 'case.view_sealed' AND e.effect = 'allow' AND e.via = 'role' AND e.valid_until > now())
       OR EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = @me AND e.scope_id = @t.case_id AND e.permission_code = 'case.view_sealed' AND e.effect = 'allow' AND e.via = 'role' AND e.valid_until > now()))))
  AND NOT (EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = @me AND e.scope_id = @t.tenant_id AND e.permission_code IN ('case.read', '*') AND e.effect = 'deny' AND e.valid_until > now())
       OR EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = @me AND e.scope_id = @t.owning_org_id AND e.permission_code IN ('case.read', '*') AND e.effect = 'deny' AND e.valid_until > now())
       OR EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = @me AND e.scope_id = @t.owning_team_id AND e.permission_code IN ('case.read', '*') AND e.effect = 'deny' AND e.valid_until > now())
       OR EXISTS (SELECT 1 FROM app.effective_access e WHERE e.principal_id = @me AND e.scope_id = @t.case_id AND e.permission_code IN ('case.read', '*') AND e.effect = 'deny' AND e.valid_until > now())) $q$, '@me', me), '@t', t);
    hashed := replace($q$
      ( tenant_id IN (SELECT scope_id FROM app.effective_access e WHERE e.principal_id = @me AND e.permission_code = 'case.read' AND e.effect = 'allow' AND e.scope_type = 'tenant' AND e.valid_until > now())
        OR owning_org_id IN (SELECT scope_id FROM app.effective_access e WHERE e.principal_id = @me AND e.permission_code = 'case.read' AND e.effect = 'allow' AND e.scope_type = 'organization' AND e.valid_until > now())
        OR owning_team_id IN (SELECT scope_id FROM app.effective_access e WHERE e.principal_id = @me AND e.permission_code = 'case.read' AND e.effect = 'allow' AND e.scope_type = 'team' AND e.valid_until > now())
        OR case_id IN (SELECT scope_id FROM app.effective_access e WHERE e.principal_id = @me AND e.permission_code = 'case.read' AND e.effect = 'allow' AND e.scope_type = 'case' AND e.valid_until > now()) )
      AND ( confidentiality_level = 'normal'
        OR (confidentiality_level = 'restricted' AND (tenant_id IN (SELECT scope_id FROM app.effective_access e WHERE e.principal_id = @me AND e.permission_code = 'case.view_restricted' AND e.effect = 'allow' AND e.via = 'role' AND e.valid_until > now())
           OR owning_org_id IN (SELECT scope_id FROM app.effective_access e WHERE e.principal_id = @me AND e.permission_code = 'case.view_restricted' AND e.effect = 'allow' AND e.via = 'role' AND e.valid_until > now())
           OR owning_team_id IN (SELECT scope_id FROM app.effective_access e WHERE e.principal_id = @me AND e.permission_code = 'case.view_restricted' AND e.effect = 'allow' AND e.via = 'role' AND e.valid_until > now())
           OR case_id IN (SELECT scope_id FROM app.effective_access e WHERE e.principal_id = @me AND e.permission_code = 'case.view_restricted' AND e.effect = 'allow' AND e.via = 'role' AND e.valid_until > now())))
        OR (confidentiality_level = 'sealed' AND (tenant_id IN (SELECT scope_id FROM app.effective_access e WHERE e.principal_id = @me AND e.permission_code = 'case.view_sealed' AND e.effect = 'allow' AND e.via = 'role' AND e.valid_until > now())
           OR owning_org_id IN (SELECT scope_id FROM app.effective_access e WHERE e.principal_id = @me AND e.permission_code = 'case.view_sealed' AND e.effect = 'allow' AND e.via = 'role' AND e.valid_until > now())
           OR owning_team_id IN (SELECT scope_id FROM app.effective_access e WHERE e.principal_id = @me AND e.permission_code = 'case.view_sealed' AND e.effect = 'allow' AND e.via = 'role' AND e.valid_until > now())
           OR case_id IN (SELECT scope_id FROM app.effective_access e WHERE e.principal_id = @me AND e.permission_code = 'case.view_sealed' AND e.effect = 'allow' AND e.via = 'role' AND e.valid_until > now()))))
      AND NOT ( tenant_id IN (SELECT scope_id FROM app.effective_access e WHERE e.principal_id = @me AND e.permission_code IN ('case.read','*') AND e.effect = 'deny' AND e.scope_type = 'tenant' AND e.valid_until > now())
        OR owning_org_id IN (SELECT scope_id FROM app.effective_access e WHERE e.principal_id = @me AND e.permission_code IN ('case.read','*') AND e.effect = 'deny' AND e.scope_type = 'organization' AND e.valid_until > now())
        OR owning_team_id IN (SELECT scope_id FROM app.effective_access e WHERE e.principal_id = @me AND e.permission_code IN ('case.read','*') AND e.effect = 'deny' AND e.scope_type = 'team' AND e.valid_until > now())
        OR case_id IN (SELECT scope_id FROM app.effective_access e WHERE e.principal_id = @me AND e.permission_code IN ('case.read','*') AND e.effect = 'deny' AND e.scope_type = 'case' AND e.valid_until > now()) ) $q$, '@me', me);
    FOREACH v IN ARRAY ARRAY['v7','v7h'] LOOP
      FOREACH aud IN ARRAY ARRAY[false,true] LOOP
        pre := CASE WHEN aud THEN '' ELSE $q$tenant_id = (select nullif(current_setting('app.tenant_id', true),'')::uuid) AND $q$ END;
        EXECUTE format('CREATE POLICY %I ON data.%I FOR ALL TO %I USING (%s)', v||CASE WHEN aud THEN '_aud' ELSE '' END, t, 'app_'||v||CASE WHEN aud THEN '_aud' ELSE '' END,
          pre || CASE v WHEN 'v7' THEN probe ELSE hashed END);
      END LOOP;
    END LOOP;
  END LOOP;
END $do$;
