//! The people and resources of the policy matrix (R60), in the reference domain: what its twelve scenarios and the attacks
//! on the four failure modes (R62) start from.
//!
//! | who | what |
//! |---|---|
//! | ann, ben, cal, dora, eve, sue | as in [`Casework`]: ann investigates case `one` of acme |
//! | tad | administers tenant acme: sees its cases, assigns roles; not in team `inner` |
//! | pia | member of team `inner` |
//! | sam | support, of no tenant; may ask for sessions |
//! | rob | approves, ends and reviews sessions in acme, and approves exports |
//! | rae | records office of acme: may export details of its cases |
//! | ada | audits acme |
//! | robot | a service principal, which keeps the projection of acme up to date |
//! | gus, gil | member and case worker of globex |
//!
//! Cases of acme: `one` (open, with details and documents), `inside` (restricted, of team `inner`), `vault` (sealed). `other` is
//! globex's.

use crate::casework::{Casework, session};
use crate::make::{self, id};
use crate::office::with_ids;
use crate::{execute, report};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use postgres::Client;
use serde_json::json;

const SECRET: [u8; 32] = *b"for tests only: 32 bytes of hmac";

/// What nobody may read who is not meant to: it stands in the details of case `one`.
pub const SECRETS: [&str; 3] = ["Wilhelmina Whistler", "ID-4711-0815", "lives at the old mill"];
/// The same of globex's case.
pub const FOREIGN_SECRETS: [&str; 3] = ["Gregor Globe", "ID-9999-0000", "has moved to the harbour"];

/// The office with all of them in it.
pub struct Matrix {
    /// Its database and runtime role.
    pub casework: Casework,
}

impl Matrix {
    /// Makes it.
    pub fn new() -> Matrix {
        let casework = Casework::new();
        let mut c = casework.owner();
        let (acme, globex) = (id("acme"), id("globex"));
        make::team(&mut c, acme, "inner", None, Some(id("office")));
        make::role(
            &mut c,
            "tenant_admin",
            &[
                "case.view",
                "assignment.view",
                "document.view",
                "role.assign",
                "member.manage",
            ],
        );
        make::role(&mut c, "insider", &["case.view", "case.view_restricted"]);
        make::role(&mut c, "support", &["access.request"]);
        make::role(
            &mut c,
            "duty_manager",
            &["access.approve", "access.review", "export.approve"],
        );
        make::role(&mut c, "auditor", &["audit.read"]);
        make::role(
            &mut c,
            "caseworker",
            &["case.view", "case.edit", "sensitive_detail.view", "document.view"],
        );
        make::role(
            &mut c,
            "records",
            &[
                "sensitive_detail.view",
                "sensitive_detail.view_pii",
                "sensitive_detail.view_sensitive_pii",
                "case.view",
                "export.request",
            ],
        );
        for name in ["tad", "pia", "rob", "ada", "rae", "robot"] {
            make::member(&mut c, acme, name);
        }
        make::member(&mut c, globex, "gil");
        make::principal(&mut c, "sam");
        make::assign_platform(&mut c, id("sam"), "support");
        make::join_team(&mut c, acme, id("inner"), id("pia"));
        make::assign(&mut c, acme, id("tad"), "tenant_admin", "tenant", acme);
        make::assign(&mut c, acme, id("pia"), "insider", "team", id("inner"));
        make::assign(&mut c, acme, id("rob"), "duty_manager", "tenant", acme);
        make::assign(&mut c, acme, id("ada"), "auditor", "tenant", acme);
        make::assign(&mut c, acme, id("rae"), "records", "tenant", acme);
        make::assign(&mut c, globex, id("gil"), "caseworker", "tenant", globex);
        execute(
            &mut c,
            &with_ids(
                &"INSERT INTO casework.case_record (tenant_id, case_id, case_number, title, owning_team_id, confidentiality_level)
                  VALUES ('{acme}', '{inside}', 'inside', 'inside', '{inner}', 'restricted'),
                         ('{acme}', '{vault}', 'vault', 'vault', NULL, 'sealed');
                  INSERT INTO casework.case_document (tenant_id, document_id, case_id, document_type, confidentiality_level, storage_object_id)
                  VALUES ('{acme}', '{letter}', '{one}', 'letter', 'normal', 's3://letter'),
                         ('{acme}', '{evidence}', '{one}', 'evidence', 'sealed', 's3://evidence'),
                         ('{acme}', '{proof}', '{vault}', 'evidence', 'normal', 's3://proof'),
                         ('{globex}', '{bill}', '{other}', 'bill', 'normal', 's3://bill');
                  INSERT INTO casework.case_sensitive_detail (tenant_id, case_id, complainant_name, complainant_identifier, restricted_notes)
                  VALUES ('{acme}', '{one}', '$0', '$1', '$2'), ('{globex}', '{other}', '$3', '$4', '$5')"
                    .replace("$0", SECRETS[0])
                    .replace("$1", SECRETS[1])
                    .replace("$2", SECRETS[2])
                    .replace("$3", FOREIGN_SECRETS[0])
                    .replace("$4", FOREIGN_SECRETS[1])
                    .replace("$5", FOREIGN_SECRETS[2]),
            ),
        );
        c.execute(
            "INSERT INTO authz.signing_key (kid, issuer, audience, algorithm, secret) VALUES ('k', 'office', 'authz', 'HS256', $1)",
            &[&SECRET.as_slice()],
        )
        .unwrap_or_else(|e| panic!("{}", report(&e)));
        execute(
            &mut c,
            &format!("SELECT * FROM authz_install_casework_views('{}')", casework.prefix),
        );
        casework.db.adopt(&format!("{}casework_views", casework.prefix));
        Matrix { casework }
    }

