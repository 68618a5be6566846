-- Guards that several tables share: authority rows are closed, not deleted or overwritten, and hierarchies stay free
-- of cycles. They are ordinary triggers (origin mode): logical replication, and a superuser who sets
-- session_replication_role = replica, replay rows that passed the guards where they were first written.

-- What looks like nothing: spaces of every width, the marks that have none, fillers. Not every locale calls them spaces. As
-- an E string, so that the caller's standard_conforming_strings does not change what it means.
CREATE FUNCTION authz.is_blank(words text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT words !~ E'[^[:space:][:cntrl:]\\u0085\\u00a0\\u00ad\\u034f\\u061c\\u115f\\u1160\\u1680\\u17b4\\u17b5\\u180b-\\u180f\\u2000-\\u200f\\u2028-\\u202f\\u205f-\\u206f\\u2800\\u3000\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0]'
$$;
COMMENT ON FUNCTION authz.is_blank(text) IS 'Is there nothing to be seen in a text?';
REVOKE ALL ON FUNCTION authz.is_blank(text) FROM PUBLIC;

-- DELETE and TRUNCATE. The argument is the hint: what to do instead.
CREATE FUNCTION authz.refuse_delete() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'object_not_in_prerequisite_state',
        MESSAGE = format('%s on %I.%I is refused: its rows are closed, not deleted',
                         TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME),
        HINT = TG_ARGV[0];
END
$$;
COMMENT ON FUNCTION authz.refuse_delete() IS
    'Trigger: refuses DELETE and TRUNCATE (SQLSTATE 55000); the argument is the hint that says how to close a row.';
REVOKE ALL ON FUNCTION authz.refuse_delete() FROM PUBLIC;

-- UPDATE, DELETE and TRUNCATE of evidence: events and seals. These triggers are ENABLE ALWAYS: nothing that replays
-- changes has events to change.
CREATE FUNCTION authz.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'object_not_in_prerequisite_state',
        MESSAGE = format('%s on %I.%I is refused: it is append-only', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME),
        HINT = 'Events are evidence and stay as they are. What was wrong is put right by a further event; old partitions are archived by authz_archive_audit.';
END
$$;
COMMENT ON FUNCTION authz.refuse_change() IS
    'Trigger: refuses UPDATE, DELETE and TRUNCATE on tables of evidence (SQLSTATE 55000).';
REVOKE ALL ON FUNCTION authz.refuse_change() FROM PUBLIC;

-- UPDATE: authz.refuse_overwrite (src/api/guard.rs).

-- Whoever adds an edge to a hierarchy first updates its row here. Two transactions that each add half of a cycle are
-- so put in order: under READ COMMITTED the second waits and then sees the first one's edge; under REPEATABLE READ
-- and SERIALIZABLE, whose snapshot cannot see it, the second fails with a serialization error. (An advisory lock
-- would let it through.)
CREATE TABLE authz.hierarchy_lock (
    hierarchy text COLLATE "C" NOT NULL,
    changes bigint NOT NULL DEFAULT 0,
    CONSTRAINT hierarchy_lock_pkey PRIMARY KEY (hierarchy)
);
INSERT INTO authz.hierarchy_lock (hierarchy)
VALUES ('organization'), ('team'), ('role_inheritance'), ('permission_implication'), ('sod_constraint');
COMMENT ON TABLE authz.hierarchy_lock IS
    'One row for each hierarchy, updated by whoever adds an edge to it, so that concurrent halves of a cycle meet.';
COMMENT ON COLUMN authz.hierarchy_lock.hierarchy IS 'The table that holds the edges.';
COMMENT ON COLUMN authz.hierarchy_lock.changes IS 'Number of transactions that locked the hierarchy.';

CREATE FUNCTION authz.lock_hierarchy(hierarchy text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- A row that this transaction has updated already is locked: updating it for each edge of a bulk load would
    -- leave as many dead versions to step over.
    UPDATE authz.hierarchy_lock AS l SET changes = l.changes + 1
    WHERE l.hierarchy = lock_hierarchy.hierarchy AND l.xmin <> pg_current_xact_id()::xid;
END
$$;
COMMENT ON FUNCTION authz.lock_hierarchy(text) IS
    'Holds the hierarchy against other writers until the transaction ends.';
REVOKE ALL ON FUNCTION authz.lock_hierarchy(text) FROM PUBLIC;

-- Graphs whose edges are rows: role_inheritance, permission_implication. Arguments: the column of the edge's start and
-- of its end. Where edges have validity, a cycle counts only if all its edges are in force at one instant: each node
-- is visited with the interval during which the whole way to it is in force, and each (node, interval) once, so that
-- the cost does not grow with the number of paths. One query looks whether there is a cycle; only if there is one, a
-- slower search, breadth first, finds a shortest path for the message.
CREATE FUNCTION authz.refuse_cycle() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    new_edge jsonb := to_jsonb(NEW);
    temporal boolean := new_edge ? 'active_from';
    edges    text := format('(SELECT %I AS node, %I AS next, %s AS active_from, %s AS active_until FROM authz.%I)',
                            TG_ARGV[0], TG_ARGV[1],
                            CASE WHEN temporal THEN 'active_from' ELSE $q$'-infinity'::timestamptz$q$ END,
                            CASE WHEN temporal THEN 'active_until' ELSE $q$'infinity'::timestamptz$q$ END,
                            TG_TABLE_NAME);
    origin   text := new_edge ->> TG_ARGV[0];
    nodes    text[] := ARRAY[new_edge ->> TG_ARGV[1]];
    froms    timestamptz[] := ARRAY[coalesce((new_edge ->> 'active_from')::timestamptz, '-infinity')];
    untils   timestamptz[] := ARRAY[coalesce((new_edge ->> 'active_until')::timestamptz, 'infinity')];
    parents  integer[] := ARRAY[0];
    here     integer := 1;
    cyclic   boolean;
    path     text;
    edge     record;
BEGIN
    IF froms[1] >= untils[1] THEN
        RETURN NULL;
    END IF;
    PERFORM authz.lock_hierarchy(TG_TABLE_NAME);
    EXECUTE format(
        'WITH RECURSIVE reached (node, active_from, active_until) AS (
             SELECT $1 COLLATE "C", $2, $3
             UNION
             SELECT e.next, greatest(e.active_from, r.active_from), least(e.active_until, r.active_until)
             FROM reached AS r JOIN %s AS e ON e.node = r.node
             WHERE e.active_from < r.active_until AND e.active_until > r.active_from AND e.active_from < e.active_until)
         SELECT EXISTS (SELECT FROM reached WHERE node = $4)', edges)
        INTO cyclic USING nodes[1], froms[1], untils[1], origin;
    IF NOT cyclic THEN
        RETURN NULL;
    END IF;

    WHILE nodes[here] <> origin LOOP
        FOR edge IN EXECUTE format(
            'SELECT e.next AS node, greatest(e.active_from, $2) AS active_from, least(e.active_until, $3) AS active_until
             FROM %s AS e
             WHERE e.node = $1 AND e.active_from < $3 AND e.active_until > $2 AND e.active_from < e.active_until', edges)
            USING nodes[here], froms[here], untils[here]
        LOOP
            IF NOT EXISTS (SELECT FROM unnest(nodes, froms, untils) AS seen(node, active_from, active_until)
                           WHERE seen.node = edge.node
                             AND seen.active_from <= edge.active_from AND seen.active_until >= edge.active_until) THEN
                nodes := nodes || edge.node;
                froms := froms || edge.active_from;
                untils := untils || edge.active_until;
                parents := parents || here;
            END IF;
        END LOOP;
        here := here + 1;
    END LOOP;
    path := origin;
    WHILE parents[here] > 0 LOOP
        here := parents[here];
        path := nodes[here] || ' -> ' || path;
    END LOOP;
    RAISE EXCEPTION USING
        ERRCODE = 'check_violation',
        MESSAGE = format('cycle in %I.%I: %s -> %s', TG_TABLE_SCHEMA, TG_TABLE_NAME, origin, path),
        DETAIL = format('The last row was %s = %L, %s = %L.',
                        TG_ARGV[0], origin, TG_ARGV[1], new_edge ->> TG_ARGV[1]),
        HINT = 'Close or leave out one edge of the cycle.',
        SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME;
END
$$;
COMMENT ON FUNCTION authz.refuse_cycle() IS
    'Trigger (AFTER): refuses an edge that closes a cycle (SQLSTATE 23514), with the path in the message; arguments: columns of the edge''s start and end.';
REVOKE ALL ON FUNCTION authz.refuse_cycle() FROM PUBLIC;

-- Trees inside a tenant, whose rows name their parent: organization, team. Arguments: the id and the parent column.
-- Only an UPDATE needs the lock: nothing that is committed can name a row that is just being inserted.
CREATE FUNCTION authz.refuse_tree_cycle() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    origin uuid := to_jsonb(NEW) ->> TG_ARGV[0];
    parent uuid := to_jsonb(NEW) ->> TG_ARGV[1];
    path   uuid[] := '{}';
BEGIN
    IF TG_OP = 'UPDATE' AND parent IS NOT NULL THEN
        PERFORM authz.lock_hierarchy(TG_TABLE_NAME);
    END IF;
    -- A parent that comes twice belongs to a cycle of other rows of this statement, which their own check refuses.
    WHILE parent IS NOT NULL AND parent <> ALL (path) LOOP
        path := path || parent;
        IF parent = origin THEN
            RAISE EXCEPTION USING
                ERRCODE = 'check_violation',
                MESSAGE = format('cycle in %I.%I: %s -> %s',
                                 TG_TABLE_SCHEMA, TG_TABLE_NAME, origin, array_to_string(path, ' -> ')),
                DETAIL = format('In tenant %s, %s names its own descendant, or itself, as %s.',
                                NEW.tenant_id, origin, TG_ARGV[1]),
                HINT = 'Choose a parent outside its own subtree.',
                SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = TG_ARGV[1];
        END IF;
        EXECUTE format('SELECT %I FROM authz.%I WHERE tenant_id = $1 AND %I = $2',
                       TG_ARGV[1], TG_TABLE_NAME, TG_ARGV[0])
            INTO parent USING NEW.tenant_id, parent;
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION authz.refuse_tree_cycle() IS
    'Trigger (AFTER): refuses a row that is its own ancestor (SQLSTATE 23514), with the path in the message; arguments: the id and the parent column.';
REVOKE ALL ON FUNCTION authz.refuse_tree_cycle() FROM PUBLIC;
