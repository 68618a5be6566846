-- The whole story, in the reference domain (casework.sql), through the database roles and never as superuser, except where it says so.
-- Whatever is not as expected ends it with an error. Variables: owner (who owns the database).

\set ON_ERROR_STOP on
\set QUIET on
\pset footer off
\pset linestyle unicode
\pset border 1
SELECT demo.token('Sam') AS sams_token, demo.token('Rae', 'northgate') AS raes_token \gset

-- 1 to 6, before anything is lent or revoked -----------------------------------------------------------------------
\c - demo_app
SET client_min_messages = warning;
SELECT authz_set_session(demo.id('Ann'), is_local => false) AS s \gset
\c - demo_app
SELECT authz_set_session(demo.id('Dora'), NULL, '{"mfa": true, "request_id": "r-1"}', false) AS s \gset
SELECT assign_case(demo.id('northgate'), demo.id('Permit dispute'), demo.id('Ann'), demo.id('Dora'), 'her district') AS a,
       assign_case(demo.id('northgate'), demo.id('Permit dispute'), demo.id('Ben'), demo.id('Dora'), 'second eye', 'approver') AS b,
       assign_case(demo.id('northgate'), demo.id('Permit dispute'), demo.id('Ann'), demo.id('Dora'), 'stands in', 'approver') AS c \gset

SELECT authz_set_session(demo.id('Ann'), NULL, '{"mfa": true, "request_id": "r-2"}', false) AS s \gset
INSERT INTO demo.scenario VALUES
    (1, 'Ann of Northgate', 'runtime', 'reads a case of Northgate', 'allowed',
     demo.try($$SELECT FROM casework.case_record WHERE case_id = demo.id('Permit dispute')$$)),
    (2, 'Ann of Northgate', 'runtime', 'reads a case of Harbor', 'not found',
     demo.try($$SELECT FROM casework.case_record WHERE case_id = demo.id('Billing error')$$)),
    (4, 'Ann, who investigates it', 'runtime', 'downloads a document of the case', 'allowed',
     demo.try($$SELECT download_case_document(demo.id('northgate'), demo.id('letter'))$$)),
    (5, 'Ann, not cleared for it', 'runtime', 'downloads sealed evidence of it', 'denied',
     demo.try($$SELECT download_case_document(demo.id('northgate'), demo.id('evidence'))$$));
SELECT authz_set_session(demo.id('Tad'), is_local => false) AS s \gset
INSERT INTO demo.scenario VALUES
    (3, 'Tad, who administers Northgate', 'runtime', 'reads a restricted case of a team', 'not found',
     demo.try($$SELECT FROM casework.case_record WHERE case_id = demo.id('Procurement fraud')$$));
\c - demo_helpdesk
SELECT authz_set_session_token(:'sams_token', false) AS s \gset
INSERT INTO demo.scenario VALUES
    (6, 'Sam, without a support session', 'support_tool', 'reads a case', 'not found',
     demo.try($$SELECT case_number FROM casework.case_record WHERE case_id = demo.id('Permit dispute')$$));

-- A support session: asked for, approved by somebody else, begun.
SELECT authz_request_access('cannot open her case', tenant => demo.id('northgate'), ticket => 'T-7') AS session \gset
\c - demo_app
SELECT authz_set_session(demo.id('Rob'), is_local => false) AS s \gset
SELECT authz_approve_access(:'session', 'ticket is open') AS s \gset
\c - demo_helpdesk
SELECT authz_set_session_token(:'sams_token', false) AS s \gset
SELECT authz_start_privileged_session(:'session') AS s \gset
INSERT INTO demo.scenario VALUES
    (7, 'Sam, in a support session', 'support_tool', 'reads number and status of it', 'allowed',
     demo.try($$SELECT case_number, status FROM casework.case_record WHERE case_id = demo.id('Permit dispute')$$)),
    (8, 'Sam, in a support session', 'support_tool', 'reads the complainant', 'masked',
     (SELECT CASE WHEN complainant_name LIKE 'W*%' AND complainant_identifier IS NULL AND restricted_notes = '(hidden)' THEN 'masked' ELSE 'in clear' END
        FROM casework_views.sensitive_detail WHERE case_id = demo.id('Permit dispute')));
SELECT authz_require('case.view', demo.id('Permit dispute')) AS s \gset

\c - demo_jobs
SELECT authz_set_session(demo.id('Robot'), is_local => false) AS s \gset
SELECT demo.try($$UPDATE public.case_projection SET documents = documents + 1$$) AS by_worker \gset
\c - demo_app
SELECT authz_set_session(demo.id('Robot'), is_local => false) AS s \gset
INSERT INTO demo.scenario VALUES
    (11, 'the background job', 'worker', 'updates the projection, and runtime does not', 'allowed, denied',
     :'by_worker' || ', ' || demo.try($$UPDATE public.case_projection SET documents = 99$$));

