-- Decisions on cases move from status to status by these functions alone. Each asks, in this order: are the arguments
-- there; may the actor do it (the decision rule, with all of its steps), may the session act for the actor, and is the
-- actor assigned to the case; is there a reason; then, with the row locked, all of the authority again; is the transition
-- legal; have other eyes seen it; does a dynamic separation of duty forbid it. Without authority nobody learns whether there is such a decision: the same words for
-- what is forbidden and what is not there. Refusals are recorded and outlive the rollback.
--
-- Calls name every argument's type: see 86_work.sql.

CREATE FUNCTION casework.refuse(permission text, actor uuid, tenant uuid, kind text, id uuid, why text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM authz.record_denial(permission, kind, id::text, tenant, 'denied', why, '{}'::jsonb, actor);
    RAISE EXCEPTION USING
        ERRCODE = 'insufficient_privilege',
        MESSAGE = format('permission denied: %s', permission),
        DETAIL = format('The actor may not do this to that %s, or the session may not act for the actor, or there is nothing there.', kind),
        HINT = 'authz_explain tells those who may call it why.';
END
$$;
COMMENT ON FUNCTION casework.refuse(text, uuid, uuid, text, uuid, text) IS 'Records a denial and raises 42501.';
REVOKE ALL ON FUNCTION casework.refuse(text, uuid, uuid, text, uuid, text) FROM PUBLIC;

-- Whoever acts for somebody else lends no second factor: what the request's context says is about the session's principal.
-- All refusals come from one line, which the context of an error names.
CREATE FUNCTION casework.demand(
    permission text, actor uuid, tenant uuid, kind text, id uuid, case_id uuid, assigned boolean DEFAULT false
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    me      CONSTANT uuid := authz.session_principal();
    context CONSTANT jsonb := CASE WHEN actor = me THEN @extschema@.authz_context() ELSE '{}'::jsonb END;
    why     text;
BEGIN
    IF me IS NULL OR coalesce(authz.session_tenant(), tenant) <> tenant THEN
        why := 'outside_tenant';
    ELSIF actor <> me AND NOT @extschema@.authz_can(me, 'case.act_for'::text, case_id, tenant, @extschema@.authz_context()) THEN
        why := 'not_the_actor';
    ELSIF NOT @extschema@.authz_can(actor, permission, id, tenant, context) THEN
        why := coalesce(@extschema@.authz_explain(actor, permission, id, tenant, context, NULL::timestamptz) ->> 'reason', 'denied');
    ELSIF assigned AND NOT EXISTS (
        SELECT FROM casework.case_assignment AS a
        WHERE a.tenant_id = tenant AND a.case_id = demand.case_id AND a.principal_id = actor AND a.unassigned_at IS NULL) THEN
        why := 'not_assigned';
    END IF;
    IF why IS NOT NULL THEN
        PERFORM casework.refuse(permission, actor, tenant, kind, id, why);
    END IF;
END
$$;
COMMENT ON FUNCTION casework.demand(text, uuid, uuid, text, uuid, uuid, boolean) IS
    'Refuses (42501) unless the actor may use the permission on the resource, is the session''s principal or one whom it may act for, and (assigned) is assigned to the case.';
REVOKE ALL ON FUNCTION casework.demand(text, uuid, uuid, text, uuid, uuid, boolean) FROM PUBLIC;

-- A tenant that is not said is the session's, else the one that has such a row: ids are hardly ever the same in two. Where that
-- is not clear it stays unknown, and is refused like what is not there.
CREATE FUNCTION casework.tenant_of(tenant uuid, kind text, id uuid) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(tenant, authz.session_tenant(), (
        SELECT CASE WHEN count(*) = 1 THEN (array_agg(r.tenant_id))[1] END
        FROM (SELECT c.tenant_id FROM casework.case_record AS c WHERE tenant_of.kind = 'case' AND c.case_id = tenant_of.id
              UNION ALL
              SELECT d.tenant_id FROM casework.case_decision AS d WHERE tenant_of.kind = 'decision' AND d.decision_id = tenant_of.id
              UNION ALL
              SELECT d.tenant_id FROM casework.case_document AS d
              WHERE tenant_of.kind = 'document' AND d.document_id = tenant_of.id) AS r))
$$;
COMMENT ON FUNCTION casework.tenant_of(uuid, text, uuid) IS
    'The tenant that is meant: the one given, else the session''s, else the only one that has a case, decision or document of that id.';
REVOKE ALL ON FUNCTION casework.tenant_of(uuid, text, uuid) FROM PUBLIC;

CREATE FUNCTION casework.move_decision(
    permission text, becomes text, tenant uuid, decision uuid, actor uuid, reason text
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    me   CONSTANT uuid := authz.session_principal();
    d    casework.case_decision;
    gone timestamptz;
    why  text;
BEGIN
    PERFORM authz.demand_arguments(permission, 'decision', decision::text, 'actor', actor::text);
    tenant := casework.tenant_of(tenant, 'decision', decision);
    SELECT * INTO d FROM casework.case_decision AS x WHERE x.tenant_id = tenant AND x.decision_id = decision;
    PERFORM casework.demand(permission, actor, tenant, 'decision', decision, d.case_id, true);
    why := authz.demand_reason(permission, tenant, 'decision', decision::text, reason, true);

    -- Case, assignment, decision: always in this order. Deletion and the end of an assignment wait for this transaction.
    SELECT c.deleted_at INTO gone FROM casework.case_record AS c
    WHERE c.tenant_id = tenant AND c.case_id = d.case_id FOR SHARE;
    PERFORM FROM casework.case_assignment AS a
    WHERE a.tenant_id = tenant AND a.case_id = d.case_id AND a.principal_id = actor AND a.unassigned_at IS NULL FOR SHARE;
    SELECT * INTO d FROM casework.case_decision AS x
    WHERE x.tenant_id = tenant AND x.decision_id = decision FOR NO KEY UPDATE;
    -- Whoever waited for a row looks again.
    PERFORM casework.demand(permission, actor, tenant, 'decision', decision, d.case_id, true);

    IF gone IS NOT NULL OR (d.status, becomes) NOT IN (
        ('draft', 'submitted'), ('draft', 'withdrawn'), ('submitted', 'approved'), ('submitted', 'rejected'),
        ('submitted', 'withdrawn')) THEN
        PERFORM authz.refuse(permission, tenant, 'decision', decision::text, 'wrong_state', '55000',
            CASE WHEN gone IS NOT NULL THEN 'the case is deleted'
                 ELSE format('a decision that is %s cannot become %s', d.status, becomes) END, NULL,
            'A draft is submitted, then approved or rejected; a draft or a submitted decision can be withdrawn.');
    END IF;
    IF becomes IN ('approved', 'rejected') AND EXISTS (
        SELECT FROM (SELECT d.drafted_by UNION SELECT d.submitted_by UNION SELECT unnest(d.edited_by)
                     UNION SELECT unnest(ARRAY[t.acted_by, t.actor_id]) FROM casework.case_decision_transition AS t
                     WHERE t.tenant_id = tenant AND t.decision_id = decision) AS a (author)
        CROSS JOIN (SELECT actor UNION SELECT me) AS p (person)
        WHERE authz.same_person(a.author, p.person)) THEN
        PERFORM authz.refuse(permission, tenant, 'decision', decision::text, 'separation_of_duty', '23514',
            'separation of duty: nobody decides on what he wrote or submitted',
            'The actor, or who acts for the actor, is an author of this decision or submitted it, or has the e-mail address of one who did.',
            'Let another approver who is assigned to the case decide.');
    END IF;

    PERFORM authz.sod_use(permission, 'decision'::text, decision::text, tenant, actor);

    UPDATE casework.case_decision AS x
    SET status = becomes,
        submitted_by = CASE becomes WHEN 'submitted' THEN actor ELSE x.submitted_by END,
        submitted_at = CASE becomes WHEN 'submitted' THEN clock_timestamp() ELSE x.submitted_at END,
        decided_by = CASE becomes WHEN 'submitted' THEN x.decided_by ELSE actor END,
        decided_at = CASE becomes WHEN 'submitted' THEN x.decided_at ELSE clock_timestamp() END
    WHERE x.tenant_id = tenant AND x.decision_id = decision;
    INSERT INTO casework.case_decision_transition (tenant_id, decision_id, from_status, to_status, actor_id, acted_by, reason)
    VALUES (tenant, decision, d.status, becomes, actor, me, why);
    PERFORM authz.record_access(permission, 'decision', decision::text, tenant, 'allowed', NULL::text,
        jsonb_build_object('case_id', d.case_id, 'from', d.status, 'to', becomes, 'reason', why), actor);
END
$$;
COMMENT ON FUNCTION casework.move_decision(text, text, uuid, uuid, uuid, text) IS
    'What submit_, approve_, reject_ and withdraw_case_decision do.';
REVOKE ALL ON FUNCTION casework.move_decision(text, text, uuid, uuid, uuid, text) FROM PUBLIC;

-- In PL/pgSQL, which keeps its plans: the same in SQL is planned anew with each call.
CREATE FUNCTION submit_case_decision(tenant uuid, decision uuid, actor uuid, reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM casework.move_decision('decision.submit', 'submitted', tenant, decision, actor, reason);
END
$$;
COMMENT ON FUNCTION submit_case_decision(uuid, uuid, uuid, text) IS
    'Submits a draft: decision.submit, an assignment to the case, and a reason are needed.';
REVOKE ALL ON FUNCTION submit_case_decision(uuid, uuid, uuid, text) FROM PUBLIC;

CREATE FUNCTION approve_case_decision(tenant uuid, decision uuid, actor uuid, reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM casework.move_decision('decision.approve', 'approved', tenant, decision, actor, reason);
END
$$;
COMMENT ON FUNCTION approve_case_decision(uuid, uuid, uuid, text) IS
    'Approves a submitted decision that the actor neither wrote nor submitted: decision.approve, an assignment to the case, and a reason are needed.';
REVOKE ALL ON FUNCTION approve_case_decision(uuid, uuid, uuid, text) FROM PUBLIC;

CREATE FUNCTION reject_case_decision(tenant uuid, decision uuid, actor uuid, reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM casework.move_decision('decision.reject', 'rejected', tenant, decision, actor, reason);
END
$$;
COMMENT ON FUNCTION reject_case_decision(uuid, uuid, uuid, text) IS
    'Rejects a submitted decision that the actor neither wrote nor submitted: decision.reject, an assignment to the case, and a reason are needed.';
REVOKE ALL ON FUNCTION reject_case_decision(uuid, uuid, uuid, text) FROM PUBLIC;

CREATE FUNCTION withdraw_case_decision(tenant uuid, decision uuid, actor uuid, reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM casework.move_decision('decision.withdraw', 'withdrawn', tenant, decision, actor, reason);
END
$$;
COMMENT ON FUNCTION withdraw_case_decision(uuid, uuid, uuid, text) IS
    'Withdraws a draft or a submitted decision: decision.withdraw, an assignment to the case, and a reason are needed.';
REVOKE ALL ON FUNCTION withdraw_case_decision(uuid, uuid, uuid, text) FROM PUBLIC;
