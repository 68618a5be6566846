-- Opens the reference domain, by nothing but the public surface (R71): plain INSERTs and authz_protect. CREATE EXTENSION
-- does not define its permissions, roles and resource types: a database that has a type "case" of its own must not lose
-- it. They are rows, which a dump restores. The policies are not: a dump leaves out those of an extension's tables.
-- So CREATE EXTENSION makes the very policies that authz_protect makes (a test compares them), which let nobody through
-- until their permissions exist; authz_install_casework makes them anew.

DO $$
DECLARE
    p record;
BEGIN
    FOR p IN
        WITH policy (target, kind, call) AS (VALUES
            ('case_record', 'case', 'case_id, tenant_id, organization => owning_org_id, team => owning_team_id, '
                'owner => owner_principal_id, confidentiality => confidentiality_level, deleted => deleted_at IS NOT NULL'),
            ('case_assignment', 'assignment', 'assignment_id, tenant_id, parent => case_id::text'),
            ('case_ownership_history', 'ownership_history', 'history_id, tenant_id, parent => case_id::text'),
            ('case_sensitive_detail', 'sensitive_detail', 'case_id, tenant_id, parent => case_id::text'),
            ('case_document', 'document', 'document_id, tenant_id, confidentiality => confidentiality_level, parent => case_id::text'),
            ('case_decision', 'decision', 'decision_id, tenant_id, parent => case_id::text'),
            ('case_decision_transition', 'transition', 'transition_id, tenant_id, parent => decision_id::text'))
        SELECT y.target, c.name, c.verb,
               pg_catalog.replace(c.clauses, '$', pg_catalog.format('@extschema@.authz_row(%L, %s)', y.kind || '.' || c.action, y.call)) AS clauses
        FROM policy AS y
        CROSS JOIN (VALUES ('authz_select', 'SELECT', 'view', 'USING ($)', '{}'::text[]),
                           ('authz_insert', 'INSERT', 'create', 'WITH CHECK ($)', '{assignment,ownership_history,transition}'),
                           ('authz_update', 'UPDATE', 'edit', 'USING ($) WITH CHECK ($)', '{assignment,ownership_history,transition}'),
                           ('authz_delete', 'DELETE', 'delete', 'USING ($)',
                            '{assignment,ownership_history,transition,sensitive_detail,document,decision}')
                   ) AS c (name, verb, action, clauses, without)
        WHERE y.kind <> ALL (c.without)
    LOOP
        EXECUTE pg_catalog.format('CREATE POLICY %I ON casework.%I FOR %s %s', p.name, p.target, p.verb, p.clauses);
        EXECUTE pg_catalog.format('COMMENT ON POLICY %I ON casework.%I IS %L', p.name, p.target, authz.policy_mark());
    END LOOP;
END
$$;

