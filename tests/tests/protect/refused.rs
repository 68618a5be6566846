//! What cannot be protected changes nothing (R21).

use crate::made::steps;
use crate::{INVOICE, invoices, state};
use authz_tests::make::id;
use authz_tests::{Db, Start, execute, refused, refused_with_hint, report, value};
use postgres::Client;

/// A call that must be refused with a reason and a hint, and change nothing.
#[track_caller]
pub fn is_refused(c: &mut Client, call: &str, sqlstate: &str, words: &[&str]) {
    let before = state(c);
    refused_with_hint(c, &format!("SELECT * FROM {call}"), sqlstate, words);
    assert_eq!(state(c), before, "{call}");
}

#[test]
fn permissions_that_are_named() {
    let db = Db::with(Start::Extension);
    let mut c = invoices(&db);
    steps(
        &mut c,
        &INVOICE.replace(
            "'gone')",
            "'gone', select_permission => 'invoice.update', delete_permission => 'invoice.create')",
        ),
    );
    let policies = state(&mut c);
    assert!(
        policies.contains("authz_select r authz_row('invoice.update'"),
        "{policies}"
    );
    assert!(
        policies.contains("authz_delete d authz_row('invoice.create'"),
        "{policies}"
    );
    // A type without a permission for a command: denied, and said so.
    execute(
        &mut c,
        "CREATE TABLE public.bill (t uuid NOT NULL, k uuid NOT NULL, PRIMARY KEY (t, k))",
    );
    let told = steps(&mut c, "authz_protect('public.bill', 'bill', 'k', 't')");
    assert_eq!(
        told.iter()
            .filter(|(s, d)| s == "policy" && d.contains("denied"))
            .count(),
        3,
        "{told:?}"
    );
}

#[test]
fn what_cannot_be_protected() {
    let db = Db::with(Start::Extension);
    let mut c = invoices(&db);
    execute(
        &mut c,
        "CREATE VIEW public.a_view AS SELECT * FROM public.invoice;
         CREATE MATERIALIZED VIEW public.a_matview AS SELECT * FROM public.invoice;
         CREATE SEQUENCE public.a_sequence;
         CREATE TYPE public.a_type AS (tenant_id uuid, invoice_id bigint);
         CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
         CREATE FOREIGN TABLE public.a_foreign_table (tenant_id uuid, invoice_id bigint) SERVER nowhere;
         CREATE TABLE public.parted (tenant_id uuid, invoice_id bigint) PARTITION BY HASH (tenant_id);
         CREATE TABLE public.a_partition PARTITION OF public.parted FOR VALUES WITH (MODULUS 1, REMAINDER 0);
         CREATE TEMP TABLE a_temporary_table (tenant_id uuid, invoice_id bigint);
         CREATE INDEX an_index ON public.invoice (amount)",
    );
    for target in [
        "public.a_view",
        "public.a_matview",
        "public.a_sequence",
        "public.a_type",
        "public.a_foreign_table",
        "public.a_partition",
        "a_temporary_table",
        "public.an_index",
        "pg_catalog.pg_class",
        "information_schema.sql_features",
        "authz.tenant",
        "authz.resource_type",
    ] {
        is_refused(
            &mut c,
            &format!("authz_protect('{target}', 'invoice', 'invoice_id', 'tenant_id')"),
            "42809",
            &[target.rsplit('.').next().unwrap()],
        );
    }
}

#[test]
fn arguments_that_are_wrong() {
    let db = Db::with(Start::Extension);
    let mut c = invoices(&db);
    for (call, sqlstate, words) in [
        (
            "authz_protect(NULL, 'invoice', 'invoice_id', 'tenant_id')",
            "22023",
            vec![],
        ),
        (
            "authz_protect('public.invoice', NULL, 'invoice_id', 'tenant_id')",
            "22023",
            vec![],
        ),
        (
            "authz_protect('public.invoice', 'invoice', NULL, 'tenant_id')",
            "22023",
            vec![],
        ),
        (
            "authz_protect('public.invoice', 'invoice', 'invoice_id', NULL)",
            "22023",
            vec![],
        ),
        (
            "authz_protect('public.invoice', 'invoice', 'no_such', 'tenant_id')",
            "42703",
            vec!["no_such"],
        ),
        (
            "authz_protect('public.invoice', 'invoice', 'invoice_id', 'no_such')",
            "42703",
            vec!["no_such"],
        ),
        (
            "authz_protect('public.invoice', 'invoice', 'invoice_id', 'tenant_id', team => 'no_such')",
            "42703",
            vec!["no_such"],
        ),
        (
            "authz_protect('public.invoice', 'invoice', 'ctid', 'tenant_id')",
            "42703",
            vec!["ctid"],
        ),
        (
            "authz_protect('public.invoice', 'invoice', 'amount', 'tenant_id')",
            "42804",
            vec!["amount", "numeric"],
        ),
        (
            "authz_protect('public.invoice', 'invoice', 'invoice_id', 'amount')",
            "42804",
            vec!["amount"],
        ),
        (
            "authz_protect('public.invoice', 'invoice', 'invoice_id', 'tenant_id', confidentiality => 'amount')",
            "42804",
            vec!["amount"],
        ),
        (
            "authz_protect('public.invoice', 'invoice', 'invoice_id', 'tenant_id', team => 'invoice_id')",
            "42804",
            vec!["invoice_id"],
        ),
        (
            "authz_protect('public.invoice', 'invoice', 'invoice_id', 'tenant_id', select_permission => 'invoice.veiw')",
            "42704",
            vec!["invoice.veiw"],
        ),
        (
            "authz_protect('public.invoice', 'invoice', 'invoice_id', 'tenant_id', update_permission => 'bill.view')",
            "42704",
            vec!["bill.view", "invoice"],
        ),
    ] {
        is_refused(&mut c, call, sqlstate, &words);
    }
    // A parent's type without its column, or the other way round.
    for half in ["parent => 'invoice_id'", "parent_type => 'bill'"] {
        let before = state(&mut c);
        let call =
            format!("SELECT * FROM authz_protect('public.invoice', 'invoice', 'invoice_id', 'tenant_id', {half})");
        let error = c.batch_execute(&call).expect_err(&call);
        let code = error.code().map(|code| code.code().to_owned());
        assert!(matches!(code.as_deref(), Some("23514" | "22023")), "{}", report(&error));
        assert_eq!(state(&mut c), before, "{half}");
    }
}

