//! PITFALLS 37: PostgreSQL looks for a cancellation when it has reported a message, be it for the server's log alone, and jumps
//! to whoever handles errors. A message that Rust code reports must let it finish what it is doing first.

use authz_tests::cluster::Cluster;
use authz_tests::reading::{BREAK, World, act};
use authz_tests::waiting::soon;
use authz_tests::{Server, execute, report, value};
use postgres::Client;
use std::fs::OpenOptions;
use std::io::Read;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A server whose log is a pipe, and whoever reads it.
struct Slow {
    cluster: Cluster,
    /// After so many lines more nothing is read, until it is a greater number again.
    lines: Arc<AtomicUsize>,
    text: Arc<Mutex<String>>,
}

const ALL: usize = usize::MAX / 2;
/// More than a pipe holds.
const LONG: &str = "repeat('x', 200000)";

impl Slow {
    fn start() -> (Slow, World) {
        let cluster = Cluster::start(&[]);
        let world = World::on(&cluster.server);
        let pipe = format!("{}/log", cluster.server.host);
        std::fs::remove_file(&pipe).expect("the log");
        authz_tests::run(Command::new("mkfifo").args(["-m", "0666", &pipe]));
        // Open for writing as well: so opening it waits for nobody, and it has no end.
        let mut reading = OpenOptions::new().read(true).write(true).open(&pipe).expect("the pipe");
        let slow = Slow {
            cluster: cluster.restart(&["log_min_messages = warning"]),
            lines: Arc::new(AtomicUsize::new(ALL)),
            text: Arc::default(),
        };
        let (lines, text) = (slow.lines.clone(), slow.text.clone());
        std::thread::spawn(move || {
            let mut bytes = vec![0; 65536];
            while let Ok(n) = reading.read(&mut bytes) {
                let new = String::from_utf8_lossy(&bytes[..n]);
                text.lock().expect("nobody panics").push_str(&new);
                lines.fetch_sub(new.matches('\n').count(), SeqCst);
                while lines.load(SeqCst) == 0 {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        });
        (slow, world)
    }

    fn connect(&self, world: &World, user: &str) -> Client {
        Server::connect(&self.cluster.server, &world.db.name, user)
    }

    /// Runs `sql`, and cancels it while the line that it writes to the log after so many others waits to be read.
    fn cancel_at_line(&self, lines: usize, c: &mut Client, sql: &str) -> Result<(), postgres::Error> {
        let pid: i32 = value(c, "SELECT pg_backend_pid()", &[]);
        let mut other = self.cluster.server.connect("postgres", "postgres");
        self.lines.store(lines, SeqCst);
        std::thread::scope(|scope| {
            let running = scope.spawn(|| c.batch_execute(sql));
            soon("the backend waits for its log", || {
                let waits_in = std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
                waits_in.contains("pipe_write")
            });
            let cancelled: bool = value(&mut other, "SELECT pg_cancel_backend($1)", &[&pid]);
            assert!(cancelled);
            std::thread::sleep(Duration::from_millis(50));
            self.lines.store(ALL, SeqCst);
            running.join().expect("no panic")
        })
    }

    /// How many events are in the log that say so. Of a line that was waiting when a signal came, PostgreSQL may have written the
    /// beginning only.
    fn events(&self, with: &str) -> usize {
        let text = self.text.lock().expect("nobody panics");
        text.split(" LOG:  ")
            .filter(|l| l.contains("authz_ext access event") && l.contains(with))
            .count()
    }
}

#[test]
fn a_cancellation_during_a_line_for_the_log_jumps_over_nothing() {
    let (slow, world) = Slow::start();
    let mut admin = slow.connect(&world, "postgres");

    // The first line waits: nothing more is done after it.
    let denials = format!(
        "SELECT authz.record_denial('thing.view', 'thing', '1', NULL, 'denied', NULL, jsonb_build_object('long', {LONG}))
           FROM generate_series(1, 3)"
    );
    let error = slow.cancel_at_line(0, &mut admin, &denials).expect_err("cancelled");
    assert_eq!(error.code().map(|c| c.code()), Some("57014"));
    soon("the event is in the log", || slow.events("thing.view") == 1);

    // The event of a read cannot be written, and goes to the log, inside of subtransactions that the extension has begun: these
    // end one after the other, and whoever catches the cancellation goes on in its own.
    execute(&mut admin, BREAK);
    let alter = "SELECT authz_alter_audited_view('v', on_failure => 'log')";
    execute(&mut slow.connect(&world, &world.owner), alter);
    let mut reader = slow.connect(&world, &world.reader);
    execute(
        &mut admin,
        &format!("GRANT TEMPORARY ON DATABASE {} TO {}", world.db.name, world.reader),
    );
    act(&mut reader, "alice", "long");
    execute(
        &mut reader,
        &format!(
            "SELECT authz_set_session(authz_principal(), NULL,
                        jsonb_build_object('request_id', 'long', 'user_agent', {LONG}), false);
             CREATE TEMP TABLE note (what text)"
        ),
    );
    // The first line says that the read has begun, the second one is its event.
    let read = "DO $$ BEGIN
             INSERT INTO note VALUES ('before');
             BEGIN
                 INSERT INTO note VALUES ('inside');
                 PERFORM count(*) FROM public.v;
                 PERFORM pg_sleep(5);
             EXCEPTION WHEN query_canceled THEN
                 INSERT INTO note VALUES ('caught');
             END;
             INSERT INTO note VALUES ('after');
         END $$";
    if let Err(e) = slow.cancel_at_line(1, &mut reader, read) {
        panic!("{}", report(&e));
    }
    let notes: String = value(&mut reader, "SELECT string_agg(what, ' ') FROM note", &[]);
    assert_eq!(notes, "before caught after");
    soon("the event is in the log", || slow.events(r#""request_id":"long""#) == 1);

    // The backend goes on as before.
    act(&mut reader, "alice", "next");
    execute(&mut reader, "SELECT count(*) FROM public.v");
    soon("the next event is in the log", || {
        slow.events(r#""request_id":"next""#) == 1
    });
    execute(&mut admin, "DROP TRIGGER broken ON authz.access_audit_event");
    execute(&mut reader, "SELECT count(*) FROM public.v");
    let written = "SELECT count(*) FROM authz.access_audit_event WHERE request_id = 'next'";
    assert_eq!(value::<i64>(&mut admin, written, &[]), 1);
}
