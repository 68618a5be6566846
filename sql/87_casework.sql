-- The reference domain: cases, and what belongs to them. The tables come with the extension, closed by row security;
-- authz_install_casework (87_casework_install.sql) opens them by the public functions alone.
--
-- Every key begins with the tenant, and every reference repeats it: no row can name another tenant's row. Nothing cascades:
-- a cascade acts past row security. Keys are given by the database or its owner: whoever could choose the key of a case
-- could make another tenant's key ambiguous.

CREATE SCHEMA casework;
COMMENT ON SCHEMA casework IS 'The reference domain of authz_ext: case management.';
REVOKE ALL ON SCHEMA casework FROM PUBLIC;

CREATE TABLE casework.case_record (
    tenant_id uuid NOT NULL,
    case_id uuid NOT NULL DEFAULT gen_random_uuid(),
    owning_org_id uuid,
    owning_team_id uuid,
    owner_principal_id uuid,
    case_number text COLLATE "C" NOT NULL,
    title text,
    confidentiality_level text COLLATE "C" NOT NULL DEFAULT 'normal',
    status text COLLATE "C" NOT NULL DEFAULT 'open',
    created_by uuid DEFAULT @extschema@.authz_principal(),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT case_record_pkey PRIMARY KEY (tenant_id, case_id),
    CONSTRAINT case_record_tenant_id_case_number_key UNIQUE (tenant_id, case_number),
    CONSTRAINT case_record_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES authz.tenant (tenant_id),
    CONSTRAINT case_record_owning_org_id_fkey
        FOREIGN KEY (tenant_id, owning_org_id) REFERENCES authz.organization (tenant_id, organization_id),
    CONSTRAINT case_record_owning_team_id_fkey
        FOREIGN KEY (tenant_id, owning_team_id) REFERENCES authz.team (tenant_id, team_id),
    CONSTRAINT case_record_owner_principal_id_fkey
        FOREIGN KEY (owner_principal_id) REFERENCES authz.principal (principal_id),
    CONSTRAINT case_record_created_by_fkey FOREIGN KEY (created_by) REFERENCES authz.principal (principal_id),
    CONSTRAINT case_record_case_number_check CHECK (case_number <> '' AND case_number = btrim(case_number)),
    CONSTRAINT case_record_confidentiality_level_check
        CHECK (confidentiality_level IN ('normal', 'restricted', 'sealed')),
    CONSTRAINT case_record_status_check CHECK (status IN ('open', 'closed', 'archived'))
);
CREATE INDEX case_record_case_id_idx ON casework.case_record (case_id);
CREATE INDEX case_record_owning_org_id_idx ON casework.case_record (owning_org_id);
CREATE INDEX case_record_owning_team_id_idx ON casework.case_record (owning_team_id);
CREATE INDEX case_record_owner_principal_id_idx ON casework.case_record (owner_principal_id);
COMMENT ON TABLE casework.case_record IS 'A case. Its boundary, status and deletion are changed by functions only.';
COMMENT ON COLUMN casework.case_record.tenant_id IS 'The tenant.';
COMMENT ON COLUMN casework.case_record.case_id IS 'Key, within the tenant.';
COMMENT ON COLUMN casework.case_record.owning_org_id IS 'The organization that owns it; NULL: the tenant as a whole.';
COMMENT ON COLUMN casework.case_record.owning_team_id IS 'The team that owns it; NULL: none.';
COMMENT ON COLUMN casework.case_record.owner_principal_id IS
    'The member who owns it, for whom the role case_owner holds at it; NULL: none. Not its creator.';
COMMENT ON COLUMN casework.case_record.case_number IS 'The number by which people name it, unique in the tenant.';
COMMENT ON COLUMN casework.case_record.title IS 'What it is about.';
COMMENT ON COLUMN casework.case_record.confidentiality_level IS 'normal, restricted or sealed.';
COMMENT ON COLUMN casework.case_record.status IS 'open, closed or archived.';
COMMENT ON COLUMN casework.case_record.created_by IS 'Who opened it: the session''s principal. Gives no authority.';
COMMENT ON COLUMN casework.case_record.created_at IS 'When it was opened.';
COMMENT ON COLUMN casework.case_record.updated_at IS 'When the row was last changed; kept by a trigger.';
COMMENT ON COLUMN casework.case_record.deleted_at IS 'When it was deleted, which hides it; NULL: it is not.';