-- An approval that succeeds, and one that four eyes refuse -----------------------------------------------------------
SELECT authz_set_session(demo.id('Ann'), NULL, '{"mfa": true, "request_id": "r-3"}', false) AS s \gset
INSERT INTO casework.case_decision (tenant_id, case_id, outcome) VALUES (demo.id('northgate'), demo.id('Permit dispute'), 'permit granted')
RETURNING decision_id AS decision \gset
SELECT submit_case_decision(demo.id('northgate'), :'decision', demo.id('Ann'), 'investigated') AS s \gset
SELECT demo.try(format('SELECT approve_case_decision(demo.id(''northgate''), %L, demo.id(''Ann''), ''it is mine'')', :'decision')) AS four_eyes,
       demo.try($$UPDATE casework.case_decision SET status = 'approved'$$) AS by_update \gset
SELECT authz_set_session(demo.id('Ben'), NULL, '{"mfa": false}', false) AS s \gset
SELECT demo.try(format('SELECT approve_case_decision(demo.id(''northgate''), %L, demo.id(''Ben''), ''checked'')', :'decision')) AS without_mfa \gset
SELECT authz_set_session(demo.id('Ben'), NULL, '{"mfa": true, "request_id": "r-4"}', false) AS s \gset
SELECT demo.try(format('SELECT approve_case_decision(demo.id(''northgate''), %L, demo.id(''Ben''), ''checked'')', :'decision')) AS approved,
       demo.try(format('SELECT approve_case_decision(demo.id(''northgate''), %L, demo.id(''Ben''), ''again'')', :'decision')) AS again \gset
\echo
\echo A decision
\echo ==========
SELECT * FROM (VALUES
    (1, 'Ann, who wrote and submitted it, approves', :'four_eyes'),
    (2, 'Ann sets the status by UPDATE', :'by_update'),
    (3, 'Ben approves without his second factor', :'without_mfa'),
    (4, 'Ben approves', :'approved'),
    (5, 'Ben approves once more', :'again')) AS v (" ", attempt, "what becomes of it") ORDER BY 1;
CALL demo.insist(left(:'four_eyes', 9), 'four eyes');
CALL demo.insist(concat_ws(', ', :'by_update', :'without_mfa', :'approved', left(:'again', 7)), 'denied, denied, allowed, refused');
SELECT authz_set_session(demo.id('Ben'), is_local => false) AS s \gset
SELECT from_status AS "from", to_status AS "to", reason FROM casework.case_decision_transition ORDER BY occurred_at;

-- What support sees -------------------------------------------------------------------------------------------------
\echo The same view: Ann, who works on the case, and Sam, in a support session
\echo ========================================================================
SELECT authz_set_session(demo.id('Ann'), is_local => false) AS s \gset
SELECT complainant_name, complainant_identifier, restricted_notes FROM casework_views.sensitive_detail;
\c - demo_helpdesk
SELECT authz_set_session_token(:'sams_token', false) AS s \gset
SELECT complainant_name, complainant_identifier, restricted_notes FROM casework_views.sensitive_detail ORDER BY 1 DESC;
SELECT authz_end_privileged_session(:'session', 'solved') AS s \gset
SELECT count(*) AS after_the_end FROM casework_views.sensitive_detail \gset
CALL demo.insist(:'after_the_end', '0');

-- A report, each reading of which leaves an event -------------------------------------------------------------------
\echo A report through the role analytics_export, for Rae of the records office, and what it left behind
\echo =================================================================================================
\c - demo_reports
SELECT authz_set_session_token(:'raes_token', false) AS s \gset
SELECT status, confidentiality_level, cases FROM casework_views.case_report ORDER BY 1, 2;
SELECT demo.try('SELECT title FROM casework.case_record') AS by_table \gset
CALL demo.insist(:'by_table', 'denied');
\c - demo_app
SELECT authz_set_session(demo.id('Ada'), is_local => false) AS s \gset
SELECT 'Rae' AS who, action_code, resource_id AS surface, context ->> 'rows' AS rows, db_role
FROM authz.access_trail WHERE principal_id = demo.id('Rae') AND action_code = 'audited_view.read';
SELECT count(*) AS reads FROM authz.access_trail WHERE principal_id = demo.id('Rae') AND action_code = 'audited_view.read' \gset
CALL demo.insist(:'reads', '1');

-- An export: asked for, approved by somebody else, run, downloaded ----------------------------------------------------
\echo An export of sensitive details
\echo ==============================
\c - demo_reports
SELECT authz_set_session_token(:'raes_token', false) AS s \gset
SELECT authz_request_export('case_details', 'for the court', demo.id('northgate'), unmasked => true) AS job,
       authz_request_export('case_details', 'to count them', demo.id('northgate')) AS masked_job \gset
SELECT demo.try(format('SELECT authz_run_export(%L)', :'job')) AS unapproved,
       demo.try(format('SELECT authz_approve_export(%L)', :'job')) AS by_herself \gset
INSERT INTO demo.scenario VALUES
    (12, 'Rae of the records office', 'analytics_export', 'runs a sensitive export that nobody approved', 'denied',
     CASE WHEN :'unapproved' LIKE 'refused: %is not approved' THEN 'denied' ELSE :'unapproved' END);