    /// The owner of the database.
    pub fn owner(&self) -> Client {
        self.casework.owner()
    }

    /// The application, for somebody who logged in with a second factor.
    pub fn of(&self, who: &str) -> Client {
        self.casework.of(who)
    }

    /// A connection of another of the database roles, for somebody: by its own right, or by a token.
    pub fn with_role(&self, role: &str, who: &str) -> Client {
        let mut c = self.casework.db.connect_as(&self.login(role));
        begin(&mut c, role, who);
        c
    }

    /// A login role that is a member of one of the database roles.
    pub fn login(&self, role: &str) -> String {
        let login = self.casework.db.role();
        execute(
            &mut self.owner(),
            &format!("GRANT {}{role} TO {login}", self.casework.prefix),
        );
        login
    }
}

impl Default for Matrix {
    fn default() -> Self {
        Matrix::new()
    }
}

/// Begins somebody's session on a connection of one of the database roles, as that role may.
#[track_caller]
pub fn begin(c: &mut Client, role: &str, who: &str) {
    if ["runtime", "worker"].contains(&role) {
        session(c, who, true);
    } else {
        c.execute("SELECT authz_set_session_token($1, false)", &[&token(who)])
            .unwrap_or_else(|e| panic!("{}", report(&e)));
    }
}

/// A token of the office's log-in.
pub fn token(who: &str) -> String {
    let expiry = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
        + 600;
    let part = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!(
        "{}.{}",
        part(json!({"alg": "HS256", "kid": "k", "typ": "JWT"})),
        part(json!({"iss": "office", "aud": "authz", "sub": who, "exp": expiry}))
    );
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &SECRET);
    let signature = BASE64_URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, message.as_bytes()));
    format!("{message}.{signature}")
}

/// Everything that a query returns, as text.
#[track_caller]
pub fn told(c: &mut Client, sql: &str) -> String {
    match c.simple_query(sql) {
        Ok(messages) => messages
            .iter()
            .filter_map(|m| match m {
                postgres::SimpleQueryMessage::Row(row) => Some(
                    (0..row.len())
                        .map(|i| row.get(i).unwrap_or("-"))
                        .collect::<Vec<_>>()
                        .join(" "),
                ),
                _ => None,
            })
            .collect::<Vec<_>>()
            .join("\n"),
        Err(e) => panic!("{}\nin: {sql}", report(&e)),
    }
}

/// The number of rows of a case's kind that the connection sees.
#[track_caller]
pub fn seen(c: &mut Client, table: &str, case: &str) -> i64 {
    crate::value(
        c,
        &format!("SELECT count(tenant_id) FROM casework.{table} WHERE case_id = $1"),
        &[&id(case)],
    )
}
