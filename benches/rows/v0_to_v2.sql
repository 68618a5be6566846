-- V0: no RLS.  The floor: the role bypasses policies; a query that wants one tenant must say so.
CALL app.variant_begin('v0', 'BYPASSRLS');
-- V1: tenant isolation only, GUC read inline.  The auditor is a role of its own (a GUC again).
CALL app.variant_begin('v1');
CALL app.variant_policy('v1', $$ tenant_id = current_setting('app.tenant_id')::uuid $$);
CALL app.variant_policy('v1', $$ current_setting('app.platform', true) = 'on' $$, true);
-- V2: as V1, wrapped in (select ...): an InitPlan, evaluated once a statement.
CALL app.variant_begin('v2');
CALL app.variant_policy('v2', $$ tenant_id = (select current_setting('app.tenant_id')::uuid) $$);
CALL app.variant_policy('v2', $$ (select current_setting('app.platform', true) = 'on') $$, true);
-- V2o: one policy for both kinds of user, the usual "is platform admin OR tenant matches".
CALL app.variant_begin('v2o');
CALL app.variant_policy('v2o', $$ (select current_setting('app.platform', true) = 'on') OR tenant_id = (select nullif(current_setting('app.tenant_id', true),'')::uuid) $$);
