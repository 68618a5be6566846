-- Role assignments, grants and denies. Each is about a scope or resource, at which the caller must have the say.

-- Where a role is assigned: tenant and key follow from the session and the kind of scope where they are not said.
CREATE FUNCTION authz.assignment_place(action text, INOUT tenant uuid, scope_type text, INOUT scope_id text) RETURNS record
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF scope_type IS DISTINCT FROM 'platform' THEN
        tenant := coalesce(tenant, authz.session_tenant());
        IF scope_type = 'tenant' THEN
            scope_id := coalesce(scope_id, tenant::text);
        END IF;
        PERFORM authz.demand_arguments(action, 'tenant', tenant::text, 'scope_type', scope_type, 'scope_id', scope_id);
    ELSIF tenant IS NOT NULL OR scope_id IS NOT NULL THEN
        PERFORM authz.refuse_argument(action, NULL, NULL, NULL, 'platform scope has neither a tenant nor a scope_id',
                                      'Leave them out, or name another scope_type.');
    END IF;
    PERFORM authz.demand(action, tenant, scope_type, scope_id);
END
$$;
COMMENT ON FUNCTION authz.assignment_place(text, uuid, text, text) IS
    'The scope of a role assignment, completed; refuses (42501) a caller who may not assign there.';
REVOKE ALL ON FUNCTION authz.assignment_place(text, uuid, text, text) FROM PUBLIC;

