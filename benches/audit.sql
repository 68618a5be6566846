-- The cost of evidence: authz_check beside the bare INSERT of the same rows, sealing and verifying. Prints lines of
-- label <tab> number <tab> aside. Variables: n_checks (events of one round), n_rounds, n_sealed (events that are sealed).

SELECT authz.prepare_audit_partitions(2) >= 0 AS prepared \gset

CREATE TABLE bench.audit_lap (what text, round integer, us double precision);

-- Both in a loop of PL/pgSQL over the same questions, each kind in turns, so that a disturbance meets both. The rows of
-- the bare INSERT are those that the checks before it have written, with keys of their own.
CREATE PROCEDURE bench.audit_laps(checks integer, rounds integer) LANGUAGE plpgsql AS $$
DECLARE
    begun timestamptz;
    q     record;
    e     authz.access_audit_event;
    rows  authz.access_audit_event[];
BEGIN
    FOR round IN 0 .. rounds LOOP
        begun := clock_timestamp();
        FOR q IN SELECT m.principal, m.resource, m.tenant FROM bench.mgr AS m LIMIT checks LOOP
            PERFORM authz_check(q.principal, 'case.view', q.resource, q.tenant);
        END LOOP;
        INSERT INTO bench.audit_lap VALUES ('check', round, extract(epoch FROM clock_timestamp() - begun) * 1e6 / checks);
        COMMIT;
        SELECT array_agg(x) INTO rows FROM (SELECT a FROM authz.access_audit_event AS a ORDER BY a.occurred_at DESC LIMIT checks) AS x (x);
        FOR n IN 1 .. cardinality(rows) LOOP
            -- Keys that grow with time, like those of the checks.
            rows[n].audit_id := overlay(md5(n::text || round) PLACING lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') FROM 1)::uuid;
        END LOOP;
        begun := clock_timestamp();
        FOREACH e IN ARRAY rows LOOP
            INSERT INTO authz.access_audit_event (audit_id, tenant_id, principal_id, action_code, resource_type, resource_id,
                                                  access_result, policy_reason, request_id, support_session_id, source_ip,
                                                  user_agent, occurred_at, context, asked_by, db_role)
            VALUES (e.audit_id, e.tenant_id, e.principal_id, e.action_code, e.resource_type, e.resource_id,
                    e.access_result, e.policy_reason, e.request_id, e.support_session_id, e.source_ip,
                    e.user_agent, e.occurred_at, e.context, e.asked_by, e.db_role);
        END LOOP;
        INSERT INTO bench.audit_lap VALUES ('insert', round, extract(epoch FROM clock_timestamp() - begun) * 1e6 / checks);
        COMMIT;
    END LOOP;
END
$$;
CALL bench.audit_laps(:n_checks, :n_rounds);
SELECT 'authz_check, as a multiple of the bare INSERT of the same rows' AS label,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY us) FILTER (WHERE what = 'check')
       / percentile_cont(0.5) WITHIN GROUP (ORDER BY us) FILTER (WHERE what = 'insert') AS number,
       format('%s us and %s us an event',
              round((percentile_cont(0.5) WITHIN GROUP (ORDER BY us) FILTER (WHERE what = 'check'))::numeric, 1),
              round((percentile_cont(0.5) WITHIN GROUP (ORDER BY us) FILTER (WHERE what = 'insert'))::numeric, 1)) AS aside
FROM bench.audit_lap WHERE round > 0;

-- As many events as are wanted for sealing, in transactions of 100.
CREATE PROCEDURE bench.audit_fill(wanted bigint) LANGUAGE plpgsql AS $$
BEGIN
    WHILE wanted > 0 LOOP
        INSERT INTO authz.access_audit_event (audit_id, tenant_id, principal_id, action_code, resource_type, resource_id,
                                              access_result, policy_reason, request_id, source_ip, user_agent, context, db_role)
        SELECT overlay(gen_random_uuid()::text PLACING to_char(clock_timestamp(), 'YYYYMMDD') FROM 1)::uuid, m.tenant, m.principal,
               'case.view', 'case', m.resource::text, 'denied', 'no_grant', 'request ' || m.resource, '192.0.2.1', 'Mozilla/5.0',
               '{"mfa": true, "request_path": "/cases"}', 'app'
        FROM bench.mgr AS m LIMIT 100;
        wanted := wanted - 100;
        COMMIT;
    END LOOP;
END
$$;
SELECT :n_sealed - count(*) AS n_missing FROM authz.access_audit_event \gset
CALL bench.audit_fill(:n_missing);
VACUUM ANALYZE authz.access_audit_event;

SELECT clock_timestamp() AS begun \gset
SELECT events AS sealed, seals FROM authz_audit_seal() \gset
SELECT 'authz_audit_seal', :sealed / extract(epoch FROM clock_timestamp() - :'begun'),
       format('%s events in %s seals', :sealed, :seals);
SELECT clock_timestamp() AS begun \gset
SELECT valid, events AS verified FROM authz_audit_verify() \gset
SELECT 'authz_audit_verify', :verified / extract(epoch FROM clock_timestamp() - :'begun'),
       format('%s events, valid: %s', :verified, :'valid');