CREATE TABLE casework.case_assignment (
    tenant_id uuid NOT NULL,
    assignment_id uuid NOT NULL DEFAULT gen_random_uuid(),
    case_id uuid NOT NULL,
    principal_id uuid NOT NULL,
    assignment_role text COLLATE "C" NOT NULL DEFAULT 'investigator',
    assigned_by uuid,
    assigned_at timestamptz NOT NULL DEFAULT now(),
    unassigned_by uuid,
    unassigned_at timestamptz,
    role_assignment_id uuid,
    CONSTRAINT case_assignment_pkey PRIMARY KEY (tenant_id, assignment_id),
    CONSTRAINT case_assignment_case_id_fkey
        FOREIGN KEY (tenant_id, case_id) REFERENCES casework.case_record (tenant_id, case_id),
    CONSTRAINT case_assignment_principal_id_fkey FOREIGN KEY (principal_id) REFERENCES authz.principal (principal_id),
    CONSTRAINT case_assignment_assigned_by_fkey FOREIGN KEY (assigned_by) REFERENCES authz.principal (principal_id),
    CONSTRAINT case_assignment_unassigned_by_fkey FOREIGN KEY (unassigned_by) REFERENCES authz.principal (principal_id),
    CONSTRAINT case_assignment_role_assignment_id_fkey
        FOREIGN KEY (role_assignment_id) REFERENCES authz.principal_role_assignment (assignment_id),
    CONSTRAINT case_assignment_assignment_role_check CHECK (assignment_role IN ('investigator', 'approver')),
    CONSTRAINT case_assignment_unassigned_at_check CHECK (unassigned_at >= assigned_at)
);
CREATE UNIQUE INDEX case_assignment_open_key ON casework.case_assignment (tenant_id, case_id, principal_id, assignment_role)
    WHERE unassigned_at IS NULL;
CREATE INDEX case_assignment_assignment_id_idx ON casework.case_assignment (assignment_id);
CREATE INDEX case_assignment_case_id_idx ON casework.case_assignment (case_id);
COMMENT ON TABLE casework.case_assignment IS 'Who works on a case, as what, and when. Written by assign_case and unassign_case.';
COMMENT ON COLUMN casework.case_assignment.tenant_id IS 'The tenant.';
COMMENT ON COLUMN casework.case_assignment.assignment_id IS 'Key, within the tenant.';
COMMENT ON COLUMN casework.case_assignment.case_id IS 'The case.';
COMMENT ON COLUMN casework.case_assignment.principal_id IS 'Who works on it.';
COMMENT ON COLUMN casework.case_assignment.assignment_role IS 'investigator or approver: the role case_investigator or case_approver at the case.';
COMMENT ON COLUMN casework.case_assignment.assigned_by IS 'Who assigned it; NULL: the owner of the database.';
COMMENT ON COLUMN casework.case_assignment.assigned_at IS 'Since when.';
COMMENT ON COLUMN casework.case_assignment.unassigned_by IS 'Who ended it.';
COMMENT ON COLUMN casework.case_assignment.unassigned_at IS 'Until when; NULL: still.';
COMMENT ON COLUMN casework.case_assignment.role_assignment_id IS 'The role that came with it, and ends with it; NULL: none did.';

