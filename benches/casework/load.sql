-- A tenant with cases; each has an investigator, who drafted and submitted its decisions, and an approver.
-- Variables: n_cases, n_decisions (for each case).

CREATE SCHEMA bench;
CREATE FUNCTION bench.id(kind text, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE RETURN md5(kind || ' ' || n)::uuid;

SELECT count(*) AS steps FROM authz_install_casework() \gset
SELECT authz.prepare_audit_partitions(2) AS partitions \gset

INSERT INTO authz.tenant (tenant_id, slug, name) VALUES (bench.id('tenant', 1), 'bench', 'Bench');
INSERT INTO authz.principal (principal_id, external_id)
SELECT bench.id('principal', n), 'principal ' || n FROM generate_series(1, 200) AS n;
INSERT INTO authz.operator_profile (principal_id, mfa_enabled) SELECT principal_id, true FROM authz.principal;
INSERT INTO authz.tenant_membership (tenant_id, principal_id) SELECT bench.id('tenant', 1), principal_id FROM authz.principal;
INSERT INTO casework.case_record (tenant_id, case_id, case_number)
SELECT bench.id('tenant', 1), bench.id('case', n), 'case ' || n FROM generate_series(1, :n_cases) AS n;

-- Principals 1 to 100 investigate, 101 to 200 approve.
WITH made AS (
    INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
    SELECT bench.id('tenant', 1), bench.id('principal', p.first + n % 100), 'case_' || p.role, 'case', bench.id('case', n)::text
    FROM generate_series(1, :n_cases) AS n, (VALUES ('investigator', 1), ('approver', 101)) AS p (role, first)
    RETURNING *)
INSERT INTO casework.case_assignment (tenant_id, case_id, principal_id, assignment_role, role_assignment_id)
SELECT tenant_id, scope_id::uuid, principal_id, substr(role_code, 6), assignment_id FROM made;

INSERT INTO casework.case_decision (tenant_id, decision_id, case_id, status, outcome, drafted_by, submitted_by, submitted_at)
SELECT bench.id('tenant', 1), bench.id('decision', n * 1000 + d), bench.id('case', n), 'submitted', 'granted',
       bench.id('principal', 1 + n % 100), bench.id('principal', 1 + n % 100), now()
FROM generate_series(1, :n_cases) AS n, generate_series(1, :n_decisions) AS d;
INSERT INTO casework.case_decision_transition (tenant_id, decision_id, from_status, to_status, actor_id, acted_by, reason)
SELECT tenant_id, decision_id, 'draft', 'submitted', drafted_by, drafted_by, 'ready' FROM casework.case_decision;

-- In turns: decision d of every case is approved in round d, by the function or by the bare statements.
CREATE TABLE bench.turn AS
SELECT bench.id('case', n) AS case_id, bench.id('principal', 101 + n % 100) AS approver,
       bench.id('decision', n * 1000 + d) AS decision_id, d AS round, n % 100 AS who
FROM generate_series(1, :n_cases) AS n, generate_series(1, :n_decisions) AS d;
CREATE INDEX ON bench.turn (round, who);
CREATE TABLE bench.lap (what text, round integer, us double precision);

-- The statements that an approval consists of, and nothing else: no question whether the approver may, is assigned, or
-- is somebody else. The tables are the same, with their keys and triggers.
CREATE FUNCTION bench.bare(tenant uuid, decision uuid, actor uuid, reason text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    d casework.case_decision;
BEGIN
    SELECT * INTO d FROM casework.case_decision AS x WHERE x.tenant_id = tenant AND x.decision_id = decision FOR NO KEY UPDATE;
    UPDATE casework.case_decision AS x SET status = 'approved', decided_by = actor, decided_at = clock_timestamp()
    WHERE x.tenant_id = tenant AND x.decision_id = decision;
    INSERT INTO casework.case_decision_transition (tenant_id, decision_id, from_status, to_status, actor_id, acted_by, reason)
    VALUES (tenant, decision, d.status, 'approved', actor, actor, reason);
    INSERT INTO authz.access_audit_event (tenant_id, principal_id, action_code, resource_type, resource_id, access_result,
                                          context, asked_by)
    VALUES (tenant, actor, 'decision.approve', 'decision', decision::text, 'allowed',
            jsonb_build_object('case_id', d.case_id, 'from', d.status, 'to', 'approved', 'reason', reason), actor);
END
$$;

-- One round: every approver in a transaction of its own approves what is waiting for it.
CREATE PROCEDURE bench.round(number integer, what text) LANGUAGE plpgsql AS $$
DECLARE
    tenant CONSTANT uuid := bench.id('tenant', 1);
    begun  timestamptz;
    spent  interval := '0';
    n      integer := 0;
    t      record;
BEGIN
    FOR someone IN 0 .. 99 LOOP
        PERFORM authz_set_session(bench.id('principal', 101 + someone), tenant, '{"mfa": true, "request_id": "bench"}', true);
        PERFORM count(*) FROM bench.turn AS b WHERE b.round = number AND b.who = someone;
        begun := clock_timestamp();
        FOR t IN SELECT b.* FROM bench.turn AS b WHERE b.round = number AND b.who = someone LOOP
            IF what = 'function' THEN
                PERFORM approve_case_decision(tenant, t.decision_id, t.approver, 'because');
            ELSE
                PERFORM bench.bare(tenant, t.decision_id, t.approver, 'because');
            END IF;
            n := n + 1;
        END LOOP;
        spent := spent + (clock_timestamp() - begun);
        COMMIT;
    END LOOP;
    INSERT INTO bench.lap VALUES (what, number, extract(epoch FROM spent) * 1e6 / n);
    COMMIT;
END
$$;
VACUUM ANALYZE;
