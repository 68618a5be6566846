-- How sensitive an exported column is, and what of it is written.

-- Of a safe view, a column is as sensitive as that of the table behind it.
CREATE FUNCTION authz.export_class(source regclass, column_name text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN c.class <> 'secret'
                  OR EXISTS (SELECT FROM authz.data_classification AS k
                             WHERE k.target = t.target AND k.column_name = export_class.column_name AND k.dropped_at IS NULL)
                THEN c.class END
    FROM (SELECT coalesce((SELECT v.target FROM authz.safe_view AS v WHERE v.view = source), source) AS target) AS t
    CROSS JOIN LATERAL authz.class_of(t.target, export_class.column_name) AS c (class)
$$;
COMMENT ON FUNCTION authz.export_class(regclass, text) IS
    'The class of a column that is exported or fed; NULL: nobody has classified it.';
REVOKE ALL ON FUNCTION authz.export_class(regclass, text) FROM PUBLIC;

-- The column as it is read, from a relation that is called t. A safe view shows what its reader may see; hidden from
-- everybody is more than it can do.
CREATE FUNCTION authz.export_expression(source regclass, column_name text, max_class text, hidden boolean) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM authz.safe_view AS v WHERE v.view = source) THEN
        RETURN authz.masked_column_sql(source, column_name, max_class, '{}'::jsonb, hidden, 't'::name);
    ELSIF hidden AND authz.class_rank(authz.export_class(source, column_name)) > authz.class_rank(max_class) THEN
        RETURN (SELECT format('NULL::%s', format_type(a.atttypid, a.atttypmod)) FROM pg_attribute AS a
                WHERE a.attrelid = source AND a.attname = export_expression.column_name);
    END IF;
    RETURN format('t.%I', column_name);
END
$$;
COMMENT ON FUNCTION authz.export_expression(regclass, text, text, boolean) IS
    'The expression of an exported column: masked above max_class for everybody (hidden), or for whoever may not see that class in the row.';
REVOKE ALL ON FUNCTION authz.export_expression(regclass, text, text, boolean) FROM PUBLIC;
