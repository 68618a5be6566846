-- The schema of tables and internals. Its name is fixed: the library finds its tables there.

-- Every text that crosses into the library is taken for UTF-8.
DO $$
BEGIN
    IF pg_catalog.getdatabaseencoding() <> 'UTF8' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'feature_not_supported',
            MESSAGE = 'authz_ext needs a database with encoding UTF8',
            DETAIL = pg_catalog.format('The encoding of this database is %s.', pg_catalog.getdatabaseencoding()),
            HINT = 'Create the database with ENCODING ''UTF8'' TEMPLATE template0.';
    END IF;
END
$$;

-- Without IF NOT EXISTS: a schema that somebody else made (and could change) must not become the extension's.
CREATE SCHEMA authz;
COMMENT ON SCHEMA authz IS 'Tables and internals of authz_ext: who may do what to which row.';
REVOKE ALL ON SCHEMA authz FROM PUBLIC;
