-- What happened: accesses and refusals, changes of authority, privileged sessions, and how work is spread.

CREATE VIEW authz.access_trail WITH (security_barrier) AS
    SELECT e.audit_id, e.occurred_at, e.tenant_id, e.principal_id, e.asked_by, e.action_code, e.resource_type, e.resource_id,
           e.access_result, e.policy_reason, e.request_id, e.source_ip, e.user_agent, e.support_session_id, e.db_role, e.context
    FROM authz.access_audit_event AS e
    WHERE (SELECT authz.reads_all_evidence())
       OR e.tenant_id IN (SELECT authz.audited_tenants())
       OR (e.tenant_id IS NULL AND (SELECT authz.audits_platform()));
COMMENT ON VIEW authz.access_trail IS 'Access events, for whoever audits the tenant: who did, or was refused, what, and when.';
COMMENT ON COLUMN authz.access_trail.audit_id IS 'Key of the access event.';
COMMENT ON COLUMN authz.access_trail.occurred_at IS 'When.';
COMMENT ON COLUMN authz.access_trail.tenant_id IS 'The resource''s tenant, or the one that was named; NULL: none.';
COMMENT ON COLUMN authz.access_trail.principal_id IS 'Who did it, or was refused.';
COMMENT ON COLUMN authz.access_trail.asked_by IS 'Whose session it was; if not principal_id''s own, somebody else has asked.';
COMMENT ON COLUMN authz.access_trail.action_code IS 'What was done or asked for.';
COMMENT ON COLUMN authz.access_trail.resource_type IS 'Type of the resource.';
COMMENT ON COLUMN authz.access_trail.resource_id IS 'Its key.';
COMMENT ON COLUMN authz.access_trail.access_result IS 'allowed or denied.';
COMMENT ON COLUMN authz.access_trail.policy_reason IS 'Why: the reason code.';
COMMENT ON COLUMN authz.access_trail.request_id IS 'The request that it was part of.';
COMMENT ON COLUMN authz.access_trail.source_ip IS 'Where the request came from.';
COMMENT ON COLUMN authz.access_trail.user_agent IS 'What it was made with.';
COMMENT ON COLUMN authz.access_trail.support_session_id IS 'The privileged session that was in force.';
COMMENT ON COLUMN authz.access_trail.db_role IS 'The database role that logged in.';
COMMENT ON COLUMN authz.access_trail.context IS 'What was said of the request.';

CREATE VIEW authz.denied_attempt WITH (security_barrier) AS
    SELECT e.audit_id, e.occurred_at, e.tenant_id, e.principal_id, e.asked_by, e.action_code, e.resource_type, e.resource_id,
           e.policy_reason, e.request_id, e.source_ip, e.user_agent, e.support_session_id, e.db_role, e.context
    FROM authz.access_trail AS e WHERE e.access_result = 'denied';
COMMENT ON VIEW authz.denied_attempt IS 'Everything that was refused and recorded: to whom, what, why, in which request.';
COMMENT ON COLUMN authz.denied_attempt.audit_id IS 'Key of the access event.';
COMMENT ON COLUMN authz.denied_attempt.occurred_at IS 'When.';
COMMENT ON COLUMN authz.denied_attempt.tenant_id IS 'The resource''s tenant, or the one that was named; NULL: none.';
COMMENT ON COLUMN authz.denied_attempt.principal_id IS 'Who did it, or was refused.';
COMMENT ON COLUMN authz.denied_attempt.asked_by IS 'Whose session it was; if not principal_id''s own, somebody else has asked.';
COMMENT ON COLUMN authz.denied_attempt.action_code IS 'What was done or asked for.';
COMMENT ON COLUMN authz.denied_attempt.resource_type IS 'Type of the resource.';
COMMENT ON COLUMN authz.denied_attempt.resource_id IS 'Its key.';
COMMENT ON COLUMN authz.denied_attempt.policy_reason IS 'Why: the reason code.';
COMMENT ON COLUMN authz.denied_attempt.request_id IS 'The request that it was part of.';
COMMENT ON COLUMN authz.denied_attempt.source_ip IS 'Where the request came from.';
COMMENT ON COLUMN authz.denied_attempt.user_agent IS 'What it was made with.';
COMMENT ON COLUMN authz.denied_attempt.support_session_id IS 'The privileged session that was in force.';
COMMENT ON COLUMN authz.denied_attempt.db_role IS 'The database role that logged in.';
COMMENT ON COLUMN authz.denied_attempt.context IS 'What was said of the request.';