CREATE TABLE casework.case_ownership_history (
    tenant_id uuid NOT NULL,
    history_id uuid NOT NULL DEFAULT gen_random_uuid(),
    case_id uuid NOT NULL,
    owner_type text COLLATE "C" NOT NULL,
    owner_id uuid NOT NULL,
    assigned_by uuid,
    assigned_at timestamptz NOT NULL DEFAULT now(),
    unassigned_at timestamptz,
    reason_code text,
    CONSTRAINT case_ownership_history_pkey PRIMARY KEY (tenant_id, history_id),
    CONSTRAINT case_ownership_history_case_id_fkey
        FOREIGN KEY (tenant_id, case_id) REFERENCES casework.case_record (tenant_id, case_id),
    CONSTRAINT case_ownership_history_assigned_by_fkey FOREIGN KEY (assigned_by) REFERENCES authz.principal (principal_id),
    CONSTRAINT case_ownership_history_owner_type_check CHECK (owner_type IN ('organization', 'team', 'principal')),
    CONSTRAINT case_ownership_history_unassigned_at_check CHECK (unassigned_at >= assigned_at)
);
CREATE UNIQUE INDEX case_ownership_history_open_key ON casework.case_ownership_history (tenant_id, case_id, owner_type)
    WHERE unassigned_at IS NULL;
CREATE INDEX case_ownership_history_history_id_idx ON casework.case_ownership_history (history_id);
CREATE INDEX case_ownership_history_case_id_idx ON casework.case_ownership_history (case_id);
COMMENT ON TABLE casework.case_ownership_history IS
    'Who owned a case, as intervals, from its first change of hands on: decisions about the past read it.';
COMMENT ON COLUMN casework.case_ownership_history.tenant_id IS 'The tenant.';
COMMENT ON COLUMN casework.case_ownership_history.history_id IS 'Key, within the tenant.';
COMMENT ON COLUMN casework.case_ownership_history.case_id IS 'The case.';
COMMENT ON COLUMN casework.case_ownership_history.owner_type IS 'organization, team or principal: which of the case''s three owners it is.';
COMMENT ON COLUMN casework.case_ownership_history.owner_id IS 'Its id.';
COMMENT ON COLUMN casework.case_ownership_history.assigned_by IS 'Who made it the owner; NULL: unknown, or the owner of the database.';
COMMENT ON COLUMN casework.case_ownership_history.assigned_at IS 'Since when.';
COMMENT ON COLUMN casework.case_ownership_history.unassigned_at IS 'Until when; NULL: still.';
COMMENT ON COLUMN casework.case_ownership_history.reason_code IS 'Why it became the owner; NULL: none given.';

CREATE TABLE casework.case_sensitive_detail (
    tenant_id uuid NOT NULL,
    case_id uuid NOT NULL,
    complainant_name text,
    complainant_identifier text,
    restricted_notes text,
    CONSTRAINT case_sensitive_detail_pkey PRIMARY KEY (tenant_id, case_id),
    CONSTRAINT case_sensitive_detail_case_id_fkey
        FOREIGN KEY (tenant_id, case_id) REFERENCES casework.case_record (tenant_id, case_id)
);
CREATE INDEX case_sensitive_detail_case_id_idx ON casework.case_sensitive_detail (case_id);
COMMENT ON TABLE casework.case_sensitive_detail IS 'What only few of those may see who see the case (R41).';
COMMENT ON COLUMN casework.case_sensitive_detail.tenant_id IS 'The tenant.';
COMMENT ON COLUMN casework.case_sensitive_detail.case_id IS 'The case.';
COMMENT ON COLUMN casework.case_sensitive_detail.complainant_name IS 'Who complained.';
COMMENT ON COLUMN casework.case_sensitive_detail.complainant_identifier IS 'A number by which the complainant is known elsewhere.';
COMMENT ON COLUMN casework.case_sensitive_detail.restricted_notes IS 'Notes for those who work on the case.';

