-- What happens to cases: who works on them, who owns them, sealing, deletion. In the way of 87_casework_decision.sql.

-- Checks, locks the case, checks again, and returns it.
CREATE FUNCTION casework.lock_case(permission text, tenant uuid, case_id uuid, actor uuid, reason text)
RETURNS casework.case_record
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c casework.case_record;
BEGIN
    PERFORM authz.demand_arguments(permission, 'case_id', case_id::text, 'actor', actor::text);
    tenant := casework.tenant_of(tenant, 'case', lock_case.case_id);
    PERFORM casework.demand(permission, actor, tenant, 'case', lock_case.case_id, lock_case.case_id);
    PERFORM authz.demand_reason(permission, tenant, 'case', lock_case.case_id::text, reason, true);
    SELECT * INTO c FROM casework.case_record AS x
    WHERE x.tenant_id = tenant AND x.case_id = lock_case.case_id FOR NO KEY UPDATE;
    PERFORM casework.demand(permission, actor, tenant, 'case', lock_case.case_id, lock_case.case_id);
    RETURN c;
END
$$;
COMMENT ON FUNCTION casework.lock_case(text, uuid, uuid, uuid, text) IS
    'The case, locked, if the actor may use the permission on it; refuses otherwise (42501).';
REVOKE ALL ON FUNCTION casework.lock_case(text, uuid, uuid, uuid, text) FROM PUBLIC;