CREATE VIEW authz.change_trail WITH (security_barrier) AS
    SELECT e.event_id, e.occurred_at, e.tenant_id, e.actor_id, e.db_role, e.change_type, e.table_name, e.row_key,
           e.target_principal_id, e.scope_type, e.scope_id, e.reason, e.before_value, e.after_value
    FROM authz.access_change_event AS e
    WHERE (SELECT authz.reads_all_evidence())
       OR e.tenant_id IN (SELECT authz.audited_tenants())
       OR (e.tenant_id IS NULL AND (SELECT authz.audits_platform()));
COMMENT ON VIEW authz.change_trail IS
    'Every change of authority, for whoever audits the tenant: what was before, what came after, who made it, why and when.';
COMMENT ON COLUMN authz.change_trail.event_id IS 'Key of the change event.';
COMMENT ON COLUMN authz.change_trail.occurred_at IS 'When.';
COMMENT ON COLUMN authz.change_trail.tenant_id IS 'The tenant; NULL: the platform, or what belongs to no tenant, as roles.';
COMMENT ON COLUMN authz.change_trail.actor_id IS 'Whose session it was; NULL: nobody''s, db_role did it by hand.';
COMMENT ON COLUMN authz.change_trail.db_role IS 'The database role that logged in.';
COMMENT ON COLUMN authz.change_trail.change_type IS 'insert, update, close, delete, truncate or transfer.';
COMMENT ON COLUMN authz.change_trail.table_name IS 'The table.';
COMMENT ON COLUMN authz.change_trail.row_key IS 'The row in it.';
COMMENT ON COLUMN authz.change_trail.target_principal_id IS 'Whose authority it is about.';
COMMENT ON COLUMN authz.change_trail.scope_type IS 'Kind of the scope.';
COMMENT ON COLUMN authz.change_trail.scope_id IS 'The scope''s key.';
COMMENT ON COLUMN authz.change_trail.reason IS 'Why.';
COMMENT ON COLUMN authz.change_trail.before_value IS 'The row before; NULL: there was none.';
COMMENT ON COLUMN authz.change_trail.after_value IS 'The row after; NULL: there is none.';

CREATE VIEW authz.privileged_session_evidence WITH (security_barrier) AS
    SELECT s.session_id, s.session_kind, authz.access_state(s) AS state, s.principal_id, s.tenant_id, s.scope_type, s.scope_id,
           s.access_reason, s.ticket_reference, s.includes_sensitive, s.requested_at, s.approved_by, s.approved_at,
           s.rejected_by, s.rejected_at, s.started_at, s.expires_at, s.ended_at, s.ended_by, s.end_reason, s.reviewed_by,
           s.reviewed_at, s.review_note, u.allowed, u.denied, u.last_used_at,
           CASE WHEN s.started_at IS NULL THEN NULL
                WHEN s.session_kind = 'support' AND s.approved_by IS NULL THEN 'used without approval'
                WHEN s.reviewed_at IS NULL
                 AND (s.session_kind = 'break_glass' OR s.includes_sensitive)
                 AND s.active_until <= pg_catalog.statement_timestamp() THEN 'not reviewed'
           END AS finding
    FROM authz.privileged_access_session AS s
    CROSS JOIN LATERAL (
        SELECT pg_catalog.count(*) FILTER (WHERE e.access_result = 'allowed') AS allowed,
               pg_catalog.count(*) FILTER (WHERE e.access_result = 'denied') AS denied,
               pg_catalog.max(e.occurred_at) AS last_used_at
        FROM authz.access_audit_event AS e
        WHERE e.principal_id = s.principal_id AND e.support_session_id = s.session_id AND e.occurred_at >= s.requested_at
    ) AS u
    WHERE (SELECT authz.reads_all_evidence())
       OR s.tenant_id IN (SELECT authz.audited_tenants())
       OR (s.tenant_id IS NULL AND (SELECT authz.audits_platform()));
COMMENT ON VIEW authz.privileged_session_evidence IS
    'Every privileged session that was ever asked for: who, why, approved and reviewed by whom, how long, and how much was done under it.';
