-- One tenant with its claims, about 84 bytes of CSV each, and somebody who exports them.
CREATE EXTENSION authz_ext;
INSERT INTO authz.tenant (tenant_id, slug, name) VALUES ('10000000-0000-4000-8000-000000000001', 'acme', 'Acme');
INSERT INTO authz.principal (principal_id, external_id) VALUES ('20000000-0000-4000-8000-000000000001', 'reader');
INSERT INTO authz.tenant_membership (tenant_id, principal_id)
VALUES ('10000000-0000-4000-8000-000000000001', '20000000-0000-4000-8000-000000000001');
CREATE TABLE public.claim (
    tenant_id uuid NOT NULL, claim_id uuid NOT NULL, status text, amount integer, holder text, note text, filed_at timestamptz,
    PRIMARY KEY (tenant_id, claim_id));
INSERT INTO public.claim
SELECT '10000000-0000-4000-8000-000000000001', gen_random_uuid(), (ARRAY['open', 'closed'])[1 + n % 2], n, 'Holder ' || n,
       CASE WHEN n % 10 = 0 THEN 'a note, with a comma' END, timestamptz '2026-01-01' + n * interval '1 second'
FROM generate_series(1, :rows) AS n;
INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
VALUES ('claim.view', 'claim', 'view'), ('claim.export', 'claim', 'export');
SELECT FROM authz_protect('public.claim', 'claim', 'claim_id', 'tenant_id');
INSERT INTO authz.data_classification (target, column_name, classification)
SELECT 'public.claim', a.attname, 'internal' FROM pg_attribute AS a WHERE a.attrelid = 'public.claim'::regclass AND a.attnum > 0;
INSERT INTO authz.role_definition (role_code, role_name, role_kind) VALUES ('exporter', 'Exporter', 'functional');
INSERT INTO authz.role_permission (role_code, permission_code)
VALUES ('exporter', 'export.request'), ('exporter', 'claim.view'), ('exporter', 'claim.export');
INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
VALUES ('10000000-0000-4000-8000-000000000001', '20000000-0000-4000-8000-000000000001', 'exporter', 'tenant',
        '10000000-0000-4000-8000-000000000001');
SELECT FROM authz_define_export('claims', 'public.claim', '{claim_id,status,amount,holder,note,filed_at}', 'claim.export',
                                max_rows => 100000000, rate_limit => 1000);
CREATE ROLE reader LOGIN;
GRANT SELECT ON public.claim TO reader;
GRANT EXECUTE ON FUNCTION authz_set_session, authz_request_export, authz_run_export TO reader;
VACUUM (ANALYZE) public.claim;
