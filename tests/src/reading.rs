//! A table, an audited view of it, and who reads it: what the tests of audited views start from.

use std::sync::Arc;
use std::time::Duration;

use postgres::Client;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::make;
use crate::session::set_with;
use crate::waiting::soon;
use crate::{Db, Server, Start, execute, report, value};

/// A database with a table of ten rows and a view of it, an owner of both, and a reader who may read the view alone and
/// begin sessions.
pub struct World {
    /// Where it is.
    pub db: Db,
    /// Who owns the table and the views.
    pub owner: String,
    /// Who may read the views.
    pub reader: String,
}

impl World {
    /// On a cluster of a test's own.
    pub fn on(server: &Arc<Server>) -> World {
        let db = Db::on(server, Start::Fixture);
        let (owner, reader) = (db.role(), db.role());
        let mut c = db.connect();
        let acme = make::tenant(&mut c, "acme");
        make::role(&mut c, "viewer", &["case.view"]);
        for name in ["alice", "bob"] {
            make::member(&mut c, acme, name);
        }
        execute(
            &mut c,
            &format!(
                "SELECT authz.prepare_audit_partitions(1);
                 GRANT USAGE ON SCHEMA authz TO {owner};
                 GRANT EXECUTE ON FUNCTION authz_create_audited_view(text, text, text, boolean),
                     authz_create_audited_view(text, regclass, text, boolean), authz_alter_audited_view(regclass, text),
                     authz.one_select(text), authz.register_audited_view(oid, uuid, text), authz.alter_audited_view(oid, text),
                     authz.audited_view_problems(regclass), authz.read_past_row_security(regclass) TO {owner};
                 GRANT EXECUTE ON FUNCTION authz_set_session(uuid, uuid, jsonb, boolean) TO {reader};
                 GRANT CREATE ON SCHEMA public TO {owner}, {reader};
                 SET ROLE {owner};
                 CREATE TABLE public.reading (id integer PRIMARY KEY, word text);
                 INSERT INTO public.reading SELECT n, 'word ' || n FROM generate_series(1, 10) AS n;
                 SELECT authz_create_audited_view('public.v', 'SELECT id, word FROM public.reading ORDER BY id');
                 SELECT authz_create_audited_view('public.w', target => 'public.reading');
                 GRANT SELECT ON public.v, public.w TO {reader}"
            ),
        );
        World { db, owner, reader }
    }

    /// On the shared cluster.
    pub fn new() -> World {
        World::on(&Server::shared())
    }

    /// A connection of the reader.
    pub fn reader(&self) -> Client {
        self.db.connect_as(&self.reader)
    }

    /// A connection of the owner.
    pub fn owner(&self) -> Client {
        self.db.connect_as(&self.owner)
    }
}

/// Begins a session for the connection, in a request of that name.
pub fn act(c: &mut Client, name: &str, request: &str) {
    execute(c, &set_act(name, request));
}

/// The statement for it.
pub fn set_act(name: &str, request: &str) -> String {
    set_with(name, None, &format!("{{\"request_id\": \"{request}\"}}"))
}

/// From now on no event can be written.
pub const BREAK: &str = "CREATE FUNCTION public.broken() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full', MESSAGE = 'no room'; END $$;
    CREATE TRIGGER broken BEFORE INSERT ON authz.access_audit_event FOR EACH ROW EXECUTE FUNCTION public.broken()";

/// Waits until nothing is on its way, and then a little for what should not come.
#[track_caller]
pub fn settle(c: &mut Client) {
    soon("the queue is empty", || {
        value::<i64>(c, "SELECT audit_waiting FROM authz_stats()", &[]) == 0
    });
    std::thread::sleep(Duration::from_millis(200));
}

/// The lines of a log that begin so, as JSON.
pub fn lines(log: &str, beginning: &str) -> Vec<Value> {
    log.lines()
        .filter_map(|line| line.split_once(beginning))
        .map(|(_, json)| serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {json}")))
        .collect()
}

/// The events in a cluster's log.
pub fn logged(cluster: &Cluster) -> Vec<Value> {
    lines(&cluster.log(), "authz_ext access event: ")
}

/// What such a line says of a read, as [`events`] has it.
pub fn line_of(event: &Value) -> String {
    format!(
        "{} {} {}",
        event["resource_id"]
            .as_str()
            .unwrap_or_default()
            .trim_start_matches("public."),
        event["context"]["rows"],
        event["context"]["outcome"].as_str().unwrap_or_default()
    )
}

/// The events of reads in the table, the oldest first: the view, the rows and how it ended.
pub fn events(c: &mut Client, filter: &str) -> Vec<String> {
    c.query(
        &format!(
            "SELECT format('%s %s %s', regexp_replace(resource_id, '^public\\.', ''), coalesce(context ->> 'rows', '?'),
                           context ->> 'outcome')
               FROM authz.access_audit_event
              WHERE action_code = 'audited_view.read' AND ({filter}) ORDER BY occurred_at, 1"
        ),
        &[],
    )
    .unwrap_or_else(|e| panic!("{}", report(&e)))
    .iter()
    .map(|row| row.get(0))
    .collect()
}

impl Default for World {
    fn default() -> Self {
        World::new()
    }
}
