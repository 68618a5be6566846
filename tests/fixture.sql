-- What most tests start from: three registered tables, each the child of the one before, and the permissions on them.
-- The boundary columns carry no foreign keys, because a registered table owes the extension none.

CREATE TABLE public.case_record (
    tenant_id             uuid,
    case_id               uuid NOT NULL,
    owning_org_id         uuid,
    owning_team_id        uuid,
    project_id            uuid,
    owner_id              uuid,
    confidentiality_level text DEFAULT 'normal',
    deleted_at            timestamptz,
    title                 text,
    UNIQUE (tenant_id, case_id)
);
CREATE INDEX case_record_case_id ON public.case_record (case_id);

CREATE TABLE public.case_document (
    tenant_id             uuid NOT NULL,
    document_id           uuid NOT NULL,
    case_id               uuid,
    confidentiality_level text DEFAULT 'normal',
    title                 text,
    PRIMARY KEY (tenant_id, document_id)
);
CREATE INDEX case_document_document_id ON public.case_document (document_id);

CREATE TABLE public.document_page (
    tenant_id   uuid NOT NULL,
    page_id     uuid NOT NULL,
    document_id uuid,
    title       text,
    PRIMARY KEY (tenant_id, page_id)
);
CREATE INDEX document_page_page_id ON public.document_page (page_id);

INSERT INTO authz.resource_type (resource_type, target, key_column, tenant_column, organization_column, team_column,
                                 project_column, owner_column, confidentiality_column, deleted_at_column)
VALUES ('case', 'public.case_record', 'case_id', 'tenant_id', 'owning_org_id', 'owning_team_id',
        'project_id', 'owner_id', 'confidentiality_level', 'deleted_at');
INSERT INTO authz.resource_type (resource_type, target, key_column, tenant_column, confidentiality_column,
                                 parent_type, parent_column)
VALUES ('document', 'public.case_document', 'document_id', 'tenant_id', 'confidentiality_level', 'case', 'case_id');
INSERT INTO authz.resource_type (resource_type, target, key_column, tenant_column, parent_type, parent_column)
VALUES ('page', 'public.document_page', 'page_id', 'tenant_id', 'document', 'document_id');

INSERT INTO authz.permission_definition (permission_code, resource_type, action_code, requires_mfa)
SELECT t || '.' || a, t, a, a = 'approve'
  FROM (VALUES ('case', '{view,comment,edit,admin,approve,view_restricted,view_sealed,view_deleted}'::text[]),
               ('document', '{view,edit,view_restricted,view_sealed}'),
               ('page', '{view,edit}'),
               ('tenant', '{view,admin}'), ('organization', '{view,admin}'),
               ('team', '{view,admin}'), ('project', '{view,admin}')) AS v(t, actions),
       unnest(actions) AS a;

INSERT INTO authz.permission_implication (permission_code, implied_permission_code)
VALUES ('case.admin', 'case.edit'), ('case.edit', 'case.comment'), ('case.comment', 'case.view'),
       ('document.edit', 'document.view'), ('page.edit', 'page.view');