SELECT authz_run_export(:'masked_job') AS masked_rows \gset
\echo What needs no approval is masked:
SELECT convert_from(content, 'UTF8') AS "file" FROM authz_download_export(:'masked_job');
\c - demo_app
SELECT authz_set_session(demo.id('Rob'), is_local => false) AS s \gset
SELECT authz_approve_export(:'job', 'has seen the order') AS s,
       demo.try(format('SELECT * FROM authz_download_export(%L)', :'masked_job')) AS by_approver \gset
\c - demo_reports
SELECT authz_set_session_token(:'raes_token', false) AS s \gset
SELECT authz_run_export(:'job') AS rows \gset
\echo After Rob has approved it:
SELECT convert_from(content, 'UTF8') AS "file" FROM authz_download_export(:'job');
CALL demo.insist(concat_ws(', ', :'by_herself', :'by_approver', :'rows'), 'denied, denied, 2');
SELECT count(*) AS clear FROM authz_download_export(:'job') WHERE convert_from(content, 'UTF8') LIKE '%ID-4711%' \gset
SELECT count(*) AS leaked FROM authz_download_export(:'masked_job') WHERE convert_from(content, 'UTF8') LIKE '%ID-4711%' \gset
CALL demo.insist(:'clear' || ' clear, ' || :'leaked' || ' leaked', '1 clear, 0 leaked');
\c - demo_app
SELECT authz_set_session(demo.id('Ada'), is_local => false) AS s \gset
SELECT export_type, request_reason, includes_sensitive_data AS sensitive, approved_by = demo.id('Rob') AS "by Rob", status, row_count AS rows, downloads
FROM authz.export_evidence ORDER BY requested_at, request_reason;

-- Somebody leaves ---------------------------------------------------------------------------------------------------
\c - :owner
SET client_min_messages = warning;
UPDATE authz.tenant_membership SET status = 'revoked' WHERE principal_id = demo.id('Ann');
\c - demo_app
SELECT authz_set_session(demo.id('Ann'), is_local => false) AS s \gset
INSERT INTO demo.scenario VALUES
    (9, 'Ann, whose membership was revoked', 'runtime', 'reads her case, downloads from it', 'not found, denied',
     demo.try($$SELECT FROM casework.case_record WHERE case_id = demo.id('Permit dispute')$$) || ', '
     || demo.try($$SELECT download_case_document(demo.id('northgate'), demo.id('letter'))$$));
SELECT authz_set_session(demo.id('Ada'), is_local => false) AS s \gset
INSERT INTO demo.scenario VALUES
    (10, 'Ada, who audits Northgate', 'runtime', 'still sees what Ann did', 'allowed',
     demo.try($$SELECT FROM authz.access_trail WHERE principal_id = demo.id('Ann') AND action_code = 'decision.submit'$$));

\echo
\echo The policy matrix
\echo =================
SELECT nr, who, as_role AS "through role", what, expected, found, CASE found WHEN expected THEN 'ok' ELSE 'NOT AS EXPECTED' END AS " "
FROM demo.scenario ORDER BY nr;
SELECT count(*) AS scenarios, count(*) FILTER (WHERE found IS DISTINCT FROM expected) AS wrong FROM demo.scenario \gset
CALL demo.insist(:'scenarios' || ' scenarios, ' || :'wrong' || ' wrong', '12 scenarios, 0 wrong');

-- The trail ---------------------------------------------------------------------------------------------------------
\echo The trail, as Ada sees it: what was refused, although each refusal was rolled back
\echo ==================================================================================
-- Background workers write them down, at once but not before the refusal is back.
DO $$
BEGIN
    FOR attempt IN 1 .. 100 LOOP
        EXIT WHEN (SELECT count(*) FROM authz.denied_attempt) >= 7;
        PERFORM pg_sleep(0.1);
    END LOOP;
END
$$;
SELECT p.who, d.action_code AS refused, d.policy_reason AS why, count(*) AS times
FROM authz.denied_attempt AS d
JOIN (SELECT n AS who, demo.id(n) AS id FROM unnest('{Ann,Ben,Rae,Rob}'::text[]) AS n) AS p ON p.id = d.principal_id
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
SELECT count(*) >= 7 AS enough FROM authz.denied_attempt \gset
CALL demo.insist(:'enough', 't');
SELECT session_kind AS privileged, access_reason AS reason, ticket_reference AS ticket, state, allowed, denied FROM authz.privileged_session_evidence;
\c - :owner
\echo Sealed and verified, by the owner of the database, who cannot change it either
\echo ===============================================================================
SELECT demo.try('DELETE FROM authz.access_audit_event') AS "the owner deletes an event";
SELECT demo.try('DELETE FROM authz.access_audit_event') AS by_owner \gset
CALL demo.insist(left(:'by_owner', 7), 'refused');
SELECT seals, events AS "events sealed" FROM authz_audit_seal();
SELECT valid, events AS "events verified", problem FROM authz_audit_verify();
SELECT valid AS whole FROM authz_audit_verify() \gset
CALL demo.insist(:'whole', 't');
