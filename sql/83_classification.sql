-- How sensitive each column is, and how it is masked (R40). A row follows its column through renames: it knows the column by
-- number as well. Numbers do not survive a dump, so the name is kept up to date, and the number is found by it again.

CREATE TABLE authz.data_classification (
    classification_id uuid NOT NULL DEFAULT gen_random_uuid(),
    target regclass NOT NULL,
    column_name name NOT NULL,
    classification text COLLATE "C" NOT NULL,
    reason text,
    owner_team text,
    mask text COLLATE "C",
    mask_options jsonb NOT NULL DEFAULT '{}',
    attnum smallint NOT NULL,
    classified_by uuid,
    classified_at timestamptz NOT NULL DEFAULT now(),
    dropped_at timestamptz,
    CONSTRAINT data_classification_pkey PRIMARY KEY (classification_id),
    CONSTRAINT data_classification_classification_check
        CHECK (classification IN ('public', 'internal', 'confidential', 'pii', 'sensitive_pii', 'secret')),
    CONSTRAINT data_classification_mask_check CHECK (mask IN ('null', 'fixed', 'partial', 'hash', 'generalise')),
    CONSTRAINT data_classification_mask_options_check CHECK (jsonb_typeof(mask_options) = 'object')
);
CREATE UNIQUE INDEX data_classification_column_key ON authz.data_classification (target, attnum) WHERE dropped_at IS NULL;
COMMENT ON TABLE authz.data_classification IS 'How sensitive a column is, and how it is masked.';
COMMENT ON COLUMN authz.data_classification.classification_id IS 'Key. Values of the column are hashed with it.';
COMMENT ON COLUMN authz.data_classification.target IS 'The table or view.';
COMMENT ON COLUMN authz.data_classification.column_name IS 'The column''s name, kept up to date when it is renamed.';
COMMENT ON COLUMN authz.data_classification.classification IS
    'public, internal, confidential, pii, sensitive_pii or secret: each more sensitive than the one before.';
COMMENT ON COLUMN authz.data_classification.reason IS 'Why.';
COMMENT ON COLUMN authz.data_classification.owner_team IS 'The team that answers for the data: the id of one of authz.team, or any name; NULL: none is named.';
COMMENT ON COLUMN authz.data_classification.mask IS
    'What whoever may not see the value sees instead: null, fixed, partial, hash or generalise; NULL: nothing, as null.';
COMMENT ON COLUMN authz.data_classification.mask_options IS 'What the mask needs to know.';
COMMENT ON COLUMN authz.data_classification.attnum IS 'The column''s number, found by its name when the row is inserted.';
COMMENT ON COLUMN authz.data_classification.classified_by IS 'The session''s principal; NULL: there was no session.';
COMMENT ON COLUMN authz.data_classification.classified_at IS 'When the class was last given.';
COMMENT ON COLUMN authz.data_classification.dropped_at IS 'When it was noticed that the column is gone; NULL: it is there.';
SELECT pg_catalog.pg_extension_config_dump('authz.data_classification'::pg_catalog.regclass, '');

CREATE FUNCTION authz.find_classified_column() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- The number of a column that is gone means nothing any more, least of all in a dump that is restored.
    IF NEW.dropped_at IS NOT NULL THEN
        NEW.attnum := coalesce(NEW.attnum, 0);
        RETURN NEW;
    END IF;
    NEW.attnum := authz.classifiable_column(NEW.target, NEW.column_name);
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION authz.find_classified_column() IS 'Trigger: finds the number of a classified column by its name.';
REVOKE ALL ON FUNCTION authz.find_classified_column() FROM PUBLIC;

CREATE FUNCTION authz.classifiable_column(target regclass, column_name text) RETURNS smallint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    relation pg_class;
    number   smallint;
