//! Templates: a database of each kind, made once in a process, of which every test gets a copy.

use crate::db::unique;
use crate::{Server, Start, execute};
use std::collections::HashMap;
use std::ffi::c_int;
use std::sync::{Arc, Mutex, OnceLock};

/// The template of a kind on a server, made when first asked for.
pub(crate) fn template(server: &Arc<Server>, start: Start) -> String {
    static MADE: OnceLock<Mutex<HashMap<(String, Start), String>>> = OnceLock::new();
    let made = MADE.get_or_init(Mutex::default);
    // A test that failed while it made a template must not hide the reason from those that follow.
    let mut made = made.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(name) = made.get(&(server.host.clone(), start)) {
        return name.clone();
    }
    let name = unique("template");
    let mut admin = server.admin();
    execute(
        &mut admin,
        &format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"),
    );
    // A cluster of a test's own goes as a whole.
    if Arc::ptr_eq(server, &Server::shared()) {
        drop_at_exit(&name);
    }
    {
        let mut client = server.connect(&name, &server.user);
        execute(&mut client, "CREATE EXTENSION authz_ext");
        if start == Start::Fixture || start == Start::Oracle {
            execute(&mut client, include_str!("../fixture.sql"));
        }
        if start == Start::Oracle {
            execute(&mut client, include_str!("../oracle.sql"));
        }
    }
    // The session that filled it must be gone before it can be copied.
    loop {
        let busy: i64 = admin
            .query_one("SELECT count(*) FROM pg_stat_activity WHERE datname = $1", &[&name])
            .unwrap()
            .get(0);
        if busy == 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    made.insert((server.host.clone(), start), name.clone());
    name
}

static TEMPLATES: Mutex<Vec<String>> = Mutex::new(Vec::new());

unsafe extern "C" {
    fn atexit(callback: extern "C" fn()) -> c_int;
}

/// Rust's test runner has no hook for the end of a process, C has one. The work is left to psql, because the thread's
/// local storage, which a connection of this process would need, is gone by then.
extern "C" fn drop_templates() {
    let Ok(names) = TEMPLATES.lock() else { return };
    for name in names.iter() {
        let dropped = Server::shared()
            .command("psql")
            .args([
                "-X",
                "-q",
                "-d",
                "postgres",
                "-c",
                &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            ])
            .status();
        if !dropped.is_ok_and(|status| status.success()) {
            eprintln!("template {name} is still there");
        }
    }
}

fn drop_at_exit(name: &str) {
    let mut names = TEMPLATES.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if names.is_empty() {
        // SAFETY: the callback is a plain function without arguments that does not unwind.
        let registered = unsafe { atexit(drop_templates) };
        assert_eq!(registered, 0, "atexit refused the clean-up of {name}");
    }
    names.push(name.to_owned());
}
