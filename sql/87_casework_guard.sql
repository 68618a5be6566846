-- What holds for every writer of the reference domain, the owner of the database included. Triggers on INSERT are avoided:
-- they would run again while a dump is restored.

CREATE FUNCTION casework.stamp_case() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION casework.stamp_case() IS 'Trigger: keeps case_record.updated_at.';
REVOKE ALL ON FUNCTION casework.stamp_case() FROM PUBLIC;

-- History begins with the first change: what was before it is written then, so that it is complete for every case that
-- it mentions. The reason is the setting authz.change_reason.
CREATE FUNCTION casework.keep_owner_history() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    at      timestamptz := clock_timestamp();
    changed record;
BEGIN
    FOR changed IN
        SELECT * FROM (VALUES ('organization', OLD.owning_org_id, NEW.owning_org_id),
                              ('team', OLD.owning_team_id, NEW.owning_team_id),
                              ('principal', OLD.owner_principal_id, NEW.owner_principal_id)) AS v (kind, was, becomes)
        WHERE was IS DISTINCT FROM becomes
    LOOP
        IF NOT EXISTS (SELECT FROM casework.case_ownership_history AS h
                       WHERE h.tenant_id = NEW.tenant_id AND h.case_id = NEW.case_id AND h.owner_type = changed.kind) THEN
            INSERT INTO casework.case_ownership_history (tenant_id, case_id, owner_type, owner_id, assigned_at, unassigned_at)
            SELECT NEW.tenant_id, NEW.case_id, changed.kind, changed.was, NEW.created_at, at
            WHERE changed.was IS NOT NULL AND NEW.created_at < at;
        ELSE
            UPDATE casework.case_ownership_history AS h SET unassigned_at = greatest(at, h.assigned_at)
            WHERE h.tenant_id = NEW.tenant_id AND h.case_id = NEW.case_id AND h.owner_type = changed.kind
              AND h.unassigned_at IS NULL;
        END IF;
        INSERT INTO casework.case_ownership_history
            (tenant_id, case_id, owner_type, owner_id, assigned_by, assigned_at, reason_code)
        SELECT NEW.tenant_id, NEW.case_id, changed.kind, changed.becomes, authz.session_principal(), at,
               authz.change_reason()
        WHERE changed.becomes IS NOT NULL;
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION casework.keep_owner_history() IS 'Trigger (AFTER UPDATE): keeps casework.case_ownership_history.';
REVOKE ALL ON FUNCTION casework.keep_owner_history() FROM PUBLIC;

CREATE FUNCTION casework.guard_decision() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    editor uuid := authz.session_principal();
BEGIN
    IF NEW.status <> OLD.status AND (OLD.status, NEW.status) NOT IN (
        ('draft', 'submitted'), ('draft', 'withdrawn'), ('submitted', 'approved'), ('submitted', 'rejected'),
        ('submitted', 'withdrawn')) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('a decision that is %s cannot become %s', OLD.status, NEW.status),
            HINT = 'A draft is submitted, then approved or rejected; a draft or a submitted decision can be withdrawn.';
    END IF;
    IF NEW.outcome IS DISTINCT FROM OLD.outcome THEN
        IF OLD.status <> 'draft' THEN
            RAISE EXCEPTION USING
                ERRCODE = 'object_not_in_prerequisite_state',
                MESSAGE = format('a decision that is %s cannot be edited', OLD.status),
                HINT = 'Withdraw it, and draft another one.';
        END IF;
        NEW.edited_by := CASE WHEN editor IS NULL OR editor = ANY (OLD.edited_by) THEN OLD.edited_by
                              ELSE OLD.edited_by || editor END;
    ELSE
        NEW.edited_by := OLD.edited_by;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION casework.guard_decision() IS
    'Trigger: legal transitions only; what is submitted is not edited (SQLSTATE 55000). Remembers who edited a draft.';
REVOKE ALL ON FUNCTION casework.guard_decision() FROM PUBLIC;

-- Drafting and editing are not done by functions: here they count as uses of a role (dynamic separation of duty).
CREATE FUNCTION casework.use_decision() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF authz.session_principal() IS NOT NULL THEN
        PERFORM authz.sod_use(CASE TG_OP WHEN 'INSERT' THEN 'decision.create' ELSE 'decision.edit' END, 'decision'::text,
                              NEW.decision_id::text, NEW.tenant_id, authz.session_principal());
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION casework.use_decision() IS
    'Trigger (AFTER): notes that the session''s principal drafts or edits a decision; 23514 where a dynamic separation of duty forbids it.';
REVOKE ALL ON FUNCTION casework.use_decision() FROM PUBLIC;
CREATE TRIGGER use_insert AFTER INSERT ON casework.case_decision
    FOR EACH ROW EXECUTE FUNCTION casework.use_decision();
CREATE TRIGGER use_update AFTER UPDATE ON casework.case_decision
    FOR EACH ROW WHEN (OLD.outcome IS DISTINCT FROM NEW.outcome) EXECUTE FUNCTION casework.use_decision();

CREATE TRIGGER guard_update BEFORE UPDATE ON casework.case_record
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_overwrite('{"owning_org_id": "free", "owning_team_id": "free",
        "owner_principal_id": "free", "title": "free", "confidentiality_level": "free", "status": "free",
        "updated_at": "free", "deleted_at": "free"}');
CREATE TRIGGER stamp BEFORE UPDATE ON casework.case_record
    FOR EACH ROW EXECUTE FUNCTION casework.stamp_case();
CREATE TRIGGER keep_history AFTER UPDATE ON casework.case_record
    FOR EACH ROW EXECUTE FUNCTION casework.keep_owner_history();

CREATE TRIGGER guard_update BEFORE UPDATE ON casework.case_assignment
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_overwrite('{"unassigned_at": "once", "unassigned_by": "once"}');
CREATE TRIGGER guard_update BEFORE UPDATE ON casework.case_ownership_history
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_overwrite('{"unassigned_at": "once"}');
CREATE TRIGGER guard_update BEFORE UPDATE ON casework.case_document
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_overwrite('{"document_type": "free", "confidentiality_level": "free"}');
CREATE TRIGGER guard_decision BEFORE UPDATE ON casework.case_decision
    FOR EACH ROW EXECUTE FUNCTION casework.guard_decision();
CREATE TRIGGER guard_update BEFORE UPDATE ON casework.case_decision
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_overwrite('{"status": "free", "outcome": "free", "edited_by": "free",
        "submitted_by": "once", "submitted_at": "once", "decided_by": "once", "decided_at": "once"}');
CREATE TRIGGER guard_update BEFORE UPDATE ON casework.case_decision_transition
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_overwrite('{}');

-- What happened stays.
DO $$
DECLARE
    kept record;
BEGIN
    FOR kept IN
        SELECT * FROM (VALUES ('case_assignment', 'End it with unassign_case.'),
                              ('case_ownership_history', 'History ends with the next transfer.'),
                              ('case_decision', 'Withdraw it with withdraw_case_decision.'),
                              ('case_decision_transition', 'What happened stays.')) AS v (name, hint)
    LOOP
        EXECUTE pg_catalog.format('CREATE TRIGGER guard_delete BEFORE DELETE ON casework.%I
                                       FOR EACH ROW EXECUTE FUNCTION authz.refuse_delete(%L)', kept.name, kept.hint);
        EXECUTE pg_catalog.format('CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON casework.%I
                                       FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_delete(%L)', kept.name, kept.hint);
    END LOOP;
END
$$;