COMMENT ON COLUMN authz.privileged_session_evidence.session_id IS 'Key of the session.';
COMMENT ON COLUMN authz.privileged_session_evidence.session_kind IS 'support or break_glass.';
COMMENT ON COLUMN authz.privileged_session_evidence.state IS
    'requested, approved, rejected, withdrawn, running, ended or expired.';
COMMENT ON COLUMN authz.privileged_session_evidence.principal_id IS 'Whose session.';
COMMENT ON COLUMN authz.privileged_session_evidence.tenant_id IS 'The tenant; NULL: the platform.';
COMMENT ON COLUMN authz.privileged_session_evidence.scope_type IS 'Kind of its scope; NULL: the tenant, or the platform.';
COMMENT ON COLUMN authz.privileged_session_evidence.scope_id IS 'The scope''s key.';
COMMENT ON COLUMN authz.privileged_session_evidence.access_reason IS 'What for.';
COMMENT ON COLUMN authz.privileged_session_evidence.ticket_reference IS 'The ticket.';
COMMENT ON COLUMN authz.privileged_session_evidence.includes_sensitive IS 'It was asked for restricted and sealed resources, too.';
COMMENT ON COLUMN authz.privileged_session_evidence.requested_at IS 'When it was asked for.';
COMMENT ON COLUMN authz.privileged_session_evidence.approved_by IS 'Who approved it; NULL: nobody.';
COMMENT ON COLUMN authz.privileged_session_evidence.approved_at IS 'When.';
COMMENT ON COLUMN authz.privileged_session_evidence.rejected_by IS 'Who rejected it.';
COMMENT ON COLUMN authz.privileged_session_evidence.rejected_at IS 'When.';
COMMENT ON COLUMN authz.privileged_session_evidence.started_at IS 'When it began; NULL: never.';
COMMENT ON COLUMN authz.privileged_session_evidence.expires_at IS 'When it runs out, or has.';
COMMENT ON COLUMN authz.privileged_session_evidence.ended_at IS 'When it was ended before that.';
COMMENT ON COLUMN authz.privileged_session_evidence.ended_by IS 'By whom.';
COMMENT ON COLUMN authz.privileged_session_evidence.end_reason IS 'Why.';
COMMENT ON COLUMN authz.privileged_session_evidence.reviewed_by IS 'Who reviewed it; NULL: nobody yet.';
COMMENT ON COLUMN authz.privileged_session_evidence.reviewed_at IS 'When.';
COMMENT ON COLUMN authz.privileged_session_evidence.review_note IS 'With what result.';
COMMENT ON COLUMN authz.privileged_session_evidence.allowed IS 'How many accesses under it left an event.';
COMMENT ON COLUMN authz.privileged_session_evidence.denied IS 'How many were refused under it.';
COMMENT ON COLUMN authz.privileged_session_evidence.last_used_at IS 'The last of both.';
COMMENT ON COLUMN authz.privileged_session_evidence.finding IS
    'used without approval (a support session that was begun by plain SQL), or not reviewed (break-glass, or with sensitive data, and over); NULL: neither.';

CREATE VIEW authz.privileged_session_awaiting_review WITH (security_barrier) AS
    SELECT s.session_id, s.session_kind, s.principal_id, s.tenant_id, s.scope_type, s.scope_id, s.access_reason,
           s.ticket_reference, s.includes_sensitive, s.approved_by, s.started_at,
           least(s.expires_at, s.ended_at) AS until, authz.access_state(s) AS state
    FROM authz.privileged_access_session AS s
    WHERE s.started_at IS NOT NULL AND s.reviewed_at IS NULL
      AND ((SELECT authz.reads_all_evidence())
           OR s.tenant_id IN (SELECT authz.audited_tenants())
           OR (s.tenant_id IS NULL AND (SELECT authz.audits_platform())))
    ORDER BY s.started_at;
COMMENT ON VIEW authz.privileged_session_awaiting_review IS
    'Privileged sessions that were used, or are in use, and that nobody has reviewed, the oldest first.';
