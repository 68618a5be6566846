-- Membership of principals in tenants and teams, as intervals. (After the roles: a place in a team can name one.)
-- Status is kept like that of principals (20_principal.sql).

CREATE TABLE authz.tenant_membership (
    membership_id uuid NOT NULL DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL,
    principal_id uuid NOT NULL,
    status text COLLATE "C" NOT NULL DEFAULT 'active',
    member_kind text COLLATE "C" NOT NULL DEFAULT 'member',
    invited_by uuid,
    joined_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    status_since timestamptz NOT NULL,
    active_from timestamptz NOT NULL GENERATED ALWAYS AS (joined_at) STORED,
    active_until timestamptz NOT NULL
        GENERATED ALWAYS AS (least(coalesce(expires_at, 'infinity'), coalesce(revoked_at, 'infinity'))) STORED,
    CONSTRAINT tenant_membership_pkey PRIMARY KEY (tenant_id, principal_id, joined_at),
    CONSTRAINT tenant_membership_membership_id_key UNIQUE (membership_id),
    CONSTRAINT tenant_membership_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES authz.tenant (tenant_id),
    CONSTRAINT tenant_membership_principal_id_fkey
        FOREIGN KEY (principal_id) REFERENCES authz.principal (principal_id),
    CONSTRAINT tenant_membership_invited_by_fkey
        FOREIGN KEY (invited_by) REFERENCES authz.principal (principal_id),
    CONSTRAINT tenant_membership_status_check CHECK (status IN ('active', 'suspended', 'revoked')),
    CONSTRAINT tenant_membership_status_revoked_at_check CHECK (status <> 'revoked' OR revoked_at IS NOT NULL),
    CONSTRAINT tenant_membership_status_since_check CHECK (status_since >= joined_at AND status_since < 'infinity'),
    CONSTRAINT tenant_membership_member_kind_check CHECK (member_kind IN ('member', 'external')),
    CONSTRAINT tenant_membership_expires_at_check CHECK (expires_at >= joined_at),
    CONSTRAINT tenant_membership_revoked_at_check CHECK (revoked_at >= joined_at)
);
-- The unique indexes come before the exclusion constraints, as in 30_role.sql, for the sake of the message.
CREATE UNIQUE INDEX tenant_membership_active_key
    ON authz.tenant_membership (tenant_id, principal_id) WHERE revoked_at IS NULL;
ALTER TABLE authz.tenant_membership ADD CONSTRAINT tenant_membership_tenant_id_principal_id_excl EXCLUDE USING gist (
    int8range(uuid_hash_extended(principal_id, uuid_hash_extended(tenant_id, 0)),
              uuid_hash_extended(principal_id, uuid_hash_extended(tenant_id, 0)), '[]') WITH &&,
    tstzrange(active_from, active_until) WITH &&
) WHERE (active_from < active_until);
CREATE INDEX tenant_membership_principal_idx ON authz.tenant_membership (principal_id, active_until);
CREATE INDEX tenant_membership_expiry_idx ON authz.tenant_membership (expires_at)
    WHERE revoked_at IS NULL AND expires_at IS NOT NULL;
COMMENT ON TABLE authz.tenant_membership IS
    'A principal belongs to a tenant. Without an active membership nothing inside the tenant counts.';
COMMENT ON COLUMN authz.tenant_membership.membership_id IS 'One word for the membership; the key is the other three columns.';
COMMENT ON COLUMN authz.tenant_membership.tenant_id IS 'The tenant.';
COMMENT ON COLUMN authz.tenant_membership.principal_id IS 'The principal.';
COMMENT ON COLUMN authz.tenant_membership.status IS
    'active, suspended or revoked; may be changed, except that revoked, which sets revoked_at, is final.';
