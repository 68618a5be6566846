-- What is known of a principal besides its identity: platform profile, operator profile, account security.

CREATE TABLE authz.profile (
    user_id uuid NOT NULL,
    email text NOT NULL,
    full_name text,
    phone text,
    avatar_file_id uuid,
    is_super_admin boolean NOT NULL DEFAULT false,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT profile_pkey PRIMARY KEY (user_id),
    CONSTRAINT profile_user_id_fkey FOREIGN KEY (user_id) REFERENCES authz.principal (principal_id),
    -- Only what no address lacks: whether it exists is known when a message to it is answered.
    CONSTRAINT profile_email_check CHECK (email ~ '^[^@[:space:]]+@[^@[:space:]]+$'),
    CONSTRAINT profile_metadata_check CHECK (jsonb_typeof(metadata) = 'object')
);
COMMENT ON TABLE authz.profile IS 'Platform profile of a human principal; each sees and changes only its own.';
COMMENT ON COLUMN authz.profile.user_id IS 'The principal; the same id as at the authentication provider.';
COMMENT ON COLUMN authz.profile.email IS 'E-mail address, required.';
COMMENT ON COLUMN authz.profile.full_name IS 'Full name.';
COMMENT ON COLUMN authz.profile.phone IS 'Telephone number.';
COMMENT ON COLUMN authz.profile.avatar_file_id IS 'Id of the picture in the file store.';
COMMENT ON COLUMN authz.profile.is_super_admin IS
    'Mirror of a platform role, for display; no decision reads it and its own user cannot set it.';
COMMENT ON COLUMN authz.profile.metadata IS 'Anything else, a JSON object.';
COMMENT ON COLUMN authz.profile.created_at IS 'When the profile was created; fixed.';
COMMENT ON COLUMN authz.profile.updated_at IS 'When it was last changed; kept by the database.';

CREATE FUNCTION authz.stamp_profile() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.created_at := OLD.created_at;
    NEW.updated_at := now();
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION authz.stamp_profile() IS 'Trigger: keeps profile.created_at and profile.updated_at.';
REVOKE ALL ON FUNCTION authz.stamp_profile() FROM PUBLIC;
CREATE TRIGGER stamp BEFORE UPDATE ON authz.profile
    FOR EACH ROW EXECUTE FUNCTION authz.stamp_profile();

CREATE TABLE authz.operator_profile (
    principal_id uuid NOT NULL,
    operator_role text NOT NULL DEFAULT 'SOC Analyst',
    clearance_level text COLLATE "C" NOT NULL DEFAULT 'L1',
    mfa_enabled boolean NOT NULL DEFAULT false,
    alert_quota integer NOT NULL DEFAULT 0,
    assigned_clients integer NOT NULL DEFAULT 0,
    is_admin boolean NOT NULL DEFAULT false,
    CONSTRAINT operator_profile_pkey PRIMARY KEY (principal_id),
    CONSTRAINT operator_profile_principal_id_fkey
        FOREIGN KEY (principal_id) REFERENCES authz.principal (principal_id),
    CONSTRAINT operator_profile_operator_role_check CHECK (btrim(operator_role) <> ''),
    CONSTRAINT operator_profile_clearance_level_check CHECK (clearance_level IN ('L1', 'L2', 'L3')),
    CONSTRAINT operator_profile_alert_quota_check CHECK (alert_quota >= 0),
    CONSTRAINT operator_profile_assigned_clients_check CHECK (assigned_clients >= 0)
);
COMMENT ON TABLE authz.operator_profile IS 'Operators of the security service: classification, clearance and workload.';
COMMENT ON COLUMN authz.operator_profile.principal_id IS 'The principal.';
COMMENT ON COLUMN authz.operator_profile.operator_role IS
    'Classification: SOC Analyst, MDR Lead, GRC Manager, Pentest Lead, or one of your own. It is a label, not a role that gives permissions.';
COMMENT ON COLUMN authz.operator_profile.clearance_level IS
    'L1, L2 or L3; a resource type can ask for one (resource_type.clearance).';
COMMENT ON COLUMN authz.operator_profile.mfa_enabled IS 'A second factor is enrolled.';
COMMENT ON COLUMN authz.operator_profile.alert_quota IS 'How many pieces of work the operator may have at once.';
COMMENT ON COLUMN authz.operator_profile.assigned_clients IS 'How many clients the operator looks after.';
COMMENT ON COLUMN authz.operator_profile.is_admin IS 'Administers the service; a label, which gives no permission.';

CREATE TABLE authz.account_security (
    principal_id uuid NOT NULL,
    email_verified boolean NOT NULL DEFAULT false,
    password_hash text COLLATE "C",
    mfa_enabled boolean NOT NULL DEFAULT false,
    mfa_secret_encrypted bytea,
    failed_login_attempts integer NOT NULL DEFAULT 0,
    locked_until timestamptz,
    locked_since timestamptz,
    last_login_at timestamptz,
    password_changed_at timestamptz,
    CONSTRAINT account_security_pkey PRIMARY KEY (principal_id),
    CONSTRAINT account_security_principal_id_fkey
        FOREIGN KEY (principal_id) REFERENCES authz.principal (principal_id),
    CONSTRAINT account_security_password_hash_check CHECK (password_hash <> ''),
    CONSTRAINT account_security_failed_login_attempts_check CHECK (failed_login_attempts >= 0)
);
COMMENT ON TABLE authz.account_security IS 'Log-in state of a principal. The secrets are read by the functions that need them only.';
COMMENT ON COLUMN authz.account_security.principal_id IS 'The principal.';
COMMENT ON COLUMN authz.account_security.email_verified IS 'The e-mail address has been confirmed.';
COMMENT ON COLUMN authz.account_security.password_hash IS 'Hash of the password; secret.';
COMMENT ON COLUMN authz.account_security.mfa_enabled IS 'A second factor is enrolled.';
COMMENT ON COLUMN authz.account_security.mfa_secret_encrypted IS
    'Secret of the second factor, encrypted by the application; secret.';
COMMENT ON COLUMN authz.account_security.failed_login_attempts IS 'Failed attempts since the last log-in.';
COMMENT ON COLUMN authz.account_security.locked_until IS
    'Until then the principal is locked out, and allowed nothing; NULL: not locked.';
COMMENT ON COLUMN authz.account_security.locked_since IS 'Since when it is locked out until then; kept by the database.';
COMMENT ON COLUMN authz.account_security.last_login_at IS 'Last log-in.';
COMMENT ON COLUMN authz.account_security.password_changed_at IS 'Last change of the password.';

SELECT pg_catalog.pg_extension_config_dump('authz.profile'::pg_catalog.regclass, '');
SELECT pg_catalog.pg_extension_config_dump('authz.operator_profile'::pg_catalog.regclass, '');
SELECT pg_catalog.pg_extension_config_dump('authz.account_security'::pg_catalog.regclass, '');