CREATE FUNCTION authz_assign_role(
    principal uuid, role text, tenant uuid DEFAULT NULL, scope_type text DEFAULT 'tenant', scope_id text DEFAULT NULL,
    expires timestamptz DEFAULT NULL, reason text DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    action CONSTANT text := 'role.assign';
    t      uuid;
    s      text;
    why    text;
    former text;
    id     uuid;
BEGIN
    PERFORM authz.demand_arguments(action, 'principal', principal::text, 'role', role);
    SELECT p.tenant, p.scope_id INTO t, s FROM authz.assignment_place(action, tenant, scope_type, scope_id) AS p;
    PERFORM authz.demand_other(action, t, scope_type, s, principal);
    why := authz.demand_reason(action, t, scope_type, s, reason);
    PERFORM authz.demand_expiry(action, t, scope_type, s, expires);
    PERFORM authz.demand_defined_role(action, t, scope_type, s, role);
    PERFORM authz.demand_member(action, t, scope_type, s, principal);
    PERFORM authz.demand_role(action, t, scope_type, s, role);
    former := authz.set_reason(why);
    BEGIN
        INSERT INTO authz.principal_role_assignment AS a
            (tenant_id, principal_id, role_code, scope_type, scope_id, granted_by, expires_at, reason)
        VALUES (t, principal, role, authz_assign_role.scope_type, s, authz.session_principal(), expires, why)
        RETURNING a.assignment_id INTO id;
    EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
        PERFORM authz.record_denial(action, authz_assign_role.scope_type, s, t, 'denied', SQLSTATE);
        RAISE;
    END;
    PERFORM authz.set_reason(former);
    RETURN id;
END
$$;
COMMENT ON FUNCTION authz_assign_role(uuid, text, uuid, text, text, timestamptz, text) IS
    'Gives a member a role at a scope (by default the session''s tenant), and returns the assignment_id. Needs role.assign there, and all that the role brings.';

CREATE FUNCTION authz_revoke_role(assignment uuid, reason text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    action CONSTANT text := 'role.assign';
    a      authz.principal_role_assignment;
    why    text;
    former text;
BEGIN
    PERFORM authz.demand_arguments(action, 'assignment', assignment::text);
    -- Locked only for those who may: a lock, and waiting for one, would tell the others that the row is there.
    SELECT * INTO a FROM authz.principal_role_assignment AS x WHERE x.assignment_id = assignment;
    IF NOT FOUND OR NOT authz.holds(action, a.tenant_id, a.scope_type, a.scope_id) THEN
        PERFORM authz.refuse_authority(action, NULL, 'assignment', assignment::text);
    END IF;
    PERFORM authz.demand_other(action, a.tenant_id, a.scope_type, a.scope_id, a.principal_id);
    why := authz.demand_reason(action, a.tenant_id, a.scope_type, a.scope_id, reason);
    SELECT * INTO a FROM authz.principal_role_assignment AS x WHERE x.assignment_id = assignment FOR NO KEY UPDATE;
    IF a.revoked_at IS NOT NULL OR a.active_until <= clock_timestamp() THEN
        PERFORM authz.refuse(action, a.tenant_id, a.scope_type, a.scope_id, 'wrong_state', '55000',
                             'the assignment has ended already', NULL, 'There is nothing to do.');
    END IF;
    former := authz.set_reason(why);
    UPDATE authz.principal_role_assignment AS x
    SET revoked_at = greatest(now(), x.granted_at), reason = coalesce(why, x.reason) WHERE x.assignment_id = assignment;
    PERFORM authz.set_reason(former);
END
$$;
COMMENT ON FUNCTION authz_revoke_role(uuid, text) IS 'Ends a role assignment. Needs role.assign at its scope.';

CREATE FUNCTION authz_revoke_role(
    principal uuid, role text, tenant uuid, scope_type text DEFAULT 'tenant', scope_id text DEFAULT NULL,
    reason text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    action CONSTANT text := 'role.assign';
    t      uuid;
    s      text;
    id     uuid;
BEGIN
    PERFORM authz.demand_arguments(action, 'principal', principal::text, 'role', role);
    SELECT p.tenant, p.scope_id INTO t, s FROM authz.assignment_place(action, tenant, scope_type, scope_id) AS p;
    SELECT a.assignment_id INTO id FROM authz.principal_role_assignment AS a
    WHERE a.principal_id = principal AND a.role_code = role AND a.scope_type = authz_revoke_role.scope_type
      AND a.scope_id IS NOT DISTINCT FROM s AND a.tenant_id IS NOT DISTINCT FROM t AND a.revoked_at IS NULL;
    IF NOT FOUND THEN
        PERFORM authz.refuse(action, t, scope_type, s, 'no_row', '42501', 'no such role assignment',
                             'The principal does not hold this role there.', 'Name the scope that it was assigned at.');
    END IF;
    PERFORM @extschema@.authz_revoke_role(id, reason);
END
$$;
COMMENT ON FUNCTION authz_revoke_role(uuid, text, uuid, text, text, text) IS
    'Ends the assignment of a role at a scope (tenant NULL: in the session''s). Needs role.assign there.';

-- Whom a grant or rule addresses: a principal, team or organization of the tenant, or a role.
CREATE FUNCTION authz.demand_grantee(
    action text, tenant uuid, scope_type text, scope_id text, grantee_type text, grantee_id text
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id uuid;
BEGIN
    IF grantee_type = 'role' THEN
        PERFORM authz.demand_defined_role(action, tenant, scope_type, scope_id, grantee_id);
        RETURN;
    ELSIF grantee_type NOT IN ('principal', 'team', 'organization')
          OR grantee_id !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
        PERFORM authz.refuse_argument(action, tenant, scope_type, scope_id,
            format('%L %L is no grantee', grantee_type, grantee_id),
            'Pass principal, team or organization with a uuid in lower case, or role with its code.');
    END IF;
    id := grantee_id;
    IF grantee_type = 'principal' THEN
        PERFORM authz.demand_member(action, tenant, scope_type, scope_id, id);
    ELSIF (grantee_type = 'team' AND NOT EXISTS (
               SELECT FROM authz.team AS x WHERE x.tenant_id = tenant AND x.team_id = id))
       OR (grantee_type = 'organization' AND NOT EXISTS (
               SELECT FROM authz.organization AS x WHERE x.tenant_id = tenant AND x.organization_id = id)) THEN
        PERFORM authz.refuse(action, tenant, scope_type, scope_id, 'no_grantee', '42501', format('no such %s', grantee_type),
                             'There is none of that id in this tenant.', 'Look up the id.');
    END IF;
END
$$;
COMMENT ON FUNCTION authz.demand_grantee(text, uuid, text, text, text, text) IS
    'Refuses a grantee that is not in the tenant (42501), does not exist (42704) or is malformed (22023).';
REVOKE ALL ON FUNCTION authz.demand_grantee(text, uuid, text, text, text, text) FROM PUBLIC;

CREATE FUNCTION authz_share(
    resource_type text, resource_id text, permission text, grantee_type text, grantee_id text, tenant uuid DEFAULT NULL,
    expires timestamptz DEFAULT NULL, reason text DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    action CONSTANT text := 'grant.create';
    t      CONSTANT uuid := coalesce(tenant, authz.session_tenant());
    why    text;
    former text;
    id     uuid;
BEGIN
    PERFORM authz.demand_arguments(action, 'resource_type', resource_type, 'resource_id', resource_id, 'permission', permission,
                                   'grantee_type', grantee_type, 'grantee_id', grantee_id, 'tenant', t::text);
    PERFORM authz.demand(action, t, resource_type, resource_id);
    IF grantee_type = 'principal' AND grantee_id = authz.session_principal()::text THEN
        PERFORM authz.demand_other(action, t, resource_type, resource_id, authz.session_principal());
    END IF;
    why := authz.demand_reason(action, t, resource_type, resource_id, reason);
    PERFORM authz.demand_expiry(action, t, resource_type, resource_id, expires);
    PERFORM authz.demand_grantee(action, t, resource_type, resource_id, grantee_type, grantee_id);
    PERFORM authz.demand_defined_permission(action, t, resource_type, resource_id, permission);
    PERFORM authz.refuse_missing(action, t, resource_type, resource_id, format('permission %L', permission),
                                 authz.permission_missing(permission, t, resource_type, resource_id));
    former := authz.set_reason(why);
    BEGIN
        INSERT INTO authz.resource_access_grant AS g
            (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code, granted_by, expires_at, reason)
        VALUES (t, authz_share.resource_type, authz_share.resource_id, authz_share.grantee_type, authz_share.grantee_id,
                permission, authz.session_principal(), expires, why)
        RETURNING g.grant_id INTO id;
    EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
        PERFORM authz.record_denial(action, authz_share.resource_type, authz_share.resource_id, t, 'denied', SQLSTATE);
        RAISE;
    END;
    PERFORM authz.set_reason(former);
    RETURN id;
END
$$;
COMMENT ON FUNCTION authz_share(text, text, text, text, text, uuid, timestamptz, text) IS
    'Grants a permission on a resource to a principal, team, organization or role, and returns the grant_id. Needs grant.create on it, and the permission.';

CREATE FUNCTION authz_unshare("grant" uuid, reason text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    action CONSTANT text := 'grant.create';
    g      authz.resource_access_grant;
    why    text;
    former text;
BEGIN
    PERFORM authz.demand_arguments(action, 'grant', "grant"::text);
    SELECT * INTO g FROM authz.resource_access_grant AS x WHERE x.grant_id = "grant";
    IF NOT FOUND OR NOT authz.holds(action, g.tenant_id, g.resource_type, g.resource_id) THEN
        PERFORM authz.refuse_authority(action, NULL, 'grant', "grant"::text);
    END IF;
    why := authz.demand_reason(action, g.tenant_id, g.resource_type, g.resource_id, reason);
    SELECT * INTO g FROM authz.resource_access_grant AS x WHERE x.grant_id = "grant" FOR NO KEY UPDATE;
    IF g.revoked_at IS NOT NULL OR g.active_until <= clock_timestamp() THEN
        PERFORM authz.refuse(action, g.tenant_id, g.resource_type, g.resource_id, 'wrong_state', '55000',
                             'the grant has ended already', NULL, 'There is nothing to do.');
    END IF;
    former := authz.set_reason(why);
    UPDATE authz.resource_access_grant AS x
    SET revoked_at = greatest(now(), x.granted_at), reason = coalesce(why, x.reason) WHERE x.grant_id = "grant";
    PERFORM authz.set_reason(former);
END
$$;
COMMENT ON FUNCTION authz_unshare(uuid, text) IS 'Ends a grant. Needs grant.create on its resource.';

CREATE FUNCTION authz_deny(
    resource_type text, resource_id text, permission text, grantee_type text, grantee_id text, tenant uuid DEFAULT NULL,
    priority integer DEFAULT 0, expires timestamptz DEFAULT NULL, reason text DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    action CONSTANT text := 'rule.manage';
    t      CONSTANT uuid := coalesce(tenant, authz.session_tenant());
    why    text;
    former text;
    id     uuid;
BEGIN
    PERFORM authz.demand_arguments(action, 'resource_type', resource_type, 'grantee_type', grantee_type, 'tenant', t::text,
                                   'priority', priority::text);
    IF resource_id IS NULL THEN
        -- Every resource of the type.
        PERFORM authz.demand(action, t, 'tenant', t::text);
        IF resource_type NOT IN ('tenant', 'organization', 'team', 'project')
           AND NOT EXISTS (SELECT FROM authz.resource_type AS r WHERE r.resource_type = authz_deny.resource_type) THEN
            PERFORM authz.refuse(action, t, 'tenant', t::text, 'unknown_type', '42704',
                format('resource type %L does not exist', resource_type), 'It is neither built in nor in authz.resource_type.',
                'Register it there first.');
        END IF;
    ELSE
        PERFORM authz.demand(action, t, resource_type, resource_id);
    END IF;
    why := authz.demand_reason(action, t, resource_type, resource_id, reason, true);
    PERFORM authz.demand_expiry(action, t, resource_type, resource_id, expires);
    IF grantee_type = 'any' THEN
        IF grantee_id IS NOT NULL THEN
            PERFORM authz.refuse_argument(action, t, resource_type, resource_id, 'a deny for everybody has no grantee_id',
                                          'Leave it out.');
        END IF;
    ELSIF grantee_type = 'principal' AND EXISTS (
        -- Somebody from outside may have to be kept out, too: a platform role or a privileged session can let him in.
        SELECT FROM authz.principal AS p WHERE p.principal_id::text = grantee_id
          AND NOT EXISTS (SELECT FROM authz.tenant_membership AS m
                          WHERE m.principal_id = p.principal_id AND m.tenant_id = t AND m.active_until > clock_timestamp())
          AND (EXISTS (SELECT FROM authz.principal_role_assignment AS a
                       WHERE a.principal_id = p.principal_id AND a.scope_type = 'platform'
                         AND a.active_until > clock_timestamp())
               OR EXISTS (SELECT FROM authz.privileged_access_session AS s
                          WHERE s.principal_id = p.principal_id AND s.active_until > clock_timestamp()
                            AND (s.tenant_id IS NULL OR s.tenant_id = t)))) THEN
        NULL;
    ELSE
        PERFORM authz.demand_arguments(action, 'grantee_id', grantee_id);
        PERFORM authz.demand_grantee(action, t, resource_type, resource_id, grantee_type, grantee_id);
    END IF;
    IF permission IS NOT NULL THEN
        PERFORM authz.demand_defined_permission(action, t, resource_type, resource_id, permission);
    END IF;
    former := authz.set_reason(why);
    BEGIN
        INSERT INTO authz.resource_access_rule AS r
            (tenant_id, resource_type, resource_id, effect, grantee_type, grantee_id, permission_code, priority, valid_until,
             created_by, reason)
        VALUES (t, authz_deny.resource_type, authz_deny.resource_id, 'deny', authz_deny.grantee_type, authz_deny.grantee_id,
                permission, authz_deny.priority, expires, authz.session_principal(), why)
        RETURNING r.rule_id INTO id;
    EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
        PERFORM authz.record_denial(action, authz_deny.resource_type, authz_deny.resource_id, t, 'denied', SQLSTATE);
        RAISE;
    END;
    PERFORM authz.set_reason(former);
    RETURN id;
END
$$;
COMMENT ON FUNCTION authz_deny(text, text, text, text, text, uuid, integer, timestamptz, text) IS
    'Denies a permission (NULL: every) on a resource (NULL: every one of the type in the tenant), and returns the rule_id. Needs rule.manage there, and a reason.';

CREATE FUNCTION authz_remove_rule(rule uuid, reason text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    action CONSTANT text := 'rule.manage';
    r      authz.resource_access_rule;
    why    text;
    former text;
BEGIN
    PERFORM authz.demand_arguments(action, 'rule', rule::text);
    SELECT * INTO r FROM authz.resource_access_rule AS x WHERE x.rule_id = rule;
    IF NOT FOUND OR NOT authz.holds(action, r.tenant_id, CASE WHEN r.resource_id IS NULL THEN 'tenant' ELSE r.resource_type END,
                                    coalesce(r.resource_id, r.tenant_id::text)) THEN
        PERFORM authz.refuse_authority(action, NULL, 'rule', rule::text);
    END IF;
    -- A rule for everybody is nobody's own.
    IF r.effect = 'deny' AND r.grantee_type <> 'any' AND authz.is_addressed(r.grantee_type, r.grantee_id, r.tenant_id) THEN
        PERFORM authz.demand_other(action, r.tenant_id, r.resource_type, r.resource_id, authz.session_principal());
    END IF;
    why := authz.demand_reason(action, r.tenant_id, r.resource_type, r.resource_id, reason);
    SELECT * INTO r FROM authz.resource_access_rule AS x WHERE x.rule_id = rule FOR NO KEY UPDATE;
    IF r.active_until <= greatest(clock_timestamp(), r.valid_from) THEN
        PERFORM authz.refuse(action, r.tenant_id, r.resource_type, r.resource_id, 'wrong_state', '55000',
                             'the rule has ended already', NULL, 'There is nothing to do.');
    END IF;
    former := authz.set_reason(why);
    UPDATE authz.resource_access_rule AS x
    SET valid_until = greatest(now(), x.valid_from), reason = coalesce(why, x.reason) WHERE x.rule_id = rule;
    PERFORM authz.set_reason(former);
END
$$;
COMMENT ON FUNCTION authz_remove_rule(uuid, text) IS
    'Ends a rule; not a deny that addresses the caller. Needs rule.manage at its resource.';