COMMENT ON COLUMN authz.tenant_membership.member_kind IS 'member, or external: a guest from outside.';
COMMENT ON COLUMN authz.tenant_membership.invited_by IS 'The principal who invited this one; NULL: nobody on record.';
COMMENT ON COLUMN authz.tenant_membership.joined_at IS 'Start of the membership.';
COMMENT ON COLUMN authz.tenant_membership.expires_at IS 'End that was agreed on beforehand, exclusive; NULL: none.';
COMMENT ON COLUMN authz.tenant_membership.revoked_at IS 'End by revocation, exclusive; NULL: not revoked.';
COMMENT ON COLUMN authz.tenant_membership.status_since IS
    'Since when it has this status, by default since joined_at; kept by the database.';
COMMENT ON COLUMN authz.tenant_membership.active_from IS 'In force from here.';
COMMENT ON COLUMN authz.tenant_membership.active_until IS
    'In force until here, exclusive: the earliest of expiry and revocation; infinity: open.';

CREATE TABLE authz.tenant_membership_history (
    tenant_id uuid NOT NULL,
    principal_id uuid NOT NULL,
    joined_at timestamptz NOT NULL,
    status text COLLATE "C" NOT NULL,
    valid_from timestamptz NOT NULL DEFAULT now(),
    valid_until timestamptz,
    active_from timestamptz NOT NULL GENERATED ALWAYS AS (valid_from) STORED,
    active_until timestamptz NOT NULL GENERATED ALWAYS AS (coalesce(valid_until, 'infinity')) STORED,
    CONSTRAINT tenant_membership_history_pkey PRIMARY KEY (tenant_id, principal_id, joined_at, valid_from),
    CONSTRAINT tenant_membership_history_tenant_id_principal_id_joined_at_fkey
        FOREIGN KEY (tenant_id, principal_id, joined_at)
        REFERENCES authz.tenant_membership (tenant_id, principal_id, joined_at),
    CONSTRAINT tenant_membership_history_status_check CHECK (status IN ('active', 'suspended', 'revoked')),
    CONSTRAINT tenant_membership_history_valid_from_check CHECK (valid_from >= joined_at),
    CONSTRAINT tenant_membership_history_valid_until_check CHECK (valid_until >= valid_from),
    CONSTRAINT tenant_membership_history_tenant_id_principal_id_joined_at_excl EXCLUDE USING gist (
        int8range(uuid_hash_extended(principal_id, uuid_hash_extended(tenant_id, 0)),
                  uuid_hash_extended(principal_id, uuid_hash_extended(tenant_id, 0)), '[]') WITH &&,
        tstzrange(joined_at, joined_at, '[]') WITH &&,
        tstzrange(active_from, active_until) WITH &&
    ) WHERE (active_from < active_until)
);
CREATE INDEX tenant_membership_history_principal_idx
    ON authz.tenant_membership_history (principal_id, tenant_id, valid_from);
COMMENT ON TABLE authz.tenant_membership_history IS
    'Each status of a membership with its interval, written when tenant_membership.status changes; decisions about the past read it.';
COMMENT ON COLUMN authz.tenant_membership_history.tenant_id IS 'The tenant.';
COMMENT ON COLUMN authz.tenant_membership_history.principal_id IS 'The principal.';
COMMENT ON COLUMN authz.tenant_membership_history.joined_at IS 'Start of the membership whose status this is.';
COMMENT ON COLUMN authz.tenant_membership_history.status IS 'Its status in the interval.';
COMMENT ON COLUMN authz.tenant_membership_history.valid_from IS 'Start of the interval.';
COMMENT ON COLUMN authz.tenant_membership_history.valid_until IS 'End of the interval, exclusive; NULL: open.';
COMMENT ON COLUMN authz.tenant_membership_history.active_from IS 'Start of the interval.';
COMMENT ON COLUMN authz.tenant_membership_history.active_until IS 'End of the interval, exclusive; infinity: open.';

