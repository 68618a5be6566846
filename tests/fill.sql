-- One row or more in each table that a database owner fills by hand. Every INSERT names the columns that callers rely on
-- (tests/surface.rs), and no others.

INSERT INTO authz.tenant (tenant_id, slug, name, status, settings)
VALUES ('0a000000-0000-4000-8000-000000000001', 'acme', 'Acme', 'active', '{}'),
       ('0a000000-0000-4000-8000-000000000002', 'globex', 'Globex', 'active', '{"region": "eu"}');
INSERT INTO authz.organization (tenant_id, organization_id, parent_organization_id, name)
VALUES ('0a000000-0000-4000-8000-000000000001', '0c000000-0000-4000-8000-000000000001', NULL, 'Group'),
       ('0a000000-0000-4000-8000-000000000001', '0c000000-0000-4000-8000-000000000002',
        '0c000000-0000-4000-8000-000000000001', 'Branch');
INSERT INTO authz.team (tenant_id, team_id, parent_team_id, organization_id, name)
VALUES ('0a000000-0000-4000-8000-000000000001', '0d000000-0000-4000-8000-000000000001', NULL,
        '0c000000-0000-4000-8000-000000000001', 'Office');
INSERT INTO authz.project (tenant_id, project_id, organization_id, name)
VALUES ('0a000000-0000-4000-8000-000000000001', '0e000000-0000-4000-8000-000000000001',
        '0c000000-0000-4000-8000-000000000001', 'Move');

INSERT INTO authz.principal (principal_id, principal_type, external_id, email, display_name, status, locked_until, db_role)
VALUES ('0b000000-0000-4000-8000-000000000001', 'human', 'ada', 'ada@acme.example', 'Ada', 'active', NULL, NULL),
       ('0b000000-0000-4000-8000-000000000002', 'service', 'mailer', NULL, 'Mailer', 'active', NULL, 'mailer'),
       ('0b000000-0000-4000-8000-000000000003', 'system', 'night', NULL, 'Night run', 'locked', now() + interval '1 hour', NULL);
INSERT INTO authz.profile (user_id, email, full_name, phone, avatar_file_id, is_super_admin, metadata, created_at, updated_at)
VALUES ('0b000000-0000-4000-8000-000000000001', 'ada@acme.example', 'Ada', '+44 20', gen_random_uuid(), false, '{}', now(), now());
INSERT INTO authz.operator_profile (principal_id, operator_role, clearance_level, mfa_enabled, alert_quota, assigned_clients,
                                    is_admin)
VALUES ('0b000000-0000-4000-8000-000000000001', 'MDR Lead', 'L2', true, 3, 1, false),
       ('0b000000-0000-4000-8000-000000000002', 'Night Shift', 'L3', false, 0, 0, true);
INSERT INTO authz.account_security (principal_id, email_verified, password_hash, mfa_enabled, mfa_secret_encrypted,
                                    failed_login_attempts, locked_until, last_login_at, password_changed_at)
VALUES ('0b000000-0000-4000-8000-000000000001', true, 'argon2', true, '\x00', 0, NULL, now(), now());
INSERT INTO authz.tenant_membership (tenant_id, principal_id, status, member_kind, invited_by, joined_at, expires_at, revoked_at)
VALUES ('0a000000-0000-4000-8000-000000000001', '0b000000-0000-4000-8000-000000000001', 'active', 'member', NULL,
        now() - interval '1 day', NULL, NULL),
       ('0a000000-0000-4000-8000-000000000001', '0b000000-0000-4000-8000-000000000002', 'suspended', 'external',
        '0b000000-0000-4000-8000-000000000001', now(), now() + interval '1 day', NULL),
       ('0a000000-0000-4000-8000-000000000002', '0b000000-0000-4000-8000-000000000001', 'revoked', 'member', NULL,
        now() - interval '1 day', NULL, now());
INSERT INTO authz.tenant_principal_profile (tenant_id, principal_id, display_name, status)
VALUES ('0a000000-0000-4000-8000-000000000001', '0b000000-0000-4000-8000-000000000001', 'Ada (Acme)', 'active');

INSERT INTO authz.role_definition (role_code, role_name, role_kind, is_system_role, description)
VALUES ('clerk', 'Clerk', 'custom', false, 'Reads.'), ('chief', 'Chief', 'custom', false, NULL),
       ('invoice.owner', 'Owner', 'system', true, NULL);
INSERT INTO authz.role_inheritance (role_code, inherited_role_code, valid_from, valid_until)
VALUES ('chief', 'clerk', now(), NULL);
INSERT INTO authz.permission_definition (permission_code, resource_type, action_code, description, requires_mfa)
VALUES ('invoice.view', 'invoice', 'view', 'Read it.', false), ('invoice.edit', 'invoice', 'edit', NULL, true);
INSERT INTO authz.permission_implication (permission_code, implied_permission_code) VALUES ('invoice.edit', 'invoice.view');
INSERT INTO authz.role_permission (role_code, permission_code, condition, obligations, valid_from, valid_until)
VALUES ('clerk', 'invoice.view', 'resource.amount < 100', '{"max_records": 3}', now(), NULL),
       ('invoice.owner', 'invoice.edit', NULL, NULL, now(), now() + interval '1 year');