BEGIN
    SELECT c.* INTO relation FROM pg_class AS c WHERE c.oid = target;
    IF relation.oid IS NULL OR column_name IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'a table that exists and a column of it must be given',
            HINT = 'Such as: target => ''public.person'', "column" => ''email''.';
    END IF;
    IF relation.relkind NOT IN ('r', 'p', 'v', 'm', 'f') OR relation.relpersistence = 't' THEN
        RAISE EXCEPTION USING ERRCODE = 'wrong_object_type',
            MESSAGE = format('columns of %s cannot be classified', target),
            HINT = 'Name a table or a view that is not temporary.';
    END IF;
    SELECT a.attnum INTO number FROM pg_attribute AS a
    WHERE a.attrelid = target AND a.attname = column_name AND a.attnum > 0 AND NOT a.attisdropped;
    IF number IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_column',
            MESSAGE = format('column %I of %s does not exist', column_name, target),
            HINT = format('Its columns are %s.', (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
                FROM pg_attribute AS a WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped));
    END IF;
    RETURN number;
END
$$;
COMMENT ON FUNCTION authz.classifiable_column(regclass, text) IS
    'The number of a column; refuses what is no table or view (42809) and a column that does not exist (42703).';
REVOKE ALL ON FUNCTION authz.classifiable_column(regclass, text) FROM PUBLIC;

-- A row stays with its column.
CREATE TRIGGER find_column BEFORE INSERT OR UPDATE ON authz.data_classification
    FOR EACH ROW EXECUTE FUNCTION authz.find_classified_column();
-- What is replicated is found here, too.
ALTER TABLE authz.data_classification ENABLE ALWAYS TRIGGER find_column;
CREATE TRIGGER guard_update BEFORE UPDATE ON authz.data_classification
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_overwrite('{"column_name": "free", "classification": "free", "reason": "free",
        "owner_team": "free", "mask": "free", "mask_options": "free", "classified_by": "free", "classified_at": "free",
        "dropped_at": "once"}');
-- Numbers are others after a dump: events leave them out, so that a restore does not look like a change.
SELECT authz.track_changes('authz.data_classification', '{attnum}');
-- Plans show a column plainly, or look at hashes of it, because of what stands here.
CREATE TRIGGER invalidate AFTER INSERT OR UPDATE OR DELETE ON authz.data_classification
    FOR EACH ROW EXECUTE FUNCTION authz.authority_changed('relation', 'target');
ALTER TABLE authz.data_classification ENABLE ALWAYS TRIGGER invalidate;
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON authz.data_classification
    FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_delete('Give each column the class that it is to have (authz_classify).');
ALTER TABLE authz.data_classification ENABLE ALWAYS TRIGGER guard_truncate;

-- Who renames or drops a column need not know that it is classified. Reads the catalogs and writes nothing but names.
CREATE FUNCTION authz.follow_columns() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE authz.data_classification AS c SET dropped_at = clock_timestamp()
    WHERE c.dropped_at IS NULL
      AND NOT EXISTS (SELECT FROM pg_attribute AS a
                      WHERE a.attrelid = c.target AND a.attnum = c.attnum AND NOT a.attisdropped);
    UPDATE authz.data_classification AS c SET column_name = a.attname
    FROM pg_attribute AS a
    WHERE a.attrelid = c.target AND a.attnum = c.attnum AND c.dropped_at IS NULL AND a.attname <> c.column_name;
END
$$;
COMMENT ON FUNCTION authz.follow_columns() IS
    'Event trigger: keeps the names of classified columns up to date, and notices when one is gone.';
REVOKE ALL ON FUNCTION authz.follow_columns() FROM PUBLIC;
CREATE EVENT TRIGGER authz_follow_columns ON ddl_command_end
    WHEN TAG IN ('ALTER TABLE', 'ALTER VIEW', 'ALTER MATERIALIZED VIEW', 'ALTER FOREIGN TABLE', 'ALTER TYPE')
    EXECUTE FUNCTION authz.follow_columns();
ALTER EVENT TRIGGER authz_follow_columns ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER authz_follow_columns IS 'Keeps the names of classified columns up to date.';

-- Columns go with many things: their type, a function that generates them, a schema, a server.
CREATE FUNCTION authz.forget_columns() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE authz.data_classification AS c SET dropped_at = clock_timestamp()
    FROM pg_event_trigger_dropped_objects() AS d
    WHERE d.classid = 'pg_class'::regclass AND c.target = d.objid AND d.objsubid IN (0, c.attnum) AND c.dropped_at IS NULL;