CREATE FUNCTION authz.stamp_membership_status() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.status_since := coalesce(NEW.status_since, NEW.joined_at);
        IF NEW.status = 'revoked' THEN
            NEW.revoked_at := coalesce(NEW.revoked_at, greatest(now(), NEW.joined_at));
        END IF;
        -- A membership that has run out without being revoked makes room for the new one. (A row that comes with its
        -- own revocation, as from a dump, takes no room.)
        IF NEW.revoked_at IS NULL
           AND EXISTS (SELECT FROM authz.tenant_membership
                       WHERE tenant_id = NEW.tenant_id AND principal_id = NEW.principal_id
                         AND revoked_at IS NULL AND expires_at <= now()) THEN
            UPDATE authz.tenant_membership SET revoked_at = expires_at
            WHERE tenant_id = NEW.tenant_id AND principal_id = NEW.principal_id
              AND revoked_at IS NULL AND expires_at <= now();
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.status = OLD.status AND NEW.revoked_at <= now() THEN
        NEW.status := 'revoked';
    END IF;
    IF NEW.status <> OLD.status THEN
        IF OLD.status = 'revoked' THEN
            RAISE EXCEPTION USING
                ERRCODE = 'object_not_in_prerequisite_state',
                MESSAGE = 'a revoked membership cannot be taken up again',
                DETAIL = format('Principal %s in tenant %s, joined at %s, revoked at %s.',
                                OLD.principal_id, OLD.tenant_id, OLD.joined_at, OLD.revoked_at),
                HINT = 'Insert a new membership.';
        END IF;
        IF NEW.status = 'revoked' THEN
            NEW.revoked_at := coalesce(NEW.revoked_at, greatest(now(), NEW.joined_at));
        END IF;
        NEW.status_since := greatest(clock_timestamp(), OLD.status_since + interval '1 microsecond');
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION authz.stamp_membership_status() IS
    'Trigger: keeps status, status_since and revoked_at consistent, and closes an expired predecessor.';
REVOKE ALL ON FUNCTION authz.stamp_membership_status() FROM PUBLIC;

CREATE FUNCTION authz.record_membership_status() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        UPDATE authz.tenant_membership_history SET valid_until = NEW.status_since
        WHERE tenant_id = NEW.tenant_id AND principal_id = NEW.principal_id AND joined_at = NEW.joined_at
          AND valid_until IS NULL;
    ELSIF NEW.status = 'revoked' AND NEW.status_since = NEW.joined_at AND NEW.joined_at < NEW.revoked_at THEN
        -- Inserted as revoked, from older records: it was active until then. (A status changed by UPDATE always has
        -- a later status_since, so that this too follows from the row alone.)
        INSERT INTO authz.tenant_membership_history (tenant_id, principal_id, joined_at, status, valid_from, valid_until)
        VALUES (NEW.tenant_id, NEW.principal_id, NEW.joined_at, 'active', NEW.joined_at, NEW.revoked_at),
               (NEW.tenant_id, NEW.principal_id, NEW.joined_at, 'revoked', NEW.revoked_at, NULL);
        RETURN NULL;
    END IF;
    INSERT INTO authz.tenant_membership_history (tenant_id, principal_id, joined_at, status, valid_from)
    VALUES (NEW.tenant_id, NEW.principal_id, NEW.joined_at, NEW.status, NEW.status_since);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION authz.record_membership_status() IS
    'Trigger: ends the open interval of tenant_membership_history and begins the next.';
REVOKE ALL ON FUNCTION authz.record_membership_status() FROM PUBLIC;

CREATE FUNCTION authz.skip_recorded_membership_status() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM authz.tenant_membership_history
               WHERE tenant_id = NEW.tenant_id AND principal_id = NEW.principal_id
                 AND joined_at = NEW.joined_at AND valid_from = NEW.valid_from) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION authz.skip_recorded_membership_status() IS
    'Trigger: skips an interval that is there already, as when a dump is restored.';
REVOKE ALL ON FUNCTION authz.skip_recorded_membership_status() FROM PUBLIC;

