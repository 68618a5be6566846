-- The cost of evidence: authz_check beside the bare INSERT of the same rows, sealing and verifying, granting and closing
-- many rows, questions about the past. Prints lines of label <tab> number <tab> aside. Variables: n_checks (events of one
-- round), n_rounds, n_sealed (events that are sealed), n_bulk (rows that are granted and closed).

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

-- Granting and closing many rows in one statement each, beside the same statements on the table without the extension's
-- triggers (its foreign keys and indexes stay). All of it is taken back.
CREATE TABLE bench.bulk_lap (what text, triggers boolean, round integer, seconds double precision);
CREATE PROCEDURE bench.bulk_laps(wanted integer, rounds integer) LANGUAGE plpgsql AS $$
DECLARE
    begun    timestamptz;
    granted  double precision;
    closed   double precision;
    triggers boolean;
BEGIN
    FOR round IN 0 .. rounds LOOP
        FOREACH triggers IN ARRAY '{true,false}'::boolean[] LOOP
            IF NOT triggers THEN
                ALTER TABLE authz.resource_access_grant DISABLE TRIGGER USER;
            END IF;
            begun := clock_timestamp();
            INSERT INTO authz.resource_access_grant (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code)
            SELECT m.tenant, 'case', bench.id('bulk', n), 'principal', m.principal, 'case.view'
            FROM generate_series(1, wanted) AS n, (SELECT tenant, principal FROM bench.mgr LIMIT 1) AS m;
            granted := extract(epoch FROM clock_timestamp() - begun);
            begun := clock_timestamp();
            UPDATE authz.resource_access_grant SET revoked_at = now() WHERE granted_at = now();
            closed := extract(epoch FROM clock_timestamp() - begun);
            ROLLBACK;
            INSERT INTO bench.bulk_lap VALUES ('grant', triggers, round, granted), ('close', triggers, round, closed);
            COMMIT;
        END LOOP;
    END LOOP;
END
$$;
CALL bench.bulk_laps(:n_bulk, 3);
SELECT format(CASE what WHEN 'grant' THEN 'grant of %s rows, as a multiple of the plain INSERT'
                        ELSE 'closing %s rows, as a multiple of the plain UPDATE' END, :n_bulk),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE triggers)
       / percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE NOT triggers),
       format('%s s and %s s',
              round((percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE triggers))::numeric, 2),
              round((percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE NOT triggers))::numeric, 2))
FROM bench.bulk_lap WHERE round > 0 GROUP BY what ORDER BY what DESC;
VACUUM ANALYZE authz.resource_access_grant;

-- Checks at instants of the last year, in which grants came and went: three times for each question, one after the other.
INSERT INTO authz.permission_definition (permission_code, resource_type, action_code) VALUES ('case.past', 'case', 'past');
CREATE PROCEDURE bench.past() LANGUAGE plpgsql AS $$
BEGIN
    FOR n IN 1 .. 3 LOOP
        INSERT INTO authz.resource_access_grant (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code, granted_at)
        SELECT DISTINCT m.tenant, 'case', m.resource::text, 'principal', m.principal::text, 'case.past',
               date_trunc('day', now()) - n * interval '100 days'
        FROM bench.many AS m;
        UPDATE authz.resource_access_grant SET revoked_at = granted_at + interval '50 days'
        WHERE permission_code = 'case.past' AND revoked_at IS NULL AND granted_at = date_trunc('day', now()) - n * interval '100 days';
        COMMIT;
    END LOOP;
END
$$;
-- Whoever was loaded just now has been active all the time.
SET session_replication_role = replica;
UPDATE authz.principal_status_history SET valid_from = '2023-01-01';
UPDATE authz.tenant_status_history SET valid_from = '2023-01-01';
RESET session_replication_role;
SELECT count(*) AS n_changes FROM authz.access_change_event \gset
CALL bench.past();
SELECT count(*) - :n_changes AS n_changes FROM authz.access_change_event \gset
VACUUM ANALYZE authz.resource_access_grant, authz.access_change_event, authz.principal_status_history;
CREATE TABLE bench.past_lap (us double precision, allowed boolean);
CREATE PROCEDURE bench.past_laps(calls integer) LANGUAGE plpgsql AS $$
DECLARE
    begun   timestamptz;
    allowed boolean;
    q       record;
BEGIN
    FOR q IN SELECT m.*, now() - random() * interval '300 days' AS at FROM bench.many AS m ORDER BY random() LIMIT calls LOOP
        begun := clock_timestamp();
        allowed := authz_can_at(q.principal, 'case.past', q.resource, q.at, q.tenant);
        INSERT INTO bench.past_lap VALUES (extract(epoch FROM clock_timestamp() - begun) * 1e6, allowed);
    END LOOP;
END
$$;
CALL bench.past_laps(2000);
SELECT format('authz_can_at, over %s changes', :n_changes), percentile_cont(0.5) WITHIN GROUP (ORDER BY us),
       format('95 %% within %s us, %s %% allowed', round((percentile_cont(0.95) WITHIN GROUP (ORDER BY us))::numeric),
              round(100.0 * count(*) FILTER (WHERE allowed) / count(*)))
FROM bench.past_lap;