CREATE TABLE casework.case_document (
    tenant_id uuid NOT NULL,
    document_id uuid NOT NULL DEFAULT gen_random_uuid(),
    case_id uuid NOT NULL,
    document_type text,
    confidentiality_level text COLLATE "C" NOT NULL DEFAULT 'normal',
    storage_object_id text,
    uploaded_by uuid DEFAULT @extschema@.authz_principal(),
    uploaded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT case_document_pkey PRIMARY KEY (tenant_id, document_id),
    CONSTRAINT case_document_case_id_fkey
        FOREIGN KEY (tenant_id, case_id) REFERENCES casework.case_record (tenant_id, case_id),
    CONSTRAINT case_document_uploaded_by_fkey FOREIGN KEY (uploaded_by) REFERENCES authz.principal (principal_id),
    CONSTRAINT case_document_confidentiality_level_check
        CHECK (confidentiality_level IN ('normal', 'restricted', 'sealed'))
);
CREATE INDEX case_document_document_id_idx ON casework.case_document (document_id);
CREATE INDEX case_document_case_id_idx ON casework.case_document (case_id);
COMMENT ON TABLE casework.case_document IS
    'A document of a case: visible to nobody who does not see the case, and with a level of its own on top (R25).';
COMMENT ON COLUMN casework.case_document.tenant_id IS 'The tenant.';
COMMENT ON COLUMN casework.case_document.document_id IS 'Key, within the tenant.';
COMMENT ON COLUMN casework.case_document.case_id IS 'The case.';
COMMENT ON COLUMN casework.case_document.document_type IS 'What it is.';
COMMENT ON COLUMN casework.case_document.confidentiality_level IS 'normal, restricted or sealed.';
COMMENT ON COLUMN casework.case_document.storage_object_id IS
    'Where its content is stored. No role may read the column: download_case_document returns it to those who may download.';
COMMENT ON COLUMN casework.case_document.uploaded_by IS 'Who uploaded it: the session''s principal.';
COMMENT ON COLUMN casework.case_document.uploaded_at IS 'When.';

CREATE TABLE casework.case_decision (
    tenant_id uuid NOT NULL,
    decision_id uuid NOT NULL DEFAULT gen_random_uuid(),
    case_id uuid NOT NULL,
    status text COLLATE "C" NOT NULL DEFAULT 'draft',
    outcome text,
    drafted_by uuid NOT NULL DEFAULT @extschema@.authz_principal(),
    drafted_at timestamptz NOT NULL DEFAULT now(),
    edited_by uuid[] NOT NULL DEFAULT '{}',
    submitted_by uuid,
    submitted_at timestamptz,
    decided_by uuid,
    decided_at timestamptz,
    CONSTRAINT case_decision_pkey PRIMARY KEY (tenant_id, decision_id),
    CONSTRAINT case_decision_case_id_fkey
        FOREIGN KEY (tenant_id, case_id) REFERENCES casework.case_record (tenant_id, case_id),
    CONSTRAINT case_decision_drafted_by_fkey FOREIGN KEY (drafted_by) REFERENCES authz.principal (principal_id),
    CONSTRAINT case_decision_submitted_by_fkey FOREIGN KEY (submitted_by) REFERENCES authz.principal (principal_id),
    CONSTRAINT case_decision_decided_by_fkey FOREIGN KEY (decided_by) REFERENCES authz.principal (principal_id),
    CONSTRAINT case_decision_status_check CHECK (status IN ('draft', 'submitted', 'approved', 'rejected', 'withdrawn')),
    -- Four eyes, whoever writes the row.
    CONSTRAINT case_decision_decided_by_check CHECK (
        status NOT IN ('approved', 'rejected') OR decided_by IS NULL
        OR (decided_by <> drafted_by AND decided_by <> coalesce(submitted_by, drafted_by) AND decided_by <> ALL (edited_by)))
);
CREATE INDEX case_decision_decision_id_idx ON casework.case_decision (decision_id);
CREATE INDEX case_decision_case_id_idx ON casework.case_decision (case_id);
COMMENT ON TABLE casework.case_decision IS
    'A decision on a case. Its status is changed by submit_, approve_, reject_ and withdraw_case_decision only.';