#[test]
fn tables_of_others_types_of_others_and_policies_made_by_hand() {
    let db = Db::with(Start::Extension);
    let mut c = invoices(&db);
    execute(
        &mut c,
        "CREATE TABLE public.bill (tenant_id uuid NOT NULL, bill_id bigint NOT NULL)",
    );
    steps(&mut c, INVOICE);
    is_refused(
        &mut c,
        "authz_protect('public.bill', 'invoice', 'bill_id', 'tenant_id')",
        "55000",
        &["invoice", "authz_unprotect"],
    );
    is_refused(
        &mut c,
        "authz_protect('public.invoice', 'bill', 'invoice_id', 'tenant_id')",
        "55000",
        &["invoice", "authz_unprotect"],
    );
    execute(
        &mut c,
        "CREATE POLICY authz_update ON public.bill FOR UPDATE USING (false)",
    );
    is_refused(
        &mut c,
        "authz_protect('public.bill', 'bill', 'bill_id', 'tenant_id')",
        "42710",
        &["authz_update", "bill"],
    );
    execute(&mut c, "DROP POLICY authz_update ON public.bill");

    // Somebody who may call it, but does not own the table.
    let role = db.role();
    execute(
        &mut c,
        &format!(
            "GRANT EXECUTE ON FUNCTION authz_protect TO {role}; GRANT EXECUTE ON FUNCTION authz_unprotect TO {role};
             GRANT ALL ON public.bill, public.invoice TO {role}; GRANT USAGE ON SCHEMA authz TO {role};
             GRANT SELECT, INSERT, UPDATE, DELETE ON authz.resource_type TO {role}"
        ),
    );
    let before = state(&mut c);
    let mut other = db.connect_as(&role);
    refused_with_hint(
        &mut other,
        "SELECT * FROM authz_protect('public.bill', 'bill', 'bill_id', 'tenant_id')",
        "42501",
        &["bill", "owner"],
    );
    refused(&mut other, "SELECT authz_unprotect('public.invoice')", "42501", &[]);
    assert_eq!(state(&mut c), before);
    // Somebody who may not even call it.
    let role = db.role();
    let mut stranger = db.connect_as(&role);
    for call in [
        "authz_protect('public.bill', 'bill', 'bill_id', 'tenant_id')",
        "authz_unprotect('public.invoice')",
    ] {
        refused(&mut stranger, &format!("SELECT {call}"), "42501", &[]);
    }
    assert_eq!(state(&mut c), before);
}

#[test]
fn an_overload_that_somebody_else_made_is_not_called() {
    for (key, signature) in [
        (
            "integer",
            "permission text, key integer, tenant uuid, organization uuid DEFAULT NULL, team uuid DEFAULT NULL, project uuid DEFAULT NULL,
             owner uuid DEFAULT NULL, confidentiality text DEFAULT NULL, deleted boolean DEFAULT false, parent text DEFAULT NULL",
        ),
        (
            "varchar(20)",
            "permission text, key varchar, tenant uuid, organization uuid DEFAULT NULL, team uuid DEFAULT NULL, project uuid DEFAULT NULL,
             owner uuid DEFAULT NULL, confidentiality text DEFAULT NULL, deleted boolean DEFAULT false, parent text DEFAULT NULL",
        ),
    ] {
        let db = Db::with(Start::Extension);
        let mut c = db.connect();
        execute(
            &mut c,
            &format!(
                "CREATE TABLE public.bill (t uuid NOT NULL, k {key} NOT NULL, PRIMARY KEY (t, k));
                 INSERT INTO public.bill VALUES ('{}', '1');
                 INSERT INTO authz.permission_definition (permission_code, resource_type, action_code) VALUES ('bill.view', 'bill', 'view');
                 CREATE FUNCTION public.authz_row({signature}) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
                id("acme")
            ),
        );
        let before = state(&mut c);
        let protected = c.batch_execute("SELECT * FROM authz_protect('public.bill', 'bill', 'k', 't')");
        if let Err(e) = protected {
            assert_eq!(e.code().map(|code| code.code()), Some("42501"), "{key}: {}", report(&e));
            assert_eq!(state(&mut c), before, "{key}");
        } else {
            let role = db.role();
            execute(&mut c, &format!("GRANT SELECT ON public.bill TO {role}"));
            let mut app = db.connect_as(&role);
            assert_eq!(value::<i64>(&mut app, "SELECT count(*) FROM public.bill", &[]), 0, "{key}");
        }
    }
}
