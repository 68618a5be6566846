-- The permissions that the extension itself asks for. They are rows like all others, so that roles can have them and
-- requires_mfa can be set; but they are always there. A new one is added to the list below.

INSERT INTO authz.permission_definition (permission_code, resource_type, action_code, description, is_system_permission)
SELECT p.subject || '.' || p.action, p.subject, p.action, p.about, true
FROM (VALUES
    ('member',     'manage',   'Take principals into a tenant, suspend and revoke their membership.'),
    ('team',       'manage',   'Take members into a team and out of it.'),
    ('role',       'assign',   'Give roles to members at a scope, and take them away.'),
    ('role',       'manage',   'Define roles, what they inherit and which permissions they have (platform scope).'),
    ('permission', 'manage',   'Define permissions and what they imply (platform scope).'),
    ('grant',      'create',   'Share a resource, and end that.'),
    ('rule',       'manage',   'Make and remove explicit denies.'),
    ('ownership',  'transfer', 'Give a resource to another owner.'),
    ('principal',  'manage',   'Suspend, lock, disable and reactivate principals (platform scope).'),
    ('access',     'request',  'Ask for a privileged session.'),
    ('access',     'approve',  'Approve, end and see the privileged sessions of others.'),
    ('access',     'break_glass', 'Begin a break-glass session at once.'),
    ('access',     'review',   'Review break-glass sessions afterwards.'),
    ('audit',      'read',     'Read access and change events.'),
    ('data',       'classify', 'Say how sensitive columns are, and how they are masked (platform scope).'),
    ('export',     'request',  'Ask for an export.'),
    ('export',     'approve',  'Approve the exports of others.'),
    ('work',       'route',    'Route work to operators.')
) AS p (subject, action, about);

CREATE FUNCTION authz.guard_system_permission() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'object_not_in_prerequisite_state',
        MESSAGE = format('%s of permission %L is refused', TG_OP, OLD.permission_code),
        DETAIL = 'Which permissions are system permissions, and their codes, is the extension''s own affair.',
        HINT = 'Description, requires_mfa and access_mode can be changed. Define a permission of your own for the rest.';
END
$$;
COMMENT ON FUNCTION authz.guard_system_permission() IS
    'Trigger: refuses to delete or rename a system permission, or to make one by UPDATE (SQLSTATE 55000).';
REVOKE ALL ON FUNCTION authz.guard_system_permission() FROM PUBLIC;

-- CREATE EXTENSION has made the system permissions when a dump is restored or a subscription copies the table: then
-- what is copied takes the place of what is there. ALWAYS, because that copying is done as a replica.
CREATE FUNCTION authz.merge_system_permission() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE authz.permission_definition
    SET description = NEW.description, requires_mfa = NEW.requires_mfa, access_mode = NEW.access_mode
    WHERE permission_code = NEW.permission_code AND is_system_permission;
    RETURN CASE WHEN FOUND THEN NULL ELSE NEW END;
END
$$;
COMMENT ON FUNCTION authz.merge_system_permission() IS
    'Trigger: a system permission that is inserted again, as from a dump, updates the one that is there.';
REVOKE ALL ON FUNCTION authz.merge_system_permission() FROM PUBLIC;

CREATE TRIGGER guard_delete BEFORE DELETE ON authz.permission_definition
    FOR EACH ROW WHEN (OLD.is_system_permission) EXECUTE FUNCTION authz.guard_system_permission();
CREATE TRIGGER guard_update BEFORE UPDATE ON authz.permission_definition
    FOR EACH ROW WHEN (OLD.is_system_permission <> NEW.is_system_permission
                       OR (OLD.is_system_permission AND NEW.permission_code <> OLD.permission_code))
    EXECUTE FUNCTION authz.guard_system_permission();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON authz.permission_definition
    FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_delete('DELETE single permissions that nothing refers to.');
CREATE TRIGGER merge_system BEFORE INSERT ON authz.permission_definition
    FOR EACH ROW WHEN (NEW.is_system_permission) EXECUTE FUNCTION authz.merge_system_permission();
ALTER TABLE authz.permission_definition ENABLE ALWAYS TRIGGER merge_system;