CREATE FUNCTION casework.wrong_state(permission text, c casework.case_record, message text, hint text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT authz.refuse(permission, c.tenant_id, 'case', c.case_id::text, 'wrong_state', '55000', message, NULL, hint)
$$;
COMMENT ON FUNCTION casework.wrong_state(text, casework.case_record, text, text) IS 'Refuses (55000) what the case''s state does not allow.';
REVOKE ALL ON FUNCTION casework.wrong_state(text, casework.case_record, text, text) FROM PUBLIC;

CREATE FUNCTION casework.record(permission text, c casework.case_record, actor uuid, reason text, context jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT authz.sod_use(permission, 'case'::text, c.case_id::text, c.tenant_id, actor);
    SELECT authz.record_access(permission, 'case', c.case_id::text, c.tenant_id, 'allowed', NULL::text,
                               context || jsonb_build_object('reason', coalesce(reason, authz.change_reason())), actor)
$$;
COMMENT ON FUNCTION casework.record(text, casework.case_record, uuid, text, jsonb) IS
    'Writes the access event of what was done to a case; 23514 where a dynamic separation of duty forbids it.';
REVOKE ALL ON FUNCTION casework.record(text, casework.case_record, uuid, text, jsonb) FROM PUBLIC;

-- The history's trigger takes the reason from the setting, which afterwards says what it said before.
CREATE FUNCTION casework.set_owner(c casework.case_record, owner_type text, owner_id uuid, reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    said CONSTANT text := current_setting('authz.change_reason', true);
BEGIN
    PERFORM set_config('authz.change_reason', coalesce(reason, said), true);
    UPDATE casework.case_record AS x
    SET owning_org_id = CASE owner_type
            WHEN 'organization' THEN owner_id
            WHEN 'team' THEN coalesce((SELECT t.organization_id FROM authz.team AS t
                                       WHERE t.tenant_id = c.tenant_id AND t.team_id = owner_id), x.owning_org_id)
            ELSE x.owning_org_id END,
        owning_team_id = CASE owner_type WHEN 'organization' THEN NULL WHEN 'team' THEN owner_id ELSE x.owning_team_id END,
        owner_principal_id = CASE owner_type WHEN 'principal' THEN owner_id END
    WHERE x.tenant_id = c.tenant_id AND x.case_id = c.case_id;
    PERFORM set_config('authz.change_reason', coalesce(said, ''), true);
END
$$;
COMMENT ON FUNCTION casework.set_owner(casework.case_record, text, uuid, text) IS
    'Gives a case to an organization (then to no team or member), to a team (and its organization, and to no member), or to a member.';
REVOKE ALL ON FUNCTION casework.set_owner(casework.case_record, text, uuid, text) FROM PUBLIC;

CREATE FUNCTION transfer_case_ownership(
    tenant uuid, case_id uuid, owner_type text, owner_id uuid, actor uuid, reason text
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    action CONSTANT text := 'case.transfer';
    c      casework.case_record := casework.lock_case(action, tenant, case_id, actor, reason);
    now_is casework.case_record;
BEGIN
    tenant := c.tenant_id;
    PERFORM authz.demand_arguments(action, 'owner_type', owner_type, 'owner_id', owner_id::text);
    IF owner_type NOT IN ('organization', 'team', 'principal') THEN
        PERFORM authz.refuse_argument(action, tenant, 'case', case_id::text, format('there is no owner type %L', owner_type),
                                      'A case is owned by an organization, a team or a principal.');
    END IF;
    -- Nobody makes himself the owner, which brings a role.
    IF owner_type = 'principal' THEN
        PERFORM authz.demand_other(action, tenant, 'case', case_id::text, owner_id);
        IF owner_id = actor THEN
            PERFORM authz.refuse(action, tenant, 'case', case_id::text, 'own_authority', '42501',
                'nobody changes his own authority', 'The new owner is the actor.', 'Ask somebody else.');
        END IF;
        PERFORM authz.demand_member(action, tenant, 'case', case_id::text, owner_id);
    ELSIF NOT EXISTS (SELECT FROM authz.team AS t WHERE owner_type = 'team' AND t.tenant_id = tenant AND t.team_id = owner_id)
      AND NOT EXISTS (SELECT FROM authz.organization AS o
                      WHERE owner_type = 'organization' AND o.tenant_id = tenant AND o.organization_id = owner_id) THEN
        PERFORM authz.refuse_argument(action, tenant, 'case', case_id::text,
            format('there is no %s of that id in this tenant', owner_type), 'Look up the id of the new owner.');
    END IF;
    PERFORM casework.set_owner(c, owner_type, owner_id, reason);
    SELECT * INTO now_is FROM casework.case_record AS x WHERE x.tenant_id = tenant AND x.case_id = c.case_id;
    IF (now_is.owning_org_id, now_is.owning_team_id, now_is.owner_principal_id)
        IS NOT DISTINCT FROM (c.owning_org_id, c.owning_team_id, c.owner_principal_id) THEN
        PERFORM casework.wrong_state(action, c, 'the case belongs to that owner already', 'There is nothing to do.');
    END IF;
    PERFORM casework.record(action, c, actor, reason, jsonb_build_object('owner_type', owner_type, 'owner_id', owner_id));
END
$$;
COMMENT ON FUNCTION transfer_case_ownership(uuid, uuid, text, uuid, uuid, text) IS
    'Gives a case to another organization, team or member (owner_type: organization, team, principal); history is kept. Needs case.transfer and a reason.';
REVOKE ALL ON FUNCTION transfer_case_ownership(uuid, uuid, text, uuid, uuid, text) FROM PUBLIC;

-- case.assign is the right to appoint to these two roles, whatever the assigner may do himself; not to appoint himself.
CREATE FUNCTION assign_case(
    tenant uuid, case_id uuid, assignee uuid, actor uuid, reason text, assignment_role text DEFAULT 'investigator'
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    action CONSTANT text := 'case.assign';
    c      casework.case_record := casework.lock_case(action, tenant, case_id, actor, reason);
    role   uuid;
    made   uuid;
BEGIN
    tenant := c.tenant_id;
    PERFORM authz.demand_arguments(action, 'assignee', assignee::text, 'assignment_role', assignment_role);
    IF assignment_role NOT IN ('investigator', 'approver') THEN
        PERFORM authz.refuse_argument(action, tenant, 'case', case_id::text,
            format('there is no assignment role %L', assignment_role), 'Assign an investigator or an approver.');
    END IF;
    IF assignee IN (actor, authz.session_principal()) THEN
        PERFORM authz.refuse(action, tenant, 'case', case_id::text, 'own_authority', '42501',
            'nobody changes his own authority', 'The assignee is the actor, or the session''s principal.', 'Ask somebody else.');
    END IF;
    PERFORM authz.demand_member(action, tenant, 'case', case_id::text, assignee);
    IF c.deleted_at IS NOT NULL OR c.status <> 'open' THEN
        PERFORM casework.wrong_state(action, c, 'the case is not open', 'Only open cases are worked on.');
    END IF;
    IF EXISTS (SELECT FROM casework.case_assignment AS a
               WHERE a.tenant_id = tenant AND a.case_id = case_id AND a.principal_id = assignee
                 AND a.assignment_role = assignment_role AND a.unassigned_at IS NULL) THEN
        PERFORM casework.wrong_state(action, c, format('that member is assigned as %s already', assignment_role),
                                     'There is nothing to do.');
    END IF;
    INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id, granted_by, reason)
    VALUES (tenant, assignee, 'case_' || assignment_role, 'case', case_id::text, actor, coalesce(reason, authz.change_reason()))
    RETURNING principal_role_assignment.assignment_id INTO role;
    INSERT INTO casework.case_assignment (tenant_id, case_id, principal_id, assignment_role, assigned_by, role_assignment_id)
    VALUES (tenant, case_id, assignee, assignment_role, actor, role)
    RETURNING case_assignment.assignment_id INTO made;
    PERFORM casework.record(action, c, actor, reason,
                            jsonb_build_object('assignee', assignee, 'assignment_role', assignment_role));
    RETURN made;
END
$$;
COMMENT ON FUNCTION assign_case(uuid, uuid, uuid, uuid, text, text) IS
    'Assigns an open case to a member as investigator or approver, who holds the role case_investigator or case_approver at it from then on. Needs case.assign and a reason. Returns the assignment.';
REVOKE ALL ON FUNCTION assign_case(uuid, uuid, uuid, uuid, text, text) FROM PUBLIC;

CREATE FUNCTION unassign_case(tenant uuid, case_id uuid, assignee uuid, actor uuid, reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    action CONSTANT text := 'case.assign';
    c      casework.case_record := casework.lock_case(action, tenant, case_id, actor, reason);
    ended  uuid[];
BEGIN
    tenant := c.tenant_id;
    PERFORM authz.demand_arguments(action, 'assignee', assignee::text);
    WITH closed AS (
        UPDATE casework.case_assignment AS a
        SET unassigned_at = greatest(clock_timestamp(), a.assigned_at), unassigned_by = actor
        WHERE a.tenant_id = tenant AND a.case_id = case_id AND a.principal_id = assignee AND a.unassigned_at IS NULL
        RETURNING a.role_assignment_id)
    SELECT array_agg(role_assignment_id) INTO ended FROM closed;
    IF ended IS NULL THEN
        PERFORM casework.wrong_state(action, c, 'that member is not assigned to the case', 'There is nothing to end.');
    END IF;
    UPDATE authz.principal_role_assignment AS r
    SET revoked_at = greatest(clock_timestamp(), r.granted_at), reason = coalesce(reason, authz.change_reason())
    WHERE r.assignment_id = ANY (ended) AND r.active_until > clock_timestamp();
    PERFORM casework.record(action, c, actor, reason, jsonb_build_object('unassigned', assignee));
END
$$;
COMMENT ON FUNCTION unassign_case(uuid, uuid, uuid, uuid, text) IS
    'Ends all assignments of a member to a case, with the roles that came with them. Needs case.assign and a reason.';
REVOKE ALL ON FUNCTION unassign_case(uuid, uuid, uuid, uuid, text) FROM PUBLIC;

CREATE FUNCTION seal_case(tenant uuid, case_id uuid, actor uuid, reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    action CONSTANT text := 'case.seal';
    c      casework.case_record := casework.lock_case(action, tenant, case_id, actor, reason);
BEGIN
    tenant := c.tenant_id;
    IF c.confidentiality_level = 'sealed' THEN
        PERFORM casework.wrong_state(action, c, 'the case is sealed already', 'There is nothing to do.');
    END IF;
    UPDATE casework.case_record AS x SET confidentiality_level = 'sealed'
    WHERE x.tenant_id = tenant AND x.case_id = case_id;
    PERFORM casework.record(action, c, actor, reason, jsonb_build_object('was', c.confidentiality_level));
END
$$;
COMMENT ON FUNCTION seal_case(uuid, uuid, uuid, text) IS
    'Seals a case: from then on it is visible with case.view_sealed only. Needs case.seal and a reason.';
REVOKE ALL ON FUNCTION seal_case(uuid, uuid, uuid, text) FROM PUBLIC;

CREATE FUNCTION delete_case(tenant uuid, case_id uuid, actor uuid, reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    action CONSTANT text := 'case.delete';
    c      casework.case_record := casework.lock_case(action, tenant, case_id, actor, reason);
BEGIN
    tenant := c.tenant_id;
    IF c.deleted_at IS NOT NULL THEN
        PERFORM casework.wrong_state(action, c, 'the case is deleted already', 'There is nothing to do.');
    END IF;
    UPDATE casework.case_record AS x SET deleted_at = clock_timestamp() WHERE x.tenant_id = tenant AND x.case_id = case_id;
    PERFORM casework.record(action, c, actor, reason, '{}'::jsonb);
END
$$;
COMMENT ON FUNCTION delete_case(uuid, uuid, uuid, text) IS
    'Deletes a case: it is hidden from all who do not hold case.view_deleted. Needs case.delete and a reason.';
REVOKE ALL ON FUNCTION delete_case(uuid, uuid, uuid, text) FROM PUBLIC;

CREATE FUNCTION restore_case(tenant uuid, case_id uuid, actor uuid, reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    action CONSTANT text := 'case.restore';
    c      casework.case_record := casework.lock_case(action, tenant, case_id, actor, reason);
BEGIN
    tenant := c.tenant_id;
    IF c.deleted_at IS NULL THEN
        PERFORM casework.wrong_state(action, c, 'the case is not deleted', 'There is nothing to do.');
    END IF;
    UPDATE casework.case_record AS x SET deleted_at = NULL WHERE x.tenant_id = tenant AND x.case_id = case_id;
    PERFORM casework.record(action, c, actor, reason, jsonb_build_object('deleted_at', c.deleted_at));
END
$$;
COMMENT ON FUNCTION restore_case(uuid, uuid, uuid, text) IS
    'Brings a deleted case back. Needs case.restore and case.view_deleted, and a reason.';
REVOKE ALL ON FUNCTION restore_case(uuid, uuid, uuid, text) FROM PUBLIC;

CREATE FUNCTION download_case_document(tenant uuid, document uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    me CONSTANT uuid := authz.session_principal();
    d  casework.case_document;
BEGIN
    PERFORM authz.demand_arguments('document.download', 'document', document::text);
    tenant := casework.tenant_of(tenant, 'document', document);
    SELECT * INTO d FROM casework.case_document AS x WHERE x.tenant_id = tenant AND x.document_id = document;
    PERFORM casework.demand('document.download', me, tenant, 'document', document, d.case_id);
    PERFORM authz.record_access('document.download', 'document', document::text, tenant, 'allowed', NULL::text,
                                jsonb_build_object('case_id', d.case_id), me);
    RETURN d.storage_object_id;
END
$$;
COMMENT ON FUNCTION download_case_document(uuid, uuid) IS
    'Where a document''s content is stored, for those who may download it; leaves an access event.';
REVOKE ALL ON FUNCTION download_case_document(uuid, uuid) FROM PUBLIC;
