-- What the sample organisation (organization.sql) gives whom: decisions with their reasons.

\pset footer off
\pset linestyle unicode
\pset border 1
\set QUIET on
SET TIME ZONE 'UTC';

\echo
\echo Decisions
\echo =========
WITH question (nr, who, permission, what, context, point) AS (VALUES
    (1, 'Alice', 'case.view', 'Whistleblower', '{}', 'a director reads sealed cases'),
    (2, 'Alice', 'case.approve', 'Permit dispute', '{}', 'approval asks for a second factor ...'),
    (3, 'Alice', 'case.approve', 'Permit dispute', '{"mfa": true}', '... which was used here'),
    (4, 'Alice', 'case.view', 'Withdrawn claim', '{}', 'she may see deleted cases'),
    (5, 'Bob', 'case.edit', 'Permit dispute', '{}', 'caseworker of the organization'),
    (6, 'Bob', 'case.view', 'Procurement fraud', '{}', 'Fraud is a part of it, but the case is restricted'),
    (7, 'Bob', 'case.view', 'Withdrawn claim', '{}', 'deleted'),
    (8, 'Bob', 'case.view', 'Noise complaint', '{}', 'Field is in Investigations, Field East is in Field'),
    (9, 'Bob', 'case.view', 'Whistleblower', '{}', 'another organization'),
    (10, 'Carol', 'case.comment', 'Noise complaint', '{}', 'shared with the team above hers'),
    (11, 'Carol', 'case.edit', 'Noise complaint', '{}', 'comment does not imply edit'),
    (12, 'Dave', 'case.view', 'Permit dispute', '{}', 'membership suspended'),
    (13, 'Erin', 'case.comment', 'Permit dispute', '{}', 'external reviewer of this case'),
    (14, 'Erin', 'case.view', 'Noise complaint', '{}', 'and of no other'),
    (15, 'Frank', 'case.view', 'Permit dispute', '{}', 'support session for a ticket'),
    (16, 'Frank', 'case.edit', 'Permit dispute', '{}', 'a support session only reads'),
    (17, 'Frank', 'case.view', 'Procurement fraud', '{}', 'and nothing confidential'),
    (18, 'Grace', 'case.edit', 'Noise complaint', '{}', 'caseworker in the whole tenant'),
    (19, 'Grace', 'case.view', 'Permit dispute', '{}', 'a deny beats every role'),
    (20, 'Heidi', 'case.edit', 'Billing error', '{}', 'lead in her tenant'),
    (21, 'Heidi', 'case.view', 'Permit dispute', '{}', 'nothing in another'),
    (22, 'Ivan', 'case.view', 'Permit dispute', '{}', 'the identity is suspended'),
    (23, 'Olga', 'case.view', 'Billing error', '{"purpose": "audit"}', 'platform role with a condition ...'),
    (24, 'Olga', 'case.view', 'Billing error', '{}', '... that is not met'),
    (25, 'Oscar', 'case.edit', 'Permit dispute', '{}', 'his own case'),
    (26, 'Oscar', 'case.approve', 'Permit dispute', '{"mfa": true}', 'an owner may do what the owner role says')
), answer AS (
    SELECT q.*, c.tenant_id, c.case_id, authz_explain(demo.id(q.who), q.permission, c.case_id, c.tenant_id, q.context::jsonb) AS why,
           authz_can(demo.id(q.who), q.permission, c.case_id, c.tenant_id, q.context::jsonb) AS allowed
    FROM question AS q JOIN public.case_record AS c ON c.title = q.what
)
SELECT who, permission, what, CASE WHEN allowed THEN 'yes' ELSE '-' END AS allowed, why ->> 'reason' AS reason,
       demo.because(why) AS "decided by", point AS "what it shows"
FROM answer
ORDER BY nr;

\echo Why may Grace not see the permit dispute, although she is a caseworker of the whole tenant? (authz_explain_text)
\echo
\pset tuples_only on
SELECT authz_explain_text(demo.id('Grace'), 'case.view', demo.id('Permit dispute'), demo.id('northgate'));
\pset tuples_only off

\echo What may Bob do with the permit dispute? (authz_permissions)
SELECT permission, obligations
FROM authz_permissions(demo.id('Bob'), demo.id('Permit dispute'), 'case', demo.id('northgate'))
ORDER BY permission;

\echo A revocation takes effect with the next check, here and in every other connection:
SELECT authz_can(demo.id('Bob'), 'case.edit', demo.id('Permit dispute')) AS "Bob may edit";
\echo UPDATE authz.principal_role_assignment SET revoked_at = now() ... (his role caseworker)
\echo
UPDATE authz.principal_role_assignment SET revoked_at = now(), reason = 'moved to another department'
WHERE principal_id = demo.id('Bob') AND role_code = 'caseworker' AND revoked_at IS NULL;
SELECT authz_can(demo.id('Bob'), 'case.edit', demo.id('Permit dispute')) AS "Bob may edit",
       authz_explain(demo.id('Bob'), 'case.edit', demo.id('Permit dispute')) ->> 'reason' AS reason;