COMMENT ON COLUMN authz.privileged_session_awaiting_review.session_id IS 'The session.';
COMMENT ON COLUMN authz.privileged_session_awaiting_review.session_kind IS 'support or break_glass.';
COMMENT ON COLUMN authz.privileged_session_awaiting_review.principal_id IS 'Who has or had the access.';
COMMENT ON COLUMN authz.privileged_session_awaiting_review.tenant_id IS 'The tenant; NULL: the whole platform.';
COMMENT ON COLUMN authz.privileged_session_awaiting_review.scope_type IS 'The scope inside of it; NULL: all of it.';
COMMENT ON COLUMN authz.privileged_session_awaiting_review.scope_id IS 'The scope''s key.';
COMMENT ON COLUMN authz.privileged_session_awaiting_review.access_reason IS 'What for.';
COMMENT ON COLUMN authz.privileged_session_awaiting_review.ticket_reference IS 'The ticket.';
COMMENT ON COLUMN authz.privileged_session_awaiting_review.includes_sensitive IS 'Was sensitive data asked for?';
COMMENT ON COLUMN authz.privileged_session_awaiting_review.approved_by IS 'Who approved it; NULL: nobody.';
COMMENT ON COLUMN authz.privileged_session_awaiting_review.started_at IS 'Its start.';
COMMENT ON COLUMN authz.privileged_session_awaiting_review.until IS 'Its end, or expiry.';
COMMENT ON COLUMN authz.privileged_session_awaiting_review.state IS 'running, ended or expired.';

CREATE VIEW authz.workload WITH (security_barrier) AS
    SELECT m.tenant_id, m.principal_id, o.operator_role, o.clearance_level, o.alert_quota,
           coalesce(w.open_items, 0) AS open_items, w.oldest_open, coalesce(w.released_30_days, 0) AS released_30_days,
           w.median_time,
           CASE WHEN (SELECT authz.reads_all_evidence()) OR (SELECT authz.audits_platform())
                THEN coalesce(l.open_items, 0) END AS open_items_everywhere
    FROM authz.operator_profile AS o
    JOIN (
        SELECT x.tenant_id, x.principal_id FROM authz.tenant_membership AS x
        WHERE x.status = 'active'
          AND x.active_from <= pg_catalog.statement_timestamp() AND x.active_until > pg_catalog.statement_timestamp()
        UNION
        SELECT a.tenant_id, a.principal_id FROM authz.work_assignment AS a WHERE a.released_at IS NULL
    ) AS m ON m.principal_id = o.principal_id
    LEFT JOIN (
        SELECT a.tenant_id, a.principal_id, pg_catalog.count(*) FILTER (WHERE a.released_at IS NULL) AS open_items,
               pg_catalog.min(a.assigned_at) FILTER (WHERE a.released_at IS NULL) AS oldest_open,
               pg_catalog.count(*) FILTER (WHERE a.released_at > pg_catalog.statement_timestamp() - interval '720 hours')
                   AS released_30_days,
               pg_catalog.percentile_cont(0.5) WITHIN GROUP (ORDER BY a.released_at - a.assigned_at)
                   FILTER (WHERE a.released_at > pg_catalog.statement_timestamp() - interval '720 hours') AS median_time
        FROM authz.work_assignment AS a GROUP BY a.tenant_id, a.principal_id
    ) AS w ON w.tenant_id = m.tenant_id AND w.principal_id = m.principal_id
    LEFT JOIN authz.work_load AS l ON l.principal_id = o.principal_id
    WHERE (SELECT authz.reads_all_evidence())
       OR m.tenant_id IN (SELECT authz.audited_tenants());
COMMENT ON VIEW authz.workload IS
    'Operators of each tenant with what they have open there, since when, and what they have finished in 30 days. One with open work whose membership has ended is told as well.';
COMMENT ON COLUMN authz.workload.tenant_id IS 'The client.';
COMMENT ON COLUMN authz.workload.principal_id IS 'The operator.';
COMMENT ON COLUMN authz.workload.operator_role IS 'Classification of the operator.';
COMMENT ON COLUMN authz.workload.clearance_level IS 'L1, L2 or L3.';
COMMENT ON COLUMN authz.workload.alert_quota IS 'How many pieces of work the operator may have at once, over all tenants.';
COMMENT ON COLUMN authz.workload.open_items IS 'Open work in this tenant.';
COMMENT ON COLUMN authz.workload.oldest_open IS 'Since when the oldest of it is open.';
COMMENT ON COLUMN authz.workload.released_30_days IS 'Work of this tenant that was finished or given back in the last 30 days.';
COMMENT ON COLUMN authz.workload.median_time IS 'How long half of that took at most.';
COMMENT ON COLUMN authz.workload.open_items_everywhere IS
    'Open work in all tenants; NULL for a reader who may not know of the others.';