CREATE FUNCTION authz_install_casework() RETURNS TABLE (step text, detail text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p record;
BEGIN
    INSERT INTO authz.permission_definition (permission_code, resource_type, action_code, requires_mfa)
    SELECT v.subject || '.' || a.action, v.subject, a.action, v.subject = 'decision' AND a.action IN ('approve', 'reject')
    FROM (VALUES
        ('case', '{view,create,edit,assign,transfer,seal,delete,restore,act_for,view_confidential,view_restricted,view_sealed,view_deleted}'::text[]),
        ('assignment', '{view}'),
        ('ownership_history', '{view}'),
        ('sensitive_detail', '{view,create,edit,view_pii,view_sensitive_pii,reveal}'),
        ('document', '{view,create,edit,download,view_restricted,view_sealed}'),
        ('decision', '{view,create,edit,submit,approve,reject,withdraw}'),
        ('transition', '{view}')) AS v (subject, actions),
        unnest(v.actions) AS a (action)
    ON CONFLICT (permission_code) DO NOTHING;

    -- A role that is there already is the database owner's, with what it has.
    FOR p IN
        WITH made AS (
            INSERT INTO authz.role_definition (role_code, role_name, role_kind, description)
            VALUES ('case_owner', 'Case owner', 'casework', 'What owning a case brings.'),
                   ('case_investigator', 'Investigator', 'casework', 'What being assigned to a case as investigator brings.'),
                   ('case_approver', 'Approver', 'casework', 'What being assigned to a case as approver brings.')
            ON CONFLICT (role_code) DO NOTHING
            RETURNING role_code)
        INSERT INTO authz.role_permission (role_code, permission_code)
        SELECT m.role_code, c.permission
        FROM made AS m
        JOIN (VALUES
            ('case_owner', '{case.view,case.view_confidential,case.edit,case.assign,assignment.view,ownership_history.view,sensitive_detail.view,sensitive_detail.view_pii,sensitive_detail.view_sensitive_pii,sensitive_detail.reveal,sensitive_detail.create,sensitive_detail.edit,document.view,document.create,document.edit,document.download,decision.view,decision.create,decision.edit,decision.submit,decision.withdraw,transition.view}'::text[]),
            ('case_investigator', '{case.view,case.view_confidential,case.edit,assignment.view,ownership_history.view,sensitive_detail.view,sensitive_detail.view_pii,sensitive_detail.view_sensitive_pii,sensitive_detail.reveal,sensitive_detail.create,sensitive_detail.edit,document.view,document.create,document.edit,document.download,decision.view,decision.create,decision.edit,decision.submit,decision.withdraw,transition.view}'),
            ('case_approver', '{case.view,case.view_confidential,assignment.view,document.view,document.download,decision.view,decision.approve,decision.reject,transition.view}')
        ) AS r (role_code, permissions) ON r.role_code = m.role_code,
        unnest(r.permissions) AS c (permission)
        RETURNING role_permission.role_code, role_permission.permission_code
    LOOP
        step := 'role'; detail := format('%s: %s', p.role_code, p.permission_code); RETURN NEXT;
    END LOOP;

    -- Parents first. All arguments are given, with their types: see 86_work.sql.
    FOR p IN
        SELECT * FROM (VALUES
            (1, 'case_record', 'case', 'case_id', 'owning_org_id', 'owning_team_id', 'owner_principal_id',
             'confidentiality_level', 'deleted_at', NULL, NULL),
            (2, 'case_assignment', 'assignment', 'assignment_id', NULL, NULL, NULL, NULL, NULL, 'case_id', 'case'),
            (3, 'case_ownership_history', 'ownership_history', 'history_id', NULL, NULL, NULL, NULL, NULL, 'case_id', 'case'),
            (4, 'case_sensitive_detail', 'sensitive_detail', 'case_id', NULL, NULL, NULL, NULL, NULL, 'case_id', 'case'),
            (5, 'case_document', 'document', 'document_id', NULL, NULL, NULL, 'confidentiality_level', NULL, 'case_id', 'case'),
            (6, 'case_decision', 'decision', 'decision_id', NULL, NULL, NULL, NULL, NULL, 'case_id', 'case'),
            (7, 'case_decision_transition', 'transition', 'transition_id', NULL, NULL, NULL, NULL, NULL, 'decision_id', 'decision')
        ) AS v (position, target, kind, key, organization, team, owner, level, deleted_at, parent, parent_kind)
        ORDER BY v.position
    LOOP
        RETURN QUERY SELECT * FROM @extschema@.authz_protect(
            format('casework.%I', p.target)::regclass, p.kind, p.key::name, 'tenant_id'::name, p.organization::name,
            p.team::name, NULL::name, p.owner::name, p.level::name, p.deleted_at::name, p.parent::name, p.parent_kind,
            NULL::text, NULL::text, NULL::text, NULL::text, false);
    END LOOP;
    UPDATE authz.resource_type AS t SET owner_role = 'case_owner' WHERE t.resource_type = 'case' AND t.owner_role IS NULL;

    INSERT INTO authz.resource_history
        (resource_type, attribute, target, key_column, tenant_column, value_column, from_column, until_column, kind_column, kind_value)
    SELECT 'case', v.attribute, 'casework.case_ownership_history'::regclass, 'case_id', 'tenant_id', 'owner_id',
           'assigned_at', 'unassigned_at', 'owner_type', v.kind
    FROM (VALUES ('owner', 'principal'), ('organization', 'organization'), ('team', 'team')) AS v (attribute, kind)
    ON CONFLICT (resource_type, attribute) DO NOTHING;
    step := 'history'; detail := 'owner, organization and team of cases: casework.case_ownership_history'; RETURN NEXT;

    RETURN QUERY SELECT * FROM casework.classify();
END
$$;
COMMENT ON FUNCTION authz_install_casework() IS
    'Defines the permissions and roles of the reference domain, protects its tables with authz_protect, and classifies their columns. Idempotent; for the owner of the database. Tells what it did.';
REVOKE ALL ON FUNCTION authz_install_casework() FROM PUBLIC;
