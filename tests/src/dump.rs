//! Databases that are dumped, and restored elsewhere.

use crate::{Db, Start, run};
use std::path::PathBuf;

/// The formats of pg_dump, each with a program of its own that restores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A script for psql.
    Plain,
    /// An archive for pg_restore.
    Custom,
}

impl Format {
    /// Both.
    pub const ALL: [Format; 2] = [Format::Plain, Format::Custom];
}

/// A dump of a whole database in a file, which goes with it.
pub struct Dump {
    format: Format,
    file: PathBuf,
}

impl Dump {
    /// Dumps it.
    pub fn of(db: &Db, format: Format) -> Dump {
        let file = std::env::temp_dir().join(format!("{}.dump", crate::db::unique("dump")));
        let option = match format {
            Format::Plain => "--format=plain",
            Format::Custom => "--format=custom",
        };
        run(db.command("pg_dump").args([option, "--file"]).arg(&file));
        Dump { format, file }
    }

    /// Restored into a database with nothing else in it.
    pub fn restored(&self) -> Db {
        let db = Db::with(Start::Empty);
        self.restore_into(&db, &[]);
        db
    }

    /// Restored into a database, with options of the program that does it; the first error ends it.
    pub fn restore_into(&self, db: &Db, options: &[&str]) {
        match self.format {
            Format::Plain => run(db
                .command("psql")
                .args(["-X", "-q", "-v", "ON_ERROR_STOP=1"])
                .args(options)
                .arg("-f")
                .arg(&self.file)),
            Format::Custom => run(db
                .command("pg_restore")
                .args(["--exit-on-error", "--dbname", &db.name])
                .args(options)
                .arg(&self.file)),
        };
    }
}

impl Drop for Dump {
    fn drop(&mut self) {
        if let Err(e) = std::fs::remove_file(&self.file) {
            eprintln!("{}: {e}", self.file.display());
        }
    }
}
