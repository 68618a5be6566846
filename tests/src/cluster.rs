//! Clusters of a test's own, where the shared one will not do: other settings, a standby.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use postgres::Client;

use crate::waiting::soon;
use crate::{Server, program, run, value};

/// A cluster that is stopped and removed at the end of its test. It listens on a socket in its own directory only, so
/// no port can be taken.
pub struct Cluster {
    /// How to reach it.
    pub server: Arc<Server>,
    directory: PathBuf,
}

const PORT: u16 = 5432;

/// Settings of a cluster that preloads the library, so that it has workers and shared memory.
pub const PRELOADED: &[&str] = &["shared_preload_libraries = authz_ext", "max_prepared_transactions = 5"];
/// Settings of one that does not.
pub const BARE: &[&str] = &["max_prepared_transactions = 5"];

/// A command run as the account that clusters run as: PostgreSQL refuses root.
fn as_owner(program_path: &Path) -> Command {
    let mut command = match std::env::var("AUTHZ_RUNUSER") {
        Ok(user) => {
            let mut command = Command::new("runuser");
            command.args(["-u", &user, "--"]).arg(program_path);
            command
        }
        Err(_) => Command::new(program_path),
    };
    // A backtrace in the server's environment would end up in what clients see.
    command.env_remove("RUST_BACKTRACE").env("LC_ALL", "C").current_dir("/");
    command
}

fn fresh_directory() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "authz_t_{}_{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    let directory = std::env::temp_dir().join(name);
    run(as_owner(Path::new("mkdir")).args(["-m", "0700", "-p"]).arg(&directory));
    directory
}

/// A directory with the data of a new cluster.
fn new_data() -> PathBuf {
    let directory = fresh_directory();
    run(as_owner(&program("initdb"))
        .args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "-D",
        ])
        .arg(directory.join("data")));
    directory
}

impl Cluster {
    /// A new cluster with the settings given (lines of postgresql.conf).
    pub fn start(settings: &[&str]) -> Cluster {
        Cluster::launch(new_data(), settings)
    }

    /// What `pg_upgrade` makes of this cluster: a new one, whose system identifier is another. Both are of the version
    /// under test.
    pub fn upgrade(self, settings: &[&str]) -> Cluster {
        run(as_owner(&program("pg_ctl"))
            .args(["stop", "-m", "fast", "-w", "-D"])
            .arg(self.directory.join("data")));
        let directory = new_data();
        let programs = program("");
        run(as_owner(&program("pg_upgrade"))
            .current_dir(&directory)
            .args(["--username=postgres", "--old-datadir"])
            .arg(self.directory.join("data"))
            .arg("--new-datadir")
            .arg(directory.join("data"))
            .arg("--old-bindir")
            .arg(&programs)
            .arg("--new-bindir")
            .arg(&programs)
            .arg("--socketdir")
            .arg(&directory));
        Cluster::launch(directory, settings)
    }

    /// A hot standby of this cluster.
    pub fn standby(&self) -> Cluster {
        self.standby_with(&[])
    }

    /// The same with further settings.
    pub fn standby_with(&self, settings: &[&str]) -> Cluster {
        let directory = fresh_directory();
        run(as_owner(&program("pg_basebackup"))
            .args([
                "--checkpoint=fast",
                "--no-sync",
                "--write-recovery-conf",
                "-U",
                "postgres",
                "-h",
            ])
            .arg(&self.directory)
            .args(["-p", &PORT.to_string(), "-D"])
            .arg(directory.join("data")));
        let mut all = vec!["hot_standby = on"];
        all.extend(settings);
        Cluster::launch(directory, &all)
    }

    /// Waits until this standby has replayed what its primary has done, to whom the client is connected.
    pub fn catch_up(&self, on_primary: &mut Client) {
        let done: String = value(on_primary, "SELECT pg_current_wal_flush_lsn()::text", &[]);
        let mut watcher = self.server.connect("postgres", "postgres");
        soon("the standby has caught up", || {
            value(
                &mut watcher,
                "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn",
                &[&done],
            )
        });
    }

    /// The same cluster, started anew with other settings.
    pub fn restart(self, settings: &[&str]) -> Cluster {
        // It goes on under another name: its directory must not be removed.
        let old = std::mem::ManuallyDrop::new(self);
        run(as_owner(&program("pg_ctl"))
            .args(["stop", "-m", "fast", "-w", "-D"])
            .arg(old.directory.join("data")));
        Cluster::launch(old.directory.clone(), settings)
    }

    /// What the server has written to its log.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.directory.join("log")).unwrap_or_default()).into_owned()
    }

    /// The postmaster's process id.
    pub fn postmaster(&self) -> u32 {
        let file = self.directory.join("data/postmaster.pid");
        let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        text.lines()
            .next()
            .and_then(|line| line.trim().parse().ok())
            .expect("the first line is a process id")
    }

    /// Kills the postmaster, as a power switch would, and starts the cluster again.
    pub fn crash(self, settings: &[&str]) -> Cluster {
        kill(self.postmaster());
        let old = std::mem::ManuallyDrop::new(self);
        // Its children notice one after the other; until the last is gone its memory is in use.
        let mut cluster = Cluster::try_launch(old.directory.clone(), settings);
        for _ in 0..100 {
            if cluster.is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
            cluster = Cluster::try_launch(old.directory.clone(), settings);
        }
        cluster.unwrap_or_else(|log| panic!("the server did not start: {log}"))
    }

    /// Makes a primary of a standby.
    pub fn promote(&self) {
        run(as_owner(&program("pg_ctl"))
            .args(["promote", "-w", "-D"])
            .arg(self.directory.join("data")));
    }

    fn launch(directory: PathBuf, settings: &[&str]) -> Cluster {
        Cluster::try_launch(directory, settings).unwrap_or_else(|log| panic!("the server did not start: {log}"))
    }

    fn try_launch(directory: PathBuf, settings: &[&str]) -> Result<Cluster, String> {
        let data = directory.join("data");
        let log = directory.join("log");
        let mut options = format!(
            "-c listen_addresses= -c unix_socket_directories={} -c port={PORT} -c fsync=off -c shared_buffers=32MB",
            directory.display()
        );
        for setting in settings {
            options.push_str(" -c ");
            options.push_str(&setting.replace(" = ", "="));
        }
        let server = Arc::new(Server {
            host: directory
                .to_str()
                .expect("the temporary directory has a UTF-8 name")
                .to_owned(),
            port: PORT,
            user: "postgres".to_owned(),
        });
        let mut start = as_owner(&program("pg_ctl"));
        start
            .args(["start", "-w", "-t", "60", "-D"])
            .arg(&data)
            .arg("-l")
            .arg(&log)
            .args(["-o", &options]);
        let started = start
            // The server inherits these; a pipe would keep the caller waiting for its end.
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .expect("pg_ctl runs");
        if started.success() {
            Ok(Cluster { server, directory })
        } else {
            Err(std::fs::read_to_string(&log).unwrap_or_default())
        }
    }
}

/// Ends a process at once.
pub fn kill(pid: u32) {
    run(Command::new("kill").args(["-9", &pid.to_string()]));
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let stopped = as_owner(&program("pg_ctl"))
            .args(["stop", "-m", "immediate", "-w", "-D"])
            .arg(self.directory.join("data"))
            .output();
        if !stopped.is_ok_and(|output| output.status.success()) {
            eprintln!("the cluster in {} did not stop", self.directory.display());
        }
        if let Err(e) = std::fs::remove_dir_all(&self.directory) {
            eprintln!("{}: {e}", self.directory.display());
        }
    }
}
