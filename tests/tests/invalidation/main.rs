//! A revocation that has committed is seen by the next call everywhere: in other sessions' open transactions of every
//! isolation level, prepared statements, parallel workers, after SET ROLE. And what never committed is seen by nobody
//! else. (R19)

mod held;
mod kinds;
mod race;
mod reach;
mod ways;

use authz_tests::make::{self, id};
use authz_tests::{Db, Server, Start};
use postgres::Client;
use std::sync::Arc;
use uuid::Uuid;

struct Names {
    principal: Uuid,
    case: Uuid,
    n: usize,
}

impl Names {
    fn new(n: usize) -> Names {
        Names {
            principal: id(&format!("p{n}")),
            case: id(&format!("c{n}")),
            n,
        }
    }

    fn fill(&self, sql: &str) -> String {
        sql.replace("{p}", &self.principal.to_string())
            .replace("{c}", &self.case.to_string())
            .replace("{t}", &id("acme").to_string())
            .replace("{x}", &id(&format!("x{}", self.n)).to_string())
            .replace("{y}", &id(&format!("y{}", self.n)).to_string())
            .replace("{n}", &self.n.to_string())
    }

    fn make(&self, c: &mut Client) {
        make::member(c, id("acme"), &format!("p{}", self.n));
        make::case(c, id("acme"), &format!("c{}", self.n));
    }
}

/// A database with tenant acme, role viewer (case.view) and, for each way, a member and a case.
fn world(server: &Arc<Server>) -> (Db, Client) {
    let db = Db::on(server, Start::Fixture);
    let mut c = db.connect();
    make::tenant(&mut c, "acme");
    make::role(&mut c, "viewer", &["case.view"]);
    (db, c)
}

/// Alice may view the case `affair` by an assignment, whose id is the last value.
fn alice(server: &Arc<Server>) -> (Db, Client, Uuid) {
    let (db, mut c) = world(server);
    make::member(&mut c, id("acme"), "alice");
    make::case(&mut c, id("acme"), "affair");
    let assignment = make::assign(&mut c, id("acme"), id("alice"), "viewer", "case", id("affair"));
    (db, c, assignment)
}
