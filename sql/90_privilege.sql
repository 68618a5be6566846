-- Who may call what. Tables and internals: nobody but the owner, until granted. Checks: everybody, because policies run
-- with the querying role's privileges and the answer is all that a check gives away. Explanations tell who granted what
-- to whom, and lists of principals and resources who and what there is, so they are granted one by one.
REVOKE ALL ON FUNCTION
    authz_explain(uuid, text, uuid, uuid, jsonb, timestamptz),
    authz_explain(uuid, text, bigint, uuid, jsonb, timestamptz),
    authz_explain(uuid, text, text, uuid, jsonb, timestamptz),
    authz_explain_text(uuid, text, uuid, uuid, jsonb, timestamptz),
    authz_explain_text(uuid, text, bigint, uuid, jsonb, timestamptz),
    authz_explain_text(uuid, text, text, uuid, jsonb, timestamptz),
    authz_principals(text, uuid, uuid, timestamptz),
    authz_principals(text, bigint, uuid, timestamptz),
    authz_principals(text, text, uuid, timestamptz),
    authz_resources(uuid, text, uuid, text, bigint, timestamptz)
    FROM PUBLIC;
-- The planner calls them without asking anybody.
REVOKE ALL ON FUNCTION authz.plan_support(internal), authz.call_support(internal), authz.mask_support(internal),
    authz.class_support(internal) FROM PUBLIC;
-- Who may call them decides what the events say.
REVOKE ALL ON FUNCTION
    authz.audited_support(internal),
    authz.one_select(text),
    authz.surface_of_view(oid, oid),
    authz.register_audited_view(oid, uuid, text),
    authz.alter_audited_view(oid, text),
    authz.cluster_id(),
    authz.demand_writable(),
    authz.record_access(text, text, text, uuid, text, text, jsonb, uuid),
    authz.record_denial(text, text, text, uuid, text, text, jsonb, uuid)
    FROM PUBLIC;
-- Who has privileged access is not everybody's business. (Whether one's own session is masked is asked by views.)
REVOKE ALL ON FUNCTION authz.active_privileged_session(uuid, uuid) FROM PUBLIC;
-- What is how sensitive is known to whoever classifies.
REVOKE ALL ON FUNCTION authz.class_rank(text), authz.column_class(oid, smallint) FROM PUBLIC;
-- They tell of authority without asking who wants to know.
REVOKE ALL ON FUNCTION
    authz.holds(text, uuid, text, text),
    authz.terms(text, uuid, text, text),
    authz.principal_holds(uuid, text, uuid, text, text),
    authz.role_missing(text, uuid, text, text),
    authz.permission_missing(text, uuid, text, text),
    authz.is_addressed(text, text, uuid),
    authz.in_logical_worker(),
    authz.lock_owner(oid, text, text, uuid),
    authz.write_owner(oid, text, text, uuid, text),
    authz.write_export(uuid, oid, text, text, bigint),
    authz_run_export(uuid),
    authz.count_reveal(uuid),
    authz.claimed_ownership(oid),
    authz.read_field(oid, text, text, uuid)
    FROM PUBLIC;
-- Whoever may set a session may be anybody.
REVOKE ALL ON FUNCTION authz_set_session(uuid, uuid, jsonb, boolean) FROM PUBLIC;

DO $$
DECLARE
    f record;
