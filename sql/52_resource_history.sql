-- What a resource's boundary was before: tables of the application that keep it as intervals. Decisions about the past
-- read them; where none is registered, the row as it is now is used.

CREATE TABLE authz.resource_history (
    resource_type text COLLATE "C" NOT NULL,
    attribute text COLLATE "C" NOT NULL,
    target regclass NOT NULL,
    key_column name NOT NULL,
    tenant_column name NOT NULL,
    value_column name NOT NULL,
    from_column name NOT NULL,
    until_column name NOT NULL,
    kind_column name,
    kind_value text COLLATE "C",
    CONSTRAINT resource_history_pkey PRIMARY KEY (resource_type, attribute),
    CONSTRAINT resource_history_resource_type_fkey
        FOREIGN KEY (resource_type) REFERENCES authz.resource_type (resource_type) ON DELETE CASCADE,
    CONSTRAINT resource_history_attribute_check
        CHECK (attribute IN ('owner', 'organization', 'team', 'project', 'confidentiality')),
    CONSTRAINT resource_history_kind_column_kind_value_check CHECK ((kind_column IS NULL) = (kind_value IS NULL))
);
COMMENT ON TABLE authz.resource_history IS
    'Where it is written what an attribute of a type''s resources was before: a table with intervals, complete for every resource that it mentions.';
COMMENT ON COLUMN authz.resource_history.resource_type IS 'The resource type.';
COMMENT ON COLUMN authz.resource_history.attribute IS 'owner, organization, team, project or confidentiality.';
COMMENT ON COLUMN authz.resource_history.target IS 'The table; an index on the key column makes it quick to ask.';
COMMENT ON COLUMN authz.resource_history.key_column IS 'Its column with the resource''s key.';
COMMENT ON COLUMN authz.resource_history.tenant_column IS 'Its column with the resource''s tenant.';
COMMENT ON COLUMN authz.resource_history.value_column IS 'Its column with what the attribute was.';
COMMENT ON COLUMN authz.resource_history.from_column IS 'Its column with the start of the interval, timestamptz.';
COMMENT ON COLUMN authz.resource_history.until_column IS 'Its column with the end of the interval, timestamptz; NULL: still.';
COMMENT ON COLUMN authz.resource_history.kind_column IS
    'Where one table has several attributes: its text column that says which; NULL: it has one.';
COMMENT ON COLUMN authz.resource_history.kind_value IS 'What that column has in rows of this attribute.';

CREATE FUNCTION authz.check_resource_history() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wrong record;
BEGIN
    -- A bare number comes from a dump in which the table had been dropped: it must not make the restore fail.
    IF NOT EXISTS (SELECT FROM pg_class AS c WHERE c.oid = NEW.target) THEN
        RETURN NEW;
    END IF;
    SELECT w.* INTO wrong
    FROM (VALUES ('key_column', NEW.key_column, ARRAY['uuid', 'smallint', 'integer', 'bigint', 'text', 'character varying']),
                 ('tenant_column', NEW.tenant_column, ARRAY['uuid']),
                 ('value_column', NEW.value_column, CASE NEW.attribute WHEN 'confidentiality'
                     THEN ARRAY['text', 'character varying'] ELSE ARRAY['uuid', 'text', 'character varying'] END),
                 ('from_column', NEW.from_column, ARRAY['timestamp with time zone']),
                 ('until_column', NEW.until_column, ARRAY['timestamp with time zone']),
                 ('kind_column', NEW.kind_column, ARRAY['text', 'character varying'])) AS w (role, name, types)
    LEFT JOIN pg_attribute AS a ON a.attrelid = NEW.target AND a.attname = w.name AND NOT a.attisdropped AND a.attnum > 0
    WHERE w.name IS NOT NULL AND NOT coalesce(format_type(a.atttypid, NULL) = ANY (w.types), false)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'datatype_mismatch',
            MESSAGE = format('%s cannot be registered as a history of %L', NEW.target, NEW.resource_type),
            DETAIL = format('As %s: there is no column %I of type %s.', wrong.role, wrong.name, array_to_string(wrong.types, ' or ')),
            HINT = 'See the comments of authz.resource_history for what each column must be.';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION authz.check_resource_history() IS
    'Trigger: refuses a history whose table lacks a column, or has one of a type that cannot be used (SQLSTATE 42804).';
REVOKE ALL ON FUNCTION authz.check_resource_history() FROM PUBLIC;
CREATE TRIGGER check_resource_history BEFORE INSERT OR UPDATE ON authz.resource_history
    FOR EACH ROW EXECUTE FUNCTION authz.check_resource_history();

SELECT pg_catalog.pg_extension_config_dump('authz.resource_history'::pg_catalog.regclass, '');