INSERT INTO authz.team_membership_history (tenant_id, team_id, principal_id, role_code, valid_from, valid_until, granted_by)
VALUES ('0a000000-0000-4000-8000-000000000001', '0d000000-0000-4000-8000-000000000001',
        '0b000000-0000-4000-8000-000000000001', 'chief', now(), NULL, NULL);
INSERT INTO authz.principal_role_assignment (assignment_id, tenant_id, principal_id, role_code, scope_type, scope_id, granted_by,
                                             granted_at, expires_at, revoked_at, reason)
VALUES (gen_random_uuid(), NULL, '0b000000-0000-4000-8000-000000000002', 'chief', 'platform', NULL, NULL, now(), NULL, NULL, NULL),
       (gen_random_uuid(), '0a000000-0000-4000-8000-000000000001', '0b000000-0000-4000-8000-000000000001', 'clerk',
        'organization', '0c000000-0000-4000-8000-000000000002', '0b000000-0000-4000-8000-000000000002',
        now() - interval '1 hour', now() + interval '1 day', now(), 'Stood in.'),
       (gen_random_uuid(), '0a000000-0000-4000-8000-000000000001', '0b000000-0000-4000-8000-000000000001', 'clerk',
        'invoice', '4711', NULL, now(), NULL, NULL, 'Of a type that is registered further below.');
INSERT INTO authz.resource_access_grant (grant_id, tenant_id, resource_type, resource_id, grantee_type, grantee_id,
                                         permission_code, granted_by, granted_at, expires_at, revoked_at, reason)
VALUES (gen_random_uuid(), '0a000000-0000-4000-8000-000000000001', 'invoice', '4712', 'team',
        '0d000000-0000-4000-8000-000000000001', 'invoice.view', NULL, now(), NULL, NULL, 'Shared.'),
       (gen_random_uuid(), '0a000000-0000-4000-8000-000000000001', 'invoice', '4713', 'role', 'clerk', 'invoice.view',
        NULL, now(), NULL, NULL, NULL);
INSERT INTO authz.resource_access_rule (rule_id, tenant_id, resource_type, resource_id, effect, grantee_type, grantee_id,
                                        permission_code, priority, valid_from, valid_until, created_by, created_at)
VALUES (gen_random_uuid(), '0a000000-0000-4000-8000-000000000001', 'invoice', '4713', 'deny', 'principal',
        '0b000000-0000-4000-8000-000000000001', 'invoice.view', 10, now(), NULL, NULL, now());

CREATE TABLE public.invoice (
    tenant_id  uuid NOT NULL,
    invoice_id bigint PRIMARY KEY,
    branch     uuid,
    office     uuid,
    project    uuid,
    owner      uuid,
    level      text,
    gone_at    timestamptz,
    amount     numeric
);
INSERT INTO authz.resource_type (resource_type, target, key_column, tenant_column, organization_column, team_column,
                                 project_column, owner_column, confidentiality_column, deleted_at_column, parent_type,
                                 parent_column, owner_role, clearance)
VALUES ('invoice', 'public.invoice', 'invoice_id', 'tenant_id', 'branch', 'office', 'project', 'owner', 'level', 'gone_at',
        NULL, NULL, 'invoice.owner', '{"restricted": "L2", "sealed": "L3"}');
INSERT INTO authz.privileged_access_session (session_id, session_kind, principal_id, tenant_id, scope_type, scope_id,
                                             access_reason, ticket_reference, includes_sensitive, requested_at, approved_by,
                                             approved_at, started_at, expires_at, ended_at, reviewed_by, reviewed_at)
VALUES (gen_random_uuid(), 'support', '0b000000-0000-4000-8000-000000000001', '0a000000-0000-4000-8000-000000000002',
        NULL, NULL, 'Asked for help.', 'T-1', false, now(), '0b000000-0000-4000-8000-000000000002', now(), now(),
        now() + interval '1 hour', NULL, NULL, NULL);
INSERT INTO authz.data_classification (target, column_name, classification, reason, owner_team)
VALUES ('public.invoice', 'amount', 'confidential', 'What customers pay.', NULL);
INSERT INTO authz.access_audit_event (audit_id, tenant_id, principal_id, action_code, resource_type, resource_id,
                                      access_result, policy_reason, request_id, support_session_id, source_ip, user_agent,
                                      occurred_at, context)
VALUES (gen_random_uuid(), NULL, NULL, 'import', NULL, NULL, 'denied', NULL, NULL, NULL, NULL, NULL, now(), '{}');