CREATE TABLE authz.tenant_principal_profile (
    tenant_id uuid NOT NULL,
    principal_id uuid NOT NULL,
    display_name text NOT NULL,
    status text COLLATE "C" NOT NULL DEFAULT 'active',
    CONSTRAINT tenant_principal_profile_pkey PRIMARY KEY (tenant_id, principal_id),
    CONSTRAINT tenant_principal_profile_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES authz.tenant (tenant_id),
    CONSTRAINT tenant_principal_profile_principal_id_fkey
        FOREIGN KEY (principal_id) REFERENCES authz.principal (principal_id),
    CONSTRAINT tenant_principal_profile_status_check CHECK (status <> '')
);
CREATE INDEX tenant_principal_profile_principal_idx ON authz.tenant_principal_profile (principal_id);
COMMENT ON TABLE authz.tenant_principal_profile IS
    'What a tenant may know of a principal: join this, not authz.principal, to show names inside a tenant.';
COMMENT ON COLUMN authz.tenant_principal_profile.tenant_id IS 'The tenant.';
COMMENT ON COLUMN authz.tenant_principal_profile.principal_id IS 'The principal.';
COMMENT ON COLUMN authz.tenant_principal_profile.display_name IS 'Name to show inside the tenant.';
COMMENT ON COLUMN authz.tenant_principal_profile.status IS 'Status to show inside the tenant; no decision reads it.';
-- Names inside a tenant are for its members; who is granted SELECT and joins them learns of nobody elsewhere.
ALTER TABLE authz.tenant_principal_profile ENABLE ROW LEVEL SECURITY;
CREATE POLICY member_select ON authz.tenant_principal_profile FOR SELECT USING (authz.session_is_member(tenant_id));
COMMENT ON POLICY member_select ON authz.tenant_principal_profile IS 'Members of a tenant see what it knows of its people.';

CREATE TABLE authz.team_membership_history (
    team_membership_id uuid NOT NULL DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL,
    team_id uuid NOT NULL,
    principal_id uuid NOT NULL,
    role_code text COLLATE "C",
    valid_from timestamptz NOT NULL DEFAULT now(),
    valid_until timestamptz,
    granted_by uuid,
    active_from timestamptz NOT NULL GENERATED ALWAYS AS (valid_from) STORED,
    active_until timestamptz NOT NULL GENERATED ALWAYS AS (coalesce(valid_until, 'infinity')) STORED,
    CONSTRAINT team_membership_history_pkey PRIMARY KEY (team_membership_id),
    CONSTRAINT team_membership_history_tenant_id_team_id_fkey
        FOREIGN KEY (tenant_id, team_id) REFERENCES authz.team (tenant_id, team_id),
    CONSTRAINT team_membership_history_principal_id_fkey
        FOREIGN KEY (principal_id) REFERENCES authz.principal (principal_id),
    CONSTRAINT team_membership_history_role_code_fkey
        FOREIGN KEY (role_code) REFERENCES authz.role_definition (role_code),
    CONSTRAINT team_membership_history_granted_by_fkey
        FOREIGN KEY (granted_by) REFERENCES authz.principal (principal_id),
    CONSTRAINT team_membership_history_valid_until_check CHECK (valid_until >= valid_from)
);
CREATE UNIQUE INDEX team_membership_active_key
    ON authz.team_membership_history (tenant_id, team_id, principal_id) WHERE valid_until IS NULL;