BEGIN
    FOR f IN
        SELECT p.oid::pg_catalog.regprocedure AS signature, c.about
        FROM pg_catalog.pg_proc AS p
        JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype = 'e'
        JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'authz_ext'
        JOIN (VALUES
            ('authz_can', 'May the principal (without one: the session''s) use the permission on the resource, now? Never NULL.'),
            ('authz_can_at', 'Might the principal use the permission on the resource at that instant, by authority as it stood then? Never NULL.'),
            ('authz_principals', 'Everybody who may use the permission on the resource, now or at an instant, each with the binding that decides (via: its kind).'),
            ('authz_can_many', 'authz_can for each of several resources, in the order given.'),
            ('authz_explain', 'The decision with its reason, every step, what was looked at, the deciding binding and who made it, and what would have to change.'),
            ('authz_explain_text', 'authz_explain as indented text, like EXPLAIN.'),
            ('authz_permissions', 'Everything that the principal may do to the resource, with the obligations that come with it.'),
            ('authz_set_session', 'Begins a session: from here on the transaction (is_local) or the connection acts for the principal.'),
            ('authz_set_session_token', 'Begins the session of a token signed by a key of authz.signing_key; it ends with the token at the latest.'),
            ('authz_clear_session', 'Ends the session.'),
            ('authz_principal', 'The session''s principal; NULL without a session.'),
            ('authz_tenant', 'The only tenant that the session sees; NULL: all of the principal''s, or no session.'),
            ('authz_context', 'What was said of the request when the session was set; NULL without a session.'),
            ('authz_resources', 'Every resource that the principal may use the permission on, ordered; after continues a page; at asks about another instant.'),
            ('active_privileged_session', 'The privileged session that the principal acts under in the tenant (NULL: in any), now; NULL: none. Break-glass comes first.'),
            ('session_is_masked', 'Does the session act under a support session that was not approved to reach sensitive data? Then what it reads is masked.'),
            ('authz_row', 'May the session use the permission on a row with these columns? What policies call. Without a session: no.'),
            ('row_exact', 'authz_row in a plan: the exact decision; NULL where it depends on conditions over a row that is not stored as it is passed.'),
            ('row_condition', 'authz_row in a plan, with the row itself, for rows that authz.row_exact has no answer for.'),
            ('row_whole', 'authz_row in a plan for a session that sees everything, for other sessions: the decision about the row as it is.'),
            ('sees_all', 'In a plan: a number for session and statement, if the session sees every row; else 0.'),
            ('still', 'In a plan: is it still the session and statement of that number?'),
            ('named_tenant', 'In a plan: the tenant that the session names.'),
            ('call_support', 'Planner support function of authz_row and authz_can.'),
            ('via', 'In a plan: is the row at a place that the session can reach?'),
            ('reach_uuid', 'In a plan: the places that authz.via is true for, to be searched for by index.'),
            ('reach_int2', 'In a plan: the keys that authz.via is true for.'),
            ('reach_int4', 'In a plan: the keys that authz.via is true for.'),
            ('reach_int8', 'In a plan: the keys that authz.via is true for.'),
            ('reach_text', 'In a plan: the keys that authz.via is true for.'),
            ('plan_support', 'Planner support function of authz.via, authz.row_exact and authz.row_condition.'),
            ('holds', 'Does the session''s principal hold the permission at the scope, by standing authority (not by a privileged session)? At platform scope tenant and scope_id are NULL.'),
            ('terms', 'The obligations with which the session''s principal holds the permission at the scope, by standing authority; NULL: it does not.'),
            ('authz_run_export', 'Writes the content of an export, in the session of who asked for it, by row security as it holds for them now. Returns the number of rows; one row too many fails (54000).'),
            ('write_export', 'Runs the query of an export, which reads the source once, and writes its chunks; one row more than the limit means that there were too many.'),
            ('principal_holds', 'The same of any principal, of whose request nothing is known.'),
            ('role_missing', 'The permissions of a role that the session''s principal may not hand on at the scope; NULL: there is no session, or it does not reach that scope.'),
            ('permission_missing', 'The same for a permission with what it implies.'),
            ('is_addressed', 'Does a grant or rule of the tenant that addresses the grantee address the session''s principal?'),
            ('session_is_member', 'Is the session''s principal an active member of the tenant, which the session sees? Without a session: no.'),
            ('lock_owner', 'Runs the SELECT FOR UPDATE of authz_transfer_ownership as the table''s owner.'),
            ('write_owner', 'Runs the UPDATE of authz_transfer_ownership as the table''s owner.'),
            ('mask_hash', 'Keyed hash of a column''s value. Refused (42501) unless the planner saw that it is the very column that the classification of that id is about.'),
            ('mask_support', 'Planner support function of authz.mask_hash.'),
            ('class_rank', 'Place of a class in the order public, internal, confidential, pii, sensitive_pii, secret; NULL: there is no such class.'),
            ('column_class', 'A column''s class; of one that nobody has classified, internal where it says where the row belongs, and else secret.'),
            ('within_class', 'Stands before a column that is shown plainly: true while the column''s class is at most the given one, as planning sees it; else, and of what is no column, false.'),
            ('class_support', 'Planner support function of authz.within_class.'),
            ('unmasked_moment', 'In a plan: a number for session and statement, unless the session is masked; else 0.'),
            ('claim_ownership', 'Has the current role the rights of the table''s owner? Then the next function that asks for that believes it, in this statement.'),
            ('claimed_ownership', 'Has the caller of this statement claimed that the table is its own? The claim is used up.'),
            ('count_reveal', 'Counts a reveal, past this transaction: is it within authz.reveal_limit? Fails (53400) where it cannot be counted.'),
            ('read_field', 'Runs the query of authz_reveal as the table''s owner, under its policies; NULL unless it finds one row.'),
            ('in_logical_worker', 'Is this a worker of logical replication?'),
            ('authz_audited', 'Stands in the body of an audited view: planning it makes sure that reads of the view are recorded. True.'),
            ('audited_support', 'Planner support function of authz_audited.'),
            ('one_select', 'The text of the one SELECT that a query consists of; SQLSTATE 42601 if it is something else.'),
            ('surface_of_view', 'The surface that the WHERE of a view names in a call of that function which every row has to pass; NULL: it does not.'),
            ('register_audited_view', 'What authz_create_audited_view calls: reads of a view of the caller''s are recorded from now on.'),
            ('alter_audited_view', 'What authz_alter_audited_view calls.'),
            ('authz_check', 'authz_can, and an access event of the answer. Never NULL.'),
            ('authz_require', 'Returns if the session''s principal may use the permission on the resource, else fails with SQLSTATE 42501. Leaves an access event, a denial also where the transaction rolls back.'),
            ('authz_audit_seal', 'Chains the events of all ended transactions that are not sealed yet: seals made, events in them, and the head of the chain.'),
            ('authz_audit_verify', 'Compares every sealed event with the chain, and the chain with an anchor kept elsewhere; names the first row that was changed, removed or inserted.'),
            ('authz_audit_head', 'The end of the chain, to be kept elsewhere as an anchor.'),
            ('seal_archive', 'Writes into the chain that a partition is being detached.'),
            ('cluster_id', 'The cluster that transactions are counted in.'),
            ('demand_writable', 'Refuses (0A000) a change that is to leave events on a standby and in a read-only transaction.'),
            ('record_access', 'Writes one access event with what the session says of the request; its audit_id.'),
            ('record_denial', 'Records one access event that stays although the transaction rolls back: called right before an error is raised.'),
            ('authz_stats', 'What this backend''s cache of compiled policy has done since the backend began; where events go whose transaction rolls back (audit_outlet: worker or log), and how many.')
        ) AS c (name, about) ON c.name = p.proname
    LOOP
        EXECUTE pg_catalog.format('COMMENT ON FUNCTION %s IS %L', f.signature, f.about);
    END LOOP;
END
$$;