CREATE VIEW authz.export_evidence WITH (security_barrier) AS
    SELECT j.export_id, j.tenant_id, j.export_type, j.scope_type, j.scope_id, j.requested_by, j.requested_at, j.request_reason,
           j.includes_sensitive_data, j.approved_by, j.approved_at, j.status, j.columns, j.filters, j.row_count, j.byte_count,
           j.content_sha256, j.completed_at, j.expires_at, j.ended_at, j.ended_by, j.end_reason,
           u.downloads, u.last_download_at, u.denied,
           CASE WHEN j.includes_sensitive_data AND j.approved_by IS NULL AND j.completed_at IS NOT NULL
                THEN 'sensitive, and written without approval' END AS finding
    FROM authz.data_export_job AS j
    CROSS JOIN LATERAL (
        SELECT pg_catalog.count(*) FILTER (WHERE e.action_code = 'export.download' AND e.access_result = 'allowed') AS downloads,
               pg_catalog.max(e.occurred_at) FILTER (WHERE e.action_code = 'export.download' AND e.access_result = 'allowed')
                   AS last_download_at,
               pg_catalog.count(*) FILTER (WHERE e.access_result = 'denied') AS denied
        FROM authz.access_audit_event AS e
        WHERE e.resource_type = 'data_export_job' AND e.resource_id = j.export_id::pg_catalog.text
          AND e.occurred_at >= j.requested_at
    ) AS u
    WHERE (SELECT authz.reads_all_evidence())
       OR j.tenant_id IN (SELECT authz.audited_tenants())
       OR (j.tenant_id IS NULL AND (SELECT authz.audits_platform()));
COMMENT ON VIEW authz.export_evidence IS
    'Every export that was ever asked for: who, what, why, approved by whom, how much was written, and how often it was downloaded or refused.';
COMMENT ON COLUMN authz.export_evidence.export_id IS 'Key of the job.';
COMMENT ON COLUMN authz.export_evidence.tenant_id IS 'The tenant; NULL: of all tenants.';
COMMENT ON COLUMN authz.export_evidence.export_type IS 'The definition.';
COMMENT ON COLUMN authz.export_evidence.scope_type IS 'Kind of its scope; NULL: the tenant, or the platform.';
COMMENT ON COLUMN authz.export_evidence.scope_id IS 'The scope''s key.';
COMMENT ON COLUMN authz.export_evidence.requested_by IS 'Who asked for it, and alone gets it.';
COMMENT ON COLUMN authz.export_evidence.requested_at IS 'When.';
COMMENT ON COLUMN authz.export_evidence.request_reason IS 'What for.';
COMMENT ON COLUMN authz.export_evidence.includes_sensitive_data IS 'Sensitive columns are in clear.';
COMMENT ON COLUMN authz.export_evidence.approved_by IS 'Who approved that; NULL: nobody.';
COMMENT ON COLUMN authz.export_evidence.approved_at IS 'When.';
COMMENT ON COLUMN authz.export_evidence.status IS 'pending, running, completed, failed or expired.';
COMMENT ON COLUMN authz.export_evidence.columns IS 'The columns that were asked for.';
COMMENT ON COLUMN authz.export_evidence.filters IS 'What the rows were narrowed by.';
COMMENT ON COLUMN authz.export_evidence.row_count IS 'How many rows were written.';
COMMENT ON COLUMN authz.export_evidence.byte_count IS 'How many bytes.';
COMMENT ON COLUMN authz.export_evidence.content_sha256 IS 'SHA-256 of the whole file.';
COMMENT ON COLUMN authz.export_evidence.completed_at IS 'When it was written.';
COMMENT ON COLUMN authz.export_evidence.expires_at IS 'Until when it can be run and downloaded.';
COMMENT ON COLUMN authz.export_evidence.ended_at IS 'When it was withdrawn, rejected or removed.';
COMMENT ON COLUMN authz.export_evidence.ended_by IS 'By whom.';
COMMENT ON COLUMN authz.export_evidence.end_reason IS 'Why.';
COMMENT ON COLUMN authz.export_evidence.downloads IS 'How many chunks were downloaded.';
COMMENT ON COLUMN authz.export_evidence.last_download_at IS 'When the last one was.';
COMMENT ON COLUMN authz.export_evidence.denied IS 'How often something was refused about it.';
COMMENT ON COLUMN authz.export_evidence.finding IS
    'sensitive, and written without approval: a row that was made by plain SQL; NULL: nothing.';
