//! Ownership is transferred, with its past (R17).

use authz_tests::make::{self, can, id};
use authz_tests::office::{Office, done, refused_and_recorded};
use authz_tests::{execute, value};

/// The owner's column is written past the table's policies and as the table's owner, who learns nothing by it.
#[test]
fn ownership_is_transferred() {
    let office = Office::open();
    let mut owner = office.owner();
    let table_owner = office.db.role();
    execute(
        &mut owner,
        &format!(
            "UPDATE authz.resource_type SET owner_role = 'editor' WHERE resource_type = 'case';
             ALTER TABLE case_record OWNER TO {table_owner};
             GRANT CREATE ON SCHEMA public TO {table_owner};
             ALTER TABLE case_record ENABLE ROW LEVEL SECURITY;
             ALTER TABLE case_record FORCE ROW LEVEL SECURITY"
        ),
    );
    // A trigger of the table's owner does not run as the owner of the extension.
    execute(
        &mut office.db.connect_as(&table_owner),
        "CREATE TABLE public.ran_as (who name);
         CREATE FUNCTION public.spy() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO public.ran_as VALUES (current_user); RETURN NEW; END $$;
         CREATE TRIGGER spy BEFORE UPDATE ON public.case_record FOR EACH ROW EXECUTE FUNCTION public.spy()",
    );
    let mut tina = office.as_("tina");
    done(
        &mut tina,
        "authz_transfer_ownership('case', '{affair}', '{alice}', '{acme}', 'she knows it')",
    );
    let who: String = value(&mut owner, "SELECT DISTINCT who::text FROM public.ran_as", &[]);
    // Nor would the view that the table may have become while somebody waited.
    let reader: String = value(
        &mut owner,
        &format!(
            "SELECT authz.lock_owner('{table_owner}'::regrole, 'SELECT current_user::text WHERE $1 <> $2::text', 'key', gen_random_uuid())"
        ),
        &[],
    );
    assert_eq!(reader, table_owner);
    assert_eq!(who, table_owner);
    assert!(can(&mut owner, id("alice"), "case.edit", id("affair")), "by ownership");
    refused_and_recorded(
        &mut tina,
        "authz_transfer_ownership('case', '{affair}', '{alice}', '{acme}', 'again')",
        "55000",
        &["already"],
    );
    done(
        &mut tina,
        "authz_transfer_ownership('case', '{affair}', '{north}', '{acme}', 'to the team')",
    );
    assert!(!can(&mut owner, id("alice"), "case.edit", id("affair")));
    // What the owner's role has must be held by whoever gives the resource away.
    make::role(&mut owner, "keeper", &["ownership.transfer"]);
    make::assign(&mut owner, id("acme"), id("bob"), "keeper", "tenant", id("acme"));
    refused_and_recorded(
        &mut office.as_("bob"),
        "authz_transfer_ownership('case', '{affair}', '{alice}', '{acme}', 'r')",
        "42501",
        &["case.edit"],
    );
    let events = owner
        .query(
            "SELECT before_value ->> 'owner', after_value ->> 'owner', reason, actor_id, tenant_id, scope_type, scope_id,
                    target_principal_id
               FROM authz.access_change_event WHERE change_type = 'transfer' ORDER BY occurred_at",
            &[],
        )
        .unwrap();
    assert_eq!(events.len(), 2);
    let (alice, north) = (id("alice").to_string(), id("north").to_string());
    assert_eq!(events[0].get::<_, Option<&str>>(0), None);
    assert_eq!(events[0].get::<_, &str>(1), alice);
    assert_eq!(events[0].get::<_, &str>(2), "she knows it");
    assert_eq!(events[0].get::<_, Option<uuid::Uuid>>(7), Some(id("alice")));
    assert_eq!(events[1].get::<_, &str>(0), alice);
    assert_eq!(events[1].get::<_, &str>(1), north);
    assert_eq!(events[1].get::<_, uuid::Uuid>(3), id("tina"));
    assert_eq!(events[1].get::<_, uuid::Uuid>(4), id("acme"));
    assert_eq!(
        (events[1].get::<_, &str>(5), events[1].get::<_, &str>(6)),
        ("case", id("affair").to_string().as_str())
    );
}
