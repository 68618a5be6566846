-- What the sections of the benchmark measure with.
\set ON_ERROR_STOP on
SET client_min_messages = warning;

-- == Queries that make many calls, taking turns ==
CREATE TABLE bench.scenario (id serial PRIMARY KEY, section text, label text, query text, calls int);
CREATE TABLE bench.timing (scenario int, round int, ns float8, allowed bigint);

-- `query` counts how often the answer was yes; `sample` is the table that it calls the function for each row of.
CREATE FUNCTION bench.add(section text, label text, sample text, expression text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE calls int;
BEGIN
    EXECUTE format('SELECT count(*) FROM bench.%I', sample) INTO calls;
    INSERT INTO bench.scenario (section, label, query, calls)
    VALUES (section, label, format('SELECT count(*) FILTER (WHERE %s) FROM bench.%I', expression, sample), calls);
END $$;

-- The first round only warms up.
CREATE PROCEDURE bench.run(wanted text, rounds int, warmed boolean DEFAULT false) LANGUAGE plpgsql AS $$
DECLARE s record; began timestamptz; yes bigint;
BEGIN
    FOR round IN 0..rounds LOOP
        FOR s IN SELECT * FROM bench.scenario WHERE section = wanted ORDER BY id LOOP
            -- What others have just pushed out of memories comes back first.
            IF warmed THEN
                EXECUTE s.query INTO yes;
            END IF;
            began := clock_timestamp();
            EXECUTE s.query INTO yes;
            IF round > 0 THEN
                INSERT INTO bench.timing
                VALUES (s.id, round, extract(epoch FROM clock_timestamp() - began) * 1e9 / s.calls, yes);
            END IF;
        END LOOP;
        COMMIT;
    END LOOP;
END $$;

CREATE VIEW bench.result AS
SELECT s.id, s.section, s.label, s.calls, percentile_cont(0.5) WITHIN GROUP (ORDER BY t.ns) AS ns, min(t.ns) AS fastest,
       round(100.0 * max(t.allowed) / s.calls) AS allowed
  FROM bench.scenario s JOIN bench.timing t ON t.scenario = s.id GROUP BY s.id;

-- A bare look at the same row by its key, as PL/pgSQL does it: a prepared SELECT.
CREATE FUNCTION bench.look_up(key uuid) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE tenant uuid; org uuid; team uuid; level text;
BEGIN
    SELECT c.tenant_id, c.owning_org_id, c.owning_team_id, c.confidentiality_level INTO tenant, org, team, level
      FROM bench.case_record c WHERE c.case_id = key;
    RETURN FOUND;
END $$;
CREATE FUNCTION bench.nothing(key uuid) RETURNS boolean LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN true; END $$;
-- The same as the executor does it, without a function call: an index nested loop.
CREATE FUNCTION bench.nested_loop(sample regclass) RETURNS bigint LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_memoize = off AS $$
DECLARE found bigint;
BEGIN
    EXECUTE format('SELECT count(c.confidentiality_level) FROM %s s JOIN bench.case_record c ON c.case_id = s.resource', sample)
       INTO found;
    RETURN found;
END $$;

-- == Cold principals: the first check of each, then the same check again and again, then one of another resource ==
CREATE TABLE bench.cold (run text, size int, principal uuid, first_us float8, warm_ns float8, other_us float8);
CREATE FUNCTION bench.measure_cold(run text, questions text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE q record; t0 timestamptz; t1 timestamptz; t2 timestamptz; t3 timestamptz;
BEGIN
    FOR q IN EXECUTE questions LOOP
        t0 := clock_timestamp();
        PERFORM public.authz_can(q.principal, 'case.view', q.resource);
        t1 := clock_timestamp();
        -- The argument depends on the row, or the planner would ask once for all rows.
        PERFORM count(*) FROM generate_series(1, 500) g
          WHERE public.authz_can(q.principal, 'case.view', CASE WHEN g > 0 THEN q.resource END);
        t2 := clock_timestamp();
        PERFORM public.authz_can(q.principal, 'case.view', q.other);
        t3 := clock_timestamp();
        INSERT INTO bench.cold VALUES (run, q.size, q.principal, extract(epoch FROM t1 - t0) * 1e6,
                                       extract(epoch FROM t2 - t1) * 1e9 / 500, extract(epoch FROM t3 - t2) * 1e6);
    END LOOP;
END $$;
-- Loads the library and the model, so that what is measured next is the principal alone.
CREATE FUNCTION bench.wake() RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE t0 timestamptz := clock_timestamp();
BEGIN
    PERFORM public.authz_can(bench.id('principal', 1), 'case.view', bench.id('case', 1));
    PERFORM bench.id('x', 1);
    RETURN extract(epoch FROM clock_timestamp() - t0) * 1e6;
END $$;

-- == One session checks while another changes ==
CREATE TABLE bench.slice (phase int, checks bigint, seconds float8, cpu float8);
-- Processor time of this backend, in seconds (Linux counts hundredths). The program's name, which may contain anything,
-- stands in parentheses.
CREATE FUNCTION bench.cpu() RETURNS float8 LANGUAGE sql AS $$
    SELECT (f[14]::float8 + f[15]::float8) / 100
      FROM regexp_split_to_array(regexp_replace(pg_read_file('/proc/self/stat', 0, 1000), '^.*\) ', 'x x '), ' ') AS f $$;
-- Time is cut into slices of four seconds: quiet; changes that are rolled back (the work without the messages);
-- changes of one principal that are committed; changes of a hundred principals in turns that are committed.
CREATE FUNCTION bench.phase() RETURNS int LANGUAGE sql AS
    $$ SELECT floor(extract(epoch FROM clock_timestamp()) / 4)::bigint::int % 4 $$;
CREATE TABLE bench.finished ();
CREATE PROCEDURE bench.change(a_second int) LANGUAGE plpgsql AS $$
DECLARE
    due  timestamptz := clock_timestamp();
    turn bigint := 0;
    phase int;
BEGIN
    WHILE NOT EXISTS (SELECT FROM bench.finished) LOOP
        -- What was missed is not made up for in a burst.
        due := greatest(due + interval '1 s' / a_second, clock_timestamp() - interval '100 ms');
        phase := bench.phase();
        IF phase > 0 THEN
            turn := turn + 1;
            INSERT INTO authz.resource_access_grant
                   (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code)
            SELECT bench.id('tenant', 1), 'case', gen_random_uuid()::text, 'principal', o.principal::text, 'case.view'
              FROM bench.other o WHERE o.n = CASE WHEN phase = 2 THEN 0 ELSE turn % 100 END;
            INSERT INTO bench.made VALUES (clock_timestamp());
            IF phase = 1 THEN ROLLBACK; ELSE COMMIT; END IF;
        ELSE
            COMMIT;
        END IF;
        PERFORM pg_sleep(greatest(0, extract(epoch FROM due - clock_timestamp())));
    END LOOP;
END $$;
CREATE TABLE bench.made (at timestamptz);
-- Checks one principal after another, in sixteen parts, so that a slice is not much longer than it should be. What the
-- former slice left to be loaded is loaded first: it is not this one's. (In a slice that has begun, so that it is this one.)
CREATE PROCEDURE bench.check_busily(seconds int) LANGUAGE plpgsql AS $$
<<here>>
DECLARE
    ends timestamptz;
    before int; t0 timestamptz; c0 float8; checks bigint; part int := 0; size bigint := (SELECT count(*) / 16 FROM bench.busy);
BEGIN
    PERFORM count(*) FROM bench.busy WHERE public.authz_can(principal, 'case.view', resource);
    ends := clock_timestamp() + seconds * interval '1 s';
    WHILE clock_timestamp() < ends LOOP
        before := bench.phase();
        PERFORM count(*) FROM bench.busy WHERE public.authz_can(principal, 'case.view', resource);
        CONTINUE WHEN bench.phase() <> before;
        t0 := clock_timestamp();
        c0 := bench.cpu();
        checks := 0;
        WHILE bench.phase() = before LOOP
            PERFORM count(*) FROM bench.busy WHERE busy.part = here.part AND public.authz_can(principal, 'case.view', resource);
            checks := checks + size;
            part := (part + 1) % 16;
            COMMIT;
        END LOOP;
        INSERT INTO bench.slice VALUES (before, checks, extract(epoch FROM clock_timestamp() - t0), bench.cpu() - c0);
        COMMIT;
    END LOOP;
    INSERT INTO bench.finished DEFAULT VALUES;
END $$;

-- == Memory of this backend that is not shared, in bytes ==
CREATE FUNCTION bench.memory() RETURNS bigint LANGUAGE sql AS $$
    SELECT (regexp_match(pg_read_file('/proc/self/status', 0, 10000), 'RssAnon:\s+(\d+) kB'))[1]::bigint * 1024 $$;

-- == Laps: how long a statement takes for each of its calls, and what the backend holds afterwards ==
CREATE TABLE bench.lap (step text, us float8, bytes bigint, memory bigint);
CREATE FUNCTION bench.lap(step text, work text, calls int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE began timestamptz := clock_timestamp(); took interval;
BEGIN
    EXECUTE work;
    took := clock_timestamp() - began;
    INSERT INTO bench.lap VALUES (step, extract(epoch FROM took) * 1e6 / calls, (SELECT bytes FROM public.authz_stats()), bench.memory());
END $$;