COMMENT ON COLUMN casework.case_decision.tenant_id IS 'The tenant.';
COMMENT ON COLUMN casework.case_decision.decision_id IS 'Key, within the tenant.';
COMMENT ON COLUMN casework.case_decision.case_id IS 'The case.';
COMMENT ON COLUMN casework.case_decision.status IS 'draft, submitted, approved, rejected or withdrawn.';
COMMENT ON COLUMN casework.case_decision.outcome IS 'What is decided; fixed once the draft is submitted.';
COMMENT ON COLUMN casework.case_decision.drafted_by IS 'Its author: the session''s principal.';
COMMENT ON COLUMN casework.case_decision.drafted_at IS 'When it was drafted.';
COMMENT ON COLUMN casework.case_decision.edited_by IS 'Who changed the draft; kept by a trigger. They are authors, too.';
COMMENT ON COLUMN casework.case_decision.submitted_by IS 'Who submitted it.';
COMMENT ON COLUMN casework.case_decision.submitted_at IS 'When.';
COMMENT ON COLUMN casework.case_decision.decided_by IS 'Who approved, rejected or withdrew it.';
COMMENT ON COLUMN casework.case_decision.decided_at IS 'When.';

CREATE TABLE casework.case_decision_transition (
    tenant_id uuid NOT NULL,
    transition_id uuid NOT NULL DEFAULT gen_random_uuid(),
    decision_id uuid NOT NULL,
    from_status text COLLATE "C" NOT NULL,
    to_status text COLLATE "C" NOT NULL,
    actor_id uuid NOT NULL,
    acted_by uuid NOT NULL,
    reason text NOT NULL,
    occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT case_decision_transition_pkey PRIMARY KEY (tenant_id, transition_id),
    CONSTRAINT case_decision_transition_decision_id_fkey
        FOREIGN KEY (tenant_id, decision_id) REFERENCES casework.case_decision (tenant_id, decision_id),
    CONSTRAINT case_decision_transition_actor_id_fkey FOREIGN KEY (actor_id) REFERENCES authz.principal (principal_id),
    CONSTRAINT case_decision_transition_acted_by_fkey FOREIGN KEY (acted_by) REFERENCES authz.principal (principal_id),
    CONSTRAINT case_decision_transition_to_status_check CHECK (
        (from_status, to_status) IN (('draft', 'submitted'), ('draft', 'withdrawn'), ('submitted', 'approved'),
                                     ('submitted', 'rejected'), ('submitted', 'withdrawn')))
);
CREATE INDEX case_decision_transition_transition_id_idx ON casework.case_decision_transition (transition_id);
CREATE INDEX case_decision_transition_decision_id_idx ON casework.case_decision_transition (decision_id);
COMMENT ON TABLE casework.case_decision_transition IS 'Each change of a decision''s status: by whom and why. Append-only.';
COMMENT ON COLUMN casework.case_decision_transition.tenant_id IS 'The tenant.';
COMMENT ON COLUMN casework.case_decision_transition.transition_id IS 'Key, within the tenant.';
COMMENT ON COLUMN casework.case_decision_transition.decision_id IS 'The decision.';
COMMENT ON COLUMN casework.case_decision_transition.from_status IS 'Its status before.';
COMMENT ON COLUMN casework.case_decision_transition.to_status IS 'Its status after.';
COMMENT ON COLUMN casework.case_decision_transition.actor_id IS 'Whose decision it was.';
COMMENT ON COLUMN casework.case_decision_transition.acted_by IS 'The session''s principal: the actor, or who acted for the actor.';
COMMENT ON COLUMN casework.case_decision_transition.reason IS 'Why.';
COMMENT ON COLUMN casework.case_decision_transition.occurred_at IS 'When, by the clock.';

-- Closed until policies say otherwise. All that is not a row has to be made here: a dump leaves it out.
DO $$
DECLARE
    name name;
BEGIN
    FOREACH name IN ARRAY ARRAY['case_record', 'case_assignment', 'case_ownership_history', 'case_sensitive_detail',
                                'case_document', 'case_decision', 'case_decision_transition'] LOOP
        EXECUTE pg_catalog.format('ALTER TABLE casework.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        PERFORM pg_catalog.pg_extension_config_dump(pg_catalog.format('casework.%I', name)::pg_catalog.regclass, '');
    END LOOP;
END
$$;