ALTER TABLE authz.team_membership_history ADD CONSTRAINT team_membership_history_tenant_id_team_id_principal_id_excl EXCLUDE USING gist (
    int8range(uuid_hash_extended(principal_id, uuid_hash_extended(team_id, uuid_hash_extended(tenant_id, 0))),
              uuid_hash_extended(principal_id, uuid_hash_extended(team_id, uuid_hash_extended(tenant_id, 0))),
              '[]') WITH &&,
    tstzrange(active_from, active_until) WITH &&
) WHERE (active_from < active_until);
CREATE INDEX team_membership_principal_idx ON authz.team_membership_history (principal_id, active_until);
CREATE INDEX team_membership_team_idx ON authz.team_membership_history (tenant_id, team_id, active_until);
COMMENT ON TABLE authz.team_membership_history IS 'A principal belongs to a team of a tenant: present and past memberships.';
COMMENT ON COLUMN authz.team_membership_history.team_membership_id IS 'Key.';
COMMENT ON COLUMN authz.team_membership_history.tenant_id IS 'The tenant.';
COMMENT ON COLUMN authz.team_membership_history.team_id IS 'The team.';
COMMENT ON COLUMN authz.team_membership_history.principal_id IS 'The principal.';
COMMENT ON COLUMN authz.team_membership_history.role_code IS
    'The place in the team, for people to read: it gives no permission, role assignments do. NULL: a plain member.';
COMMENT ON COLUMN authz.team_membership_history.valid_from IS 'Start of the membership.';
COMMENT ON COLUMN authz.team_membership_history.valid_until IS
    'End of the membership, exclusive; NULL: open. Set it to close the row.';
COMMENT ON COLUMN authz.team_membership_history.granted_by IS 'The principal who added this one; NULL: nobody on record.';
COMMENT ON COLUMN authz.team_membership_history.active_from IS 'In force from here.';
COMMENT ON COLUMN authz.team_membership_history.active_until IS 'In force until here, exclusive; infinity: open.';

-- Triggers fire in the order of their names: guard_... looks at what the user wrote before the others add to it.
CREATE TRIGGER guard_delete BEFORE DELETE ON authz.tenant_membership
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_delete('Set status = ''revoked'' instead.');
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON authz.tenant_membership
    FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_delete('Set status = ''revoked'' instead.');
CREATE TRIGGER guard_update BEFORE UPDATE ON authz.tenant_membership
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_overwrite(
        '{"status": "free", "expires_at": "until", "revoked_at": "until"}');
CREATE TRIGGER stamp_status BEFORE INSERT OR UPDATE ON authz.tenant_membership
    FOR EACH ROW EXECUTE FUNCTION authz.stamp_membership_status();
CREATE TRIGGER record_status_insert AFTER INSERT ON authz.tenant_membership
    FOR EACH ROW EXECUTE FUNCTION authz.record_membership_status();
CREATE TRIGGER record_status_update AFTER UPDATE ON authz.tenant_membership
    FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION authz.record_membership_status();

CREATE TRIGGER guard_delete BEFORE DELETE ON authz.tenant_membership_history
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_delete('Change tenant_membership.status: valid_until is set by it.');
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON authz.tenant_membership_history
    FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_delete('Change tenant_membership.status: valid_until is set by it.');
CREATE TRIGGER guard_update BEFORE UPDATE ON authz.tenant_membership_history
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_overwrite('{"valid_until": "until"}');
CREATE TRIGGER skip_recorded BEFORE INSERT ON authz.tenant_membership_history
    FOR EACH ROW EXECUTE FUNCTION authz.skip_recorded_membership_status();

CREATE TRIGGER guard_delete BEFORE DELETE ON authz.team_membership_history
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_delete('Set valid_until instead.');
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON authz.team_membership_history
    FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_delete('Set valid_until instead.');
CREATE TRIGGER guard_update BEFORE UPDATE ON authz.team_membership_history
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_overwrite('{"valid_until": "until"}');

SELECT pg_catalog.pg_extension_config_dump('authz.tenant_membership'::pg_catalog.regclass, '');
SELECT pg_catalog.pg_extension_config_dump('authz.tenant_membership_history'::pg_catalog.regclass, '');
SELECT pg_catalog.pg_extension_config_dump('authz.tenant_principal_profile'::pg_catalog.regclass, '');
SELECT pg_catalog.pg_extension_config_dump('authz.team_membership_history'::pg_catalog.regclass, '');
