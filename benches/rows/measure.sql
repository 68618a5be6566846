-- What the benchmark of row security measures with. Variables: n_principals.
\set ON_ERROR_STOP on
SET client_min_messages = warning;

CREATE TABLE app.persona (persona text PRIMARY KEY, n bigint, tenant int, about text);
INSERT INTO app.persona VALUES
    ('auditor', :n_principals + 1, NULL, 'role at the platform'),
    ('manager', :n_principals + 2, 1, 'role at the tenant'),
    ('worker', :n_principals + 3, 1, 'roles at two teams, an organization and two cases, and grants'),
    ('reviewer', :n_principals + 4, 1, 'from outside; three grants');
CREATE TABLE app.variant (variant text PRIMARY KEY, full_rule boolean, about text);
INSERT INTO app.variant VALUES
    ('v0', false, 'no row security'),
    ('v1', false, 'tenant only: tenant_id = current_setting(...)'),
    ('v2', false, 'tenant only, as an initplan'),
    ('v2o', false, 'tenant only, or platform'),
    ('v3', true, 'PL/pgSQL function for each row'),
    ('v3t', true, 'the same behind a tenant initplan'),
    ('v4', true, 'SQL function for each row'),
    ('v4t', true, 'the same behind a tenant initplan'),
    ('v5', true, 'EXISTS sub-queries'),
    ('v5t', true, 'the same behind a tenant initplan'),
    ('v6', true, 'arrays from definer functions, once a statement'),
    ('v6h', true, 'the same as hashed sub-plans'),
    ('v7', true, 'flattened permission table, probed'),
    ('v7h', true, 'the same, hashed'),
    ('v8', true, 'arrays computed at login, kept in settings'),
    ('ours', true, 'authz_can');

-- What each persona may see, by the declarative statement of the rule. A hundred of them are updated and read by key.
-- (Nested loops over every deny rule would take an hour.)
SET enable_nestloop = off;
CREATE TABLE app.visible AS
SELECT p.persona, o.* FROM app.persona p, LATERAL app.oracle(app.uid('principal', p.n), app.uid('tenant', p.tenant)) o;
RESET enable_nestloop;
CREATE INDEX ON app.visible (persona, tenant_id, case_id);
CREATE TABLE app.sample AS
SELECT persona, tenant_id, case_id FROM (SELECT *, row_number() OVER (PARTITION BY persona ORDER BY case_id) AS n FROM app.visible) x WHERE n <= 100;
GRANT SELECT ON app.sample TO PUBLIC;

CREATE TABLE app.query (query text PRIMARY KEY, n int, about text, text text);
INSERT INTO app.query VALUES
    ('count', 1, 'count(*) of all cases', 'SELECT count(*) FROM data.case_record'),
    ('wide', 2, 'aggregates over wide rows', 'SELECT count(*), max(title), max(case_number), sum(length(title)), count(DISTINCT status), min(created_at), max(md5(title)) FROM data.case_record'),
    ('page', 3, 'first page: ORDER BY created_at DESC LIMIT 50', 'SELECT * FROM data.case_record ORDER BY created_at DESC LIMIT 50'),
    ('point', 4, 'reading 100 visible cases by key', 'SELECT count(c.title) FROM app.sample s CROSS JOIN LATERAL (SELECT * FROM data.case_record c WHERE c.tenant_id = s.tenant_id AND c.case_id = s.case_id OFFSET 0) c WHERE s.persona = ''{persona}'''),
    ('join', 5, 'open cases joined with their items (protected, too)', 'SELECT count(*), sum(i.amount) FROM data.case_record c JOIN data.case_item i USING (tenant_id, case_id) WHERE c.status = ''open'''),
    ('join_tenant', 6, 'the same, with the tenant in the WHERE clause', 'SELECT count(*), sum(i.amount) FROM data.case_record c JOIN data.case_item i USING (tenant_id, case_id) WHERE c.status = ''open'' AND c.tenant_id = ''{tenant}'' AND i.tenant_id = ''{tenant}'''),
    ('update', 7, 'UPDATE of 100 visible cases by key', 'UPDATE data.case_record c SET status = c.status FROM app.sample s WHERE s.persona = ''{persona}'' AND c.tenant_id = s.tenant_id AND c.case_id = s.case_id'),
    ('insert', 8, 'INSERT of 100,000 rows', 'INSERT INTO data.case_inbox SELECT * FROM app.incoming');
-- What the manager inserts: rows that it may see, and no others.
CREATE TABLE app.incoming AS
SELECT c.tenant_id, app.uid('new', g) AS case_id, c.owning_org_id, c.owning_team_id, 'N-' || g AS case_number, c.title,
       'normal'::text AS confidentiality_level, c.status, c.created_by, c.created_at
  FROM generate_series(1, 100000) g
  JOIN (SELECT c.*, row_number() OVER (ORDER BY case_id) AS n, count(*) OVER () AS total
          FROM app.visible v JOIN data.case_record c USING (tenant_id, case_id)
         WHERE v.persona = 'manager' AND c.confidentiality_level = 'normal') c ON c.n = g % c.total + 1;
GRANT SELECT ON app.incoming TO PUBLIC;

CREATE TABLE app.timing (round int, query text, persona text, variant text, ms float8);
CREATE TABLE app.left_out (query text, persona text, variant text, ms float8, PRIMARY KEY (query, persona, variant));