END
$$;
COMMENT ON FUNCTION authz.forget_columns() IS 'Event trigger: notices when a classified column is dropped.';
REVOKE ALL ON FUNCTION authz.forget_columns() FROM PUBLIC;
CREATE EVENT TRIGGER authz_forget_columns ON sql_drop EXECUTE FUNCTION authz.forget_columns();
ALTER EVENT TRIGGER authz_forget_columns ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER authz_forget_columns IS 'Notices when classified columns are dropped.';

-- Whoever owns the table, or holds the permission. Who owns it is asked by a function that runs as its caller
-- (authz.claim_ownership), right before this one, which could not tell.
CREATE FUNCTION authz.demand_classifier(target regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM authz.demand_writable();
    IF target IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'target must be given',
            HINT = 'Such as: target => ''public.person'', "column" => ''email''.';
    END IF;
    IF authz.claimed_ownership(target) OR authz.holds('data.classify', NULL::uuid, 'platform', NULL::text) THEN
        RETURN;
    END IF;
    PERFORM authz.refuse('data.classify', NULL::uuid, 'platform', NULL::text, 'no_authority', '42501',
        'permission denied: data.classify',
        'Neither does the role own the table, nor does the session''s principal hold this permission at platform scope.',
        'Let the owner of the table do it, or begin a session of somebody who holds the permission.');
END
$$;
COMMENT ON FUNCTION authz.demand_classifier(regclass) IS
    'Refuses (42501) unless the caller has just claimed the table''s ownership, or the session''s principal holds data.classify; and (0A000) where nothing can be written.';
REVOKE ALL ON FUNCTION authz.demand_classifier(regclass) FROM PUBLIC;

CREATE FUNCTION authz.classify(target regclass, column_name text, classification text, reason text, owner_team text) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    number smallint;
    former text;
    why    text;
    id     uuid;
BEGIN
    PERFORM authz.demand_classifier(classify.target);
    number := authz.classifiable_column(classify.target, classify.column_name);
    IF authz.class_rank(classify.classification) IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%L is no class', coalesce(classify.classification, 'NULL')),
            HINT = 'It is one of public, internal, confidential, pii, sensitive_pii and secret.';
    END IF;
    why := authz.demand_reason('data.classify', NULL::uuid, 'platform', NULL::text, classify.reason);
    -- What looks like an id is one.
    IF classify.owner_team ~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$'
       AND NOT EXISTS (SELECT FROM authz.team AS t WHERE t.team_id = classify.owner_team::uuid) THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation',
            MESSAGE = format('team %s does not exist', classify.owner_team),
            HINT = 'Give the id of a team of authz.team, or a name, or none.';
    END IF;
    former := authz.set_reason(why);
    -- Two at once meet at the unique index. A team that is not named stays.
    INSERT INTO authz.data_classification AS c (target, column_name, classification, reason, owner_team, classified_by)
    VALUES (classify.target, classify.column_name, classify.classification, why, classify.owner_team, authz.session_principal())
    ON CONFLICT (target, attnum) WHERE dropped_at IS NULL DO UPDATE
    SET classification = EXCLUDED.classification, reason = EXCLUDED.reason,
        owner_team = coalesce(EXCLUDED.owner_team, c.owner_team),
        classified_by = EXCLUDED.classified_by, classified_at = clock_timestamp()
    RETURNING c.classification_id INTO id;
    PERFORM authz.set_reason(former);
    RETURN id;
END
$$;
COMMENT ON FUNCTION authz.classify(regclass, text, text, text, text) IS
    'What authz_classify does. Asks itself who may, so that everybody may call it.';

CREATE FUNCTION authz_classify(
    target regclass, "column" text, classification text, reason text DEFAULT NULL, owner_team text DEFAULT NULL
) RETURNS uuid
LANGUAGE sql VOLATILE
-- Resolved now: whoever calls it needs no privilege on the schema.
BEGIN ATOMIC
    SELECT authz.claim_ownership(target);
    SELECT authz.classify(target, "column", classification, reason, owner_team);
END;
COMMENT ON FUNCTION authz_classify(regclass, text, text, text, text) IS
    'Says how sensitive a column is: public, internal, confidential, pii, sensitive_pii or secret. For the table''s owner, and for whoever holds data.classify at platform scope. Again for the same column it changes the class.';
REVOKE ALL ON FUNCTION authz_classify(regclass, text, text, text, text) FROM PUBLIC;

CREATE VIEW authz.column_classification AS
    SELECT c.target, coalesce(a.attname, c.column_name) AS column_name, c.classification, c.reason, c.owner_team,
           c.mask, c.mask_options,
           CASE WHEN c.dropped_at IS NOT NULL OR a.attname IS NULL THEN 'dropped' ELSE 'classified' END AS state,
           c.classified_by, c.classified_at, c.dropped_at
    FROM authz.data_classification AS c
    LEFT JOIN pg_catalog.pg_attribute AS a
        ON a.attrelid OPERATOR(pg_catalog.=) c.target AND a.attnum OPERATOR(pg_catalog.=) c.attnum
       AND NOT a.attisdropped AND c.dropped_at IS NULL;
COMMENT ON VIEW authz.column_classification IS 'Each classified column by its present name, and those that are gone.';
COMMENT ON COLUMN authz.column_classification.target IS 'The table or view.';
COMMENT ON COLUMN authz.column_classification.column_name IS 'The column as it is called now, or was called last.';
COMMENT ON COLUMN authz.column_classification.classification IS 'Its class.';
COMMENT ON COLUMN authz.column_classification.reason IS 'Why.';
COMMENT ON COLUMN authz.column_classification.owner_team IS 'The team that answers for the data.';
COMMENT ON COLUMN authz.column_classification.mask IS 'How it is masked; NULL: as NULL.';
COMMENT ON COLUMN authz.column_classification.mask_options IS 'What the mask needs to know.';
COMMENT ON COLUMN authz.column_classification.state IS 'classified, or dropped: the column or its table is gone.';
COMMENT ON COLUMN authz.column_classification.classified_by IS 'Who gave the class last; NULL: it was done without a session.';
COMMENT ON COLUMN authz.column_classification.classified_at IS 'When.';
COMMENT ON COLUMN authz.column_classification.dropped_at IS 'When it was noticed that the column is gone.';

CREATE VIEW authz.unclassified_column AS
    SELECT t.target, t.resource_type, a.attname AS column_name,
           pg_catalog.format_type(a.atttypid, a.atttypmod) AS data_type,
           a.attname OPERATOR(pg_catalog.=) ANY (ARRAY[t.key_column, t.tenant_column, t.organization_column, t.team_column,
               t.project_column, t.owner_column, t.confidentiality_column, t.deleted_at_column, t.parent_column]) IS TRUE
               AS is_boundary
    FROM authz.resource_type AS t
    JOIN pg_catalog.pg_attribute AS a
        ON a.attrelid OPERATOR(pg_catalog.=) t.target AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
    WHERE NOT EXISTS (SELECT FROM authz.data_classification AS c
                      WHERE c.target OPERATOR(pg_catalog.=) t.target AND c.attnum OPERATOR(pg_catalog.=) a.attnum
                        AND c.dropped_at IS NULL);
COMMENT ON VIEW authz.unclassified_column IS 'Columns of protected tables that nobody has classified.';
COMMENT ON COLUMN authz.unclassified_column.target IS 'The table.';
COMMENT ON COLUMN authz.unclassified_column.resource_type IS 'What it is protected as.';
COMMENT ON COLUMN authz.unclassified_column.column_name IS 'The column.';
COMMENT ON COLUMN authz.unclassified_column.data_type IS 'Its type.';
COMMENT ON COLUMN authz.unclassified_column.is_boundary IS
    'Is it a column that says where the row belongs? Those count as internal until they are classified; all others as secret.';
