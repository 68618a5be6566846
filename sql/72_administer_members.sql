-- Members of tenants and teams, and the status of principals.

-- What a membership carried must not come back to life when the principal is taken in again: by whoever manages members,
-- who may be somebody that could not give it. Denies stay.
CREATE FUNCTION authz.close_carried(principal uuid, tenant uuid, began timestamptz, why text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    UPDATE authz.team_membership_history SET valid_until = greatest(now(), valid_from)
    WHERE principal_id = close_carried.principal AND tenant_id = close_carried.tenant
      AND active_until > greatest(now(), valid_from) AND valid_from < began;
    UPDATE authz.principal_role_assignment SET revoked_at = greatest(now(), granted_at), reason = why
    WHERE principal_id = close_carried.principal AND tenant_id = close_carried.tenant
      AND revoked_at IS NULL AND active_until > now() AND granted_at < began;
    UPDATE authz.resource_access_grant SET revoked_at = greatest(now(), granted_at), reason = why
    WHERE grantee_type = 'principal' AND grantee_id = close_carried.principal::text AND tenant_id = close_carried.tenant
      AND revoked_at IS NULL AND active_until > now() AND granted_at < began;
END
$$;
COMMENT ON FUNCTION authz.close_carried(uuid, uuid, timestamptz, text) IS
    'Closes a member''s teams, role assignments and grants in a tenant that began before an instant.';
REVOKE ALL ON FUNCTION authz.close_carried(uuid, uuid, timestamptz, text) FROM PUBLIC;

CREATE FUNCTION authz_add_member(
    principal uuid, tenant uuid DEFAULT NULL, member_kind text DEFAULT 'member', expires timestamptz DEFAULT NULL,
    reason text DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    action CONSTANT text := 'member.manage';
    t      CONSTANT uuid := coalesce(tenant, authz.session_tenant());
    ended  timestamptz;
    why    text;
    former text;
    id     uuid;
BEGIN
    PERFORM authz.demand_arguments(action, 'principal', principal::text, 'tenant', t::text, 'member_kind', member_kind);
    PERFORM authz.demand(action, t, 'tenant', t::text);
    PERFORM authz.demand_other(action, t, 'tenant', t::text, principal);
    why := authz.demand_reason(action, t, 'tenant', t::text, reason);
    PERFORM authz.demand_expiry(action, t, 'tenant', t::text, expires);
    PERFORM authz.demand_member(action, NULL, 'tenant', t::text, principal);
    IF member_kind NOT IN ('member', 'external') THEN
        PERFORM authz.refuse_argument(action, t, 'tenant', t::text, format('%L is no kind of member', member_kind),
                                      'Pass member or external.');
    END IF;
    -- A membership that has run out, or that was ended by hand, has left open what it carried.
    SELECT max(m.active_until) INTO ended FROM authz.tenant_membership AS m
    WHERE m.tenant_id = t AND m.principal_id = authz_add_member.principal AND m.active_until <= now();
    former := authz.set_reason(why);
    PERFORM authz.close_carried(principal, t, ended, coalesce(why, 'the membership that carried it has ended'));
    BEGIN
        INSERT INTO authz.tenant_membership AS m (tenant_id, principal_id, member_kind, invited_by, expires_at)
        VALUES (t, principal, authz_add_member.member_kind, authz.session_principal(), expires)
        RETURNING m.membership_id INTO id;
    EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
        PERFORM authz.record_denial(action, 'tenant', t::text, t, 'denied', SQLSTATE);
        RAISE;
    END;
    PERFORM authz.set_reason(former);
    RETURN id;
END
$$;
COMMENT ON FUNCTION authz_add_member(uuid, uuid, text, timestamptz, text) IS
    'Takes a principal into a tenant (by default the session''s) and returns the membership_id. Needs member.manage there.';

-- The open membership of somebody else, locked.
CREATE FUNCTION authz.open_membership(action text, tenant uuid, principal uuid) RETURNS authz.tenant_membership
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    membership authz.tenant_membership;
BEGIN
    PERFORM authz.demand_arguments(action, 'principal', principal::text, 'tenant', tenant::text);
    PERFORM authz.demand(action, tenant, 'tenant', tenant::text);
    PERFORM authz.demand_other(action, tenant, 'tenant', tenant::text, principal);
    SELECT * INTO membership FROM authz.tenant_membership AS m
    WHERE m.tenant_id = tenant AND m.principal_id = principal AND m.revoked_at IS NULL
      AND m.active_until > clock_timestamp() FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM authz.refuse(action, tenant, 'tenant', tenant::text, 'no_member', '42501', 'no such member',
            'Nobody of that id is a member of this tenant.', 'Take the principal into the tenant first (authz_add_member).');
    END IF;
    RETURN membership;
END
$$;
COMMENT ON FUNCTION authz.open_membership(text, uuid, uuid) IS
    'The open membership of a principal, locked, for a caller who may change it; refuses (42501) everybody else.';
REVOKE ALL ON FUNCTION authz.open_membership(text, uuid, uuid) FROM PUBLIC;

CREATE FUNCTION authz.set_member_status(principal uuid, tenant uuid, becomes text, reason text, required boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    action     CONSTANT text := 'member.manage';
    t          CONSTANT uuid := coalesce(tenant, authz.session_tenant());
    membership authz.tenant_membership := authz.open_membership(action, t, principal);
    why        text;
    former     text;
BEGIN
    why := authz.demand_reason(action, t, 'tenant', t::text, reason, required);
    IF membership.status = becomes THEN
        PERFORM authz.refuse(action, t, 'tenant', t::text, 'wrong_state', '55000', format('the membership is %s already', becomes),
                             NULL, 'There is nothing to do.');
    END IF;
    former := authz.set_reason(why);
    UPDATE authz.tenant_membership AS m SET status = becomes WHERE m.membership_id = membership.membership_id;
    PERFORM authz.set_reason(former);
END
$$;
COMMENT ON FUNCTION authz.set_member_status(uuid, uuid, text, text, boolean) IS
    'Suspends or resumes a membership, for a caller who may.';
REVOKE ALL ON FUNCTION authz.set_member_status(uuid, uuid, text, text, boolean) FROM PUBLIC;

CREATE FUNCTION authz_suspend_member(principal uuid, tenant uuid DEFAULT NULL, reason text DEFAULT NULL) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT authz.set_member_status(principal, tenant, 'suspended', reason, true)
$$;
COMMENT ON FUNCTION authz_suspend_member(uuid, uuid, text) IS
    'Suspends a membership: nothing in the tenant counts for the member until authz_resume_member. Needs member.manage there, and a reason.';

CREATE FUNCTION authz_resume_member(principal uuid, tenant uuid DEFAULT NULL, reason text DEFAULT NULL) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT authz.set_member_status(principal, tenant, 'active', reason, false)
$$;
COMMENT ON FUNCTION authz_resume_member(uuid, uuid, text) IS 'Ends the suspension of a membership. Needs member.manage there.';

-- What the membership carried is closed with it.
CREATE FUNCTION authz_revoke_member(principal uuid, tenant uuid DEFAULT NULL, reason text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    action     CONSTANT text := 'member.manage';
    t          CONSTANT uuid := coalesce(tenant, authz.session_tenant());
    membership authz.tenant_membership := authz.open_membership(action, t, authz_revoke_member.principal);
    why        text;
    former     text;
BEGIN
    why := authz.demand_reason(action, t, 'tenant', t::text, authz_revoke_member.reason, true);
    former := authz.set_reason(why);
    UPDATE authz.tenant_membership SET status = 'revoked' WHERE membership_id = membership.membership_id;
    PERFORM authz.close_carried(authz_revoke_member.principal, t, 'infinity', why);
    PERFORM authz.set_reason(former);
END
$$;
COMMENT ON FUNCTION authz_revoke_member(uuid, uuid, text) IS
    'Ends a membership, and closes the member''s teams, roles and grants in the tenant. Needs member.manage there, and a reason.';

CREATE FUNCTION authz_join_team(
    principal uuid, team uuid, tenant uuid DEFAULT NULL, role text DEFAULT NULL, expires timestamptz DEFAULT NULL,
    reason text DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    action CONSTANT text := 'team.manage';
    t      CONSTANT uuid := coalesce(tenant, authz.session_tenant());
    why    text;
    former text;
    id     uuid;
BEGIN
    PERFORM authz.demand_arguments(action, 'principal', principal::text, 'team', team::text, 'tenant', t::text);
    PERFORM authz.demand(action, t, 'team', team::text);
    PERFORM authz.demand_other(action, t, 'team', team::text, principal);
    why := authz.demand_reason(action, t, 'team', team::text, reason);
    PERFORM authz.demand_expiry(action, t, 'team', team::text, expires);
    PERFORM authz.demand_member(action, t, 'team', team::text, principal);
    IF role IS NOT NULL THEN
        PERFORM authz.demand_defined_role(action, t, 'team', team::text, role);
    END IF;
    former := authz.set_reason(why);
    BEGIN
        INSERT INTO authz.team_membership_history AS m (tenant_id, team_id, principal_id, role_code, valid_until, granted_by)
        VALUES (t, team, principal, role, expires, authz.session_principal())
        RETURNING m.team_membership_id INTO id;
    EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
        PERFORM authz.record_denial(action, 'team', team::text, t, 'denied', SQLSTATE);
        RAISE;
    END;
    PERFORM authz.set_reason(former);
    RETURN id;
END
$$;
COMMENT ON FUNCTION authz_join_team(uuid, uuid, uuid, text, timestamptz, text) IS
    'Takes a member into a team, in a place that gives no permission (role), and returns the team_membership_id. Needs team.manage there.';

CREATE FUNCTION authz_leave_team(principal uuid, team uuid, tenant uuid DEFAULT NULL, reason text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    action CONSTANT text := 'team.manage';
    t      CONSTANT uuid := coalesce(tenant, authz.session_tenant());
    why    text;
    former text;
BEGIN
    PERFORM authz.demand_arguments(action, 'principal', principal::text, 'team', team::text, 'tenant', t::text);
    PERFORM authz.demand(action, t, 'team', team::text);
    PERFORM authz.demand_other(action, t, 'team', team::text, principal);
    why := authz.demand_reason(action, t, 'team', team::text, reason);
    former := authz.set_reason(why);
    UPDATE authz.team_membership_history AS m SET valid_until = greatest(now(), m.valid_from)
    WHERE m.tenant_id = t AND m.team_id = team AND m.principal_id = principal
      AND m.active_until > greatest(clock_timestamp(), m.valid_from);
    IF NOT FOUND THEN
        PERFORM authz.refuse(action, t, 'team', team::text, 'no_member', '42501', 'no such member of the team',
                             'Nobody of that id is in this team.', 'Look up who is in it.');
    END IF;
    PERFORM authz.set_reason(former);
END
$$;
COMMENT ON FUNCTION authz_leave_team(uuid, uuid, uuid, text) IS 'Takes a member out of a team. Needs team.manage there.';

CREATE FUNCTION authz_set_principal_status(
    principal uuid, status text, reason text DEFAULT NULL, locked_until timestamptz DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    action CONSTANT text := 'principal.manage';
    was    text;
    why    text;
    former text;
BEGIN
    PERFORM authz.demand_arguments(action, 'principal', principal::text, 'status', status);
    PERFORM authz.demand(action, NULL, 'platform', NULL);
    PERFORM authz.demand_other(action, NULL, 'platform', NULL, principal);
    why := authz.demand_reason(action, NULL, 'platform', NULL, reason, true);
    PERFORM authz.demand_expiry(action, NULL, 'platform', NULL, locked_until);
    IF status NOT IN ('active', 'suspended', 'locked', 'disabled', 'deleted') THEN
        PERFORM authz.refuse_argument(action, NULL, 'platform', NULL, format('%L is no status', status),
                                      'Pass active, suspended, locked, disabled or deleted.');
    END IF;
    SELECT p.status INTO was FROM authz.principal AS p WHERE p.principal_id = principal FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM authz.refuse(action, NULL, 'platform', NULL, 'no_principal', '42501', 'no such principal',
                             'Nobody has that id.', 'Look up the id of the principal.');
    ELSIF was = 'deleted' AND authz_set_principal_status.status <> 'deleted' THEN
        PERFORM authz.refuse(action, NULL, 'platform', NULL, 'wrong_state', '55000', 'a deleted principal stays deleted',
                             NULL, 'Make a new principal.');
    END IF;
    former := authz.set_reason(why);
    UPDATE authz.principal AS p
    SET status = authz_set_principal_status.status, locked_until = authz_set_principal_status.locked_until
    WHERE p.principal_id = principal;
    PERFORM authz.set_reason(former);
END
$$;
COMMENT ON FUNCTION authz_set_principal_status(uuid, text, text, timestamptz) IS
    'Sets the status of a principal, and until when it is locked (NULL: not). Needs principal.manage at platform scope, and a reason.';