-- The role that a variant has for a persona; NULL where it has no policy for such a one.
CREATE FUNCTION app.role_of(variant text, persona text) RETURNS name LANGUAGE sql STABLE AS $$
SELECT CASE WHEN persona <> 'auditor' OR variant IN ('v0', 'v3', 'v4', 'v5', 'v2o', 'ours') THEN 'app_' || variant
            WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = 'app_' || variant || '_aud') THEN 'app_' || variant || '_aud' END $$;

-- Makes this session the persona's, for whatever variant.
CREATE FUNCTION app.become(persona app.persona) RETURNS void LANGUAGE plpgsql AS $$
DECLARE me uuid := app.uid('principal', persona.n); tenant uuid := app.uid('tenant', persona.tenant);
BEGIN
    PERFORM set_config('app.platform', CASE WHEN persona.tenant IS NULL THEN 'on' ELSE 'off' END, false);
    PERFORM app.v8_login(me, tenant);
    PERFORM public.authz_set_session(me, tenant, '{}', false);
END $$;

CREATE FUNCTION app.filled(query app.query, persona app.persona) RETURNS text LANGUAGE sql STABLE AS $$
SELECT replace(replace(query.text, '{persona}', persona.persona), '{tenant}', coalesce(app.uid('tenant', persona.tenant), app.uid('tenant', 1))::text) $$;

-- One statement, planned anew, as the role; what it writes is undone.
CREATE PROCEDURE app.take_time(statement text, role name, INOUT ms float8) LANGUAGE plpgsql AS $$
DECLARE began timestamptz;
BEGIN
    BEGIN
        EXECUTE format('SET LOCAL ROLE %I', role);
        began := clock_timestamp();
        EXECUTE statement;
        ms := extract(epoch FROM clock_timestamp() - began) * 1000;
        RAISE SQLSTATE 'UNDO1';
    EXCEPTION WHEN SQLSTATE 'UNDO1' THEN NULL;
    END;
END $$;

CREATE PROCEDURE app.measure(round int, asked text, who text, which text) LANGUAGE plpgsql AS $$
DECLARE ms float8; statement text;
BEGIN
    PERFORM app.become(p) FROM app.persona p WHERE persona = who;
    SELECT app.filled(q, p) INTO statement FROM app.query q, app.persona p WHERE query = asked AND persona = who;
    CALL app.take_time(statement, app.role_of(which, who), ms);
    INSERT INTO app.timing VALUES (round, asked, who, which, ms);
    IF asked = 'insert' THEN TRUNCATE data.case_inbox; END IF;
END $$;

-- What takes turns, in another order each round: the first one at a query finds its rows in no cache of the processor (v5 spells its rule out for each table, and not for the one that rows are inserted into). The first round, which warms up, also finds what would take all day: that is measured once.
CREATE VIEW app.turn AS
SELECT q.query, p.persona, v.variant, p.n * 100 + q.n AS n
  FROM app.query q, app.persona p, app.variant v
 WHERE app.role_of(v.variant, p.persona) IS NOT NULL AND (q.query <> 'insert' OR p.persona = 'manager' AND v.variant NOT IN ('v5', 'v5t'))
   -- A function or sub-queries for each row of all tenants take minutes: only what looks at few rows is waited for.
   AND (v.variant NOT IN ('v3', 'v4', 'v5') OR q.query IN ('page', 'point') AND p.persona <> 'auditor')
   AND NOT EXISTS (SELECT FROM app.left_out l WHERE (l.query, l.persona, l.variant) = (q.query, p.persona, v.variant));
CREATE PROCEDURE app.leave_out() LANGUAGE sql AS $$
INSERT INTO app.left_out
SELECT t.query, t.persona, t.variant, m.ms FROM app.turn t LEFT JOIN app.timing m USING (query, persona, variant)
 WHERE m.ms IS NULL OR m.ms > 1500 AND t.variant NOT IN ('ours', 'v0');
DELETE FROM app.timing $$;

-- Medians. What was measured once stands with its one figure, what took too long without one.
CREATE VIEW app.result AS
SELECT query, persona, variant, percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) AS ms, count(*) AS rounds
  FROM app.timing GROUP BY 1, 2, 3
UNION ALL SELECT query, persona, variant, ms, 1 FROM app.left_out;

-- Before anything is timed: what the extension shows is what the declarative statement says.
CREATE FUNCTION app.difference(who text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE different bigint;
BEGIN
    PERFORM app.become(p) FROM app.persona p WHERE persona = who;
    CREATE TEMPORARY TABLE seen (tenant_id uuid, case_id uuid);
    GRANT INSERT ON seen TO app_ours;
    SET LOCAL ROLE app_ours;
    INSERT INTO seen SELECT tenant_id, case_id FROM data.case_record;
    RESET ROLE;
    SELECT count(*) INTO different FROM (
        (SELECT tenant_id, case_id FROM seen EXCEPT SELECT tenant_id, case_id FROM app.visible WHERE persona = who) UNION ALL
        (SELECT tenant_id, case_id FROM app.visible WHERE persona = who EXCEPT SELECT tenant_id, case_id FROM seen)) x;
    DROP TABLE seen;
    RETURN different;
END $$;
