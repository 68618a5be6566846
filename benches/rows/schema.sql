-- The tables that the policies written by hand read (schema base), and those that they protect (schema data).
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE SCHEMA base;   -- the authorization tables
CREATE SCHEMA data;    -- the protected tables
CREATE SCHEMA app;     -- functions of the variants

-- deterministic ids: every id can be written down from a small number
CREATE FUNCTION app.uid(kind text, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
  AS $$ SELECT md5(kind || n::text)::uuid $$;
-- deterministic hash -> 0..m-1
CREATE FUNCTION app.h(k text, m bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
  AS $$ SELECT (hashtextextended(k, 42) & 9223372036854775807) % m $$;

CREATE TABLE base.tenant(tenant_id uuid PRIMARY KEY, name text NOT NULL);
CREATE TABLE base.organization(org_id uuid PRIMARY KEY, tenant_id uuid NOT NULL, name text NOT NULL);
CREATE TABLE base.team(team_id uuid PRIMARY KEY, tenant_id uuid NOT NULL, org_id uuid NOT NULL, name text NOT NULL);

CREATE TABLE base.principal(
  principal_id uuid PRIMARY KEY,
  status text NOT NULL CHECK (status IN ('active','suspended','disabled')));
CREATE TABLE base.tenant_membership(
  tenant_id uuid NOT NULL, principal_id uuid NOT NULL,
  status text NOT NULL CHECK (status IN ('active','suspended','ended')),
  PRIMARY KEY (principal_id, tenant_id));
CREATE TABLE base.role_definition(
  role_code text PRIMARY KEY, role_id uuid NOT NULL UNIQUE,    -- role_id: what grantee_id / subject_id hold for a role
  parent_role_code text REFERENCES base.role_definition);     -- a role inherits every permission of its parent
CREATE TABLE base.permission_definition(permission_code text PRIMARY KEY);
CREATE TABLE base.role_permission(
  role_code text NOT NULL, permission_code text NOT NULL, PRIMARY KEY (role_code, permission_code));
CREATE TABLE base.principal_role_assignment(
  assignment_id uuid PRIMARY KEY, tenant_id uuid, principal_id uuid NOT NULL, role_code text NOT NULL,
  scope_type text NOT NULL CHECK (scope_type IN ('platform','tenant','organization','team','case')),
  scope_id uuid, granted_at timestamptz NOT NULL, expires_at timestamptz, revoked_at timestamptz,
  CHECK ((scope_type = 'platform') = (scope_id IS NULL)));
CREATE TABLE base.team_membership(
  tenant_id uuid NOT NULL, team_id uuid NOT NULL, principal_id uuid NOT NULL,
  valid_from timestamptz NOT NULL, valid_until timestamptz,
  PRIMARY KEY (principal_id, team_id, valid_from));
CREATE TABLE base.resource_access_grant(
  grant_id uuid PRIMARY KEY, tenant_id uuid NOT NULL, resource_type text NOT NULL, resource_id uuid NOT NULL,
  grantee_type text NOT NULL CHECK (grantee_type IN ('principal','team','organization','role')),
  grantee_id uuid NOT NULL, permission_code text NOT NULL, expires_at timestamptz, revoked_at timestamptz);
CREATE TABLE base.resource_access_rule(
  rule_id uuid PRIMARY KEY, tenant_id uuid NOT NULL,
  effect text NOT NULL CHECK (effect IN ('deny')), priority int NOT NULL,   -- deny overrides; priority is only for reporting which rule
  subject_type text NOT NULL CHECK (subject_type IN ('any','principal','team','organization','role')),
  subject_id uuid,
  scope_type text NOT NULL CHECK (scope_type IN ('tenant','organization','team','case')),
  scope_id uuid NOT NULL, permission_code text,                            -- null: every permission
  expires_at timestamptz, disabled_at timestamptz);

CREATE TABLE data.case_record(
  tenant_id uuid NOT NULL, case_id uuid NOT NULL, owning_org_id uuid NOT NULL, owning_team_id uuid NOT NULL,
  case_number text NOT NULL, title text NOT NULL,
  confidentiality_level text NOT NULL CHECK (confidentiality_level IN ('normal','restricted','sealed')),
  status text NOT NULL, created_by uuid NOT NULL, created_at timestamptz NOT NULL);
-- child table, "protected the same way": it carries the columns the policy needs
CREATE TABLE data.case_item(
  tenant_id uuid NOT NULL, case_id uuid NOT NULL, item_id bigint NOT NULL,
  owning_org_id uuid NOT NULL, owning_team_id uuid NOT NULL, confidentiality_level text NOT NULL,
  amount int NOT NULL, created_at timestamptz NOT NULL);
-- Where rows are inserted: like case_record, without rows.
CREATE TABLE data.case_inbox (LIKE data.case_record INCLUDING CONSTRAINTS);
