//! A list of lines that goes to a file when it becomes long.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};

/// What is kept in memory: some thousands of events.
const IN_MEMORY: usize = 1 << 20;

/// Where PostgreSQL keeps temporary files; it removes what a crash leaves there under this prefix.
const DIRECTORY: &str = "base/pgsql_tmp";

/// Lines, each of which ends with a line feed. Their beginning is in the file, if there is one, and the rest in memory.
#[derive(Default)]
pub struct Spill {
    file: Option<(File, u64)>,
    memory: Vec<u8>,
}

impl Spill {
    /// Adds a line, which has no line feed.
    pub fn push(&mut self, line: &[u8]) {
        self.memory.extend_from_slice(line);
        self.memory.push(b'\n');
        if self.memory.len() > IN_MEMORY {
            self.write_out();
        }
    }

    /// Bytes in the list.
    pub fn len(&self) -> u64 {
        self.file.as_ref().map_or(0, |(_, n)| *n) + self.memory.len() as u64
    }

    /// Forgets everything, but keeps memory that the next transaction will need as well.
    pub fn clear(&mut self) {
        self.file = None;
        self.memory.clear();
    }

    /// Takes what comes after the first `at` bytes.
    pub fn cut(&mut self, at: u64) -> Lines {
        if at == 0 {
            let memory = std::mem::take(&mut self.memory);
            let file = self.file.take().and_then(|(mut file, n)| {
                file.seek(SeekFrom::Start(0)).ok()?;
                Some(BufReader::new(file.take(n)))
            });
            return Lines { file, memory, at: 0 };
        }
        let in_file = self.file.as_ref().map_or(0, |(_, n)| *n);
        if at >= in_file {
            let memory = self.memory.split_off((at - in_file) as usize);
            return Lines {
                file: None,
                memory,
                at: 0,
            };
        }
        let mut memory = Vec::new();
        if let Some((file, n)) = &mut self.file {
            // What cannot be read is missing; there is nobody left to tell but the log, which gets the rest.
            if file.seek(SeekFrom::Start(at)).is_ok() {
                let _ = Read::take(&mut *file, *n - at).read_to_end(&mut memory);
            }
            *n = at;
        }
        memory.append(&mut self.memory);
        Lines {
            file: None,
            memory,
            at: 0,
        }
    }

    /// Moves what is in memory to the file. Where that fails, memory goes on growing: slower is better than lost.
    fn write_out(&mut self) {
        if self.file.is_none() {
            self.file = create().map(|file| (file, 0));
        }
        if let Some((file, n)) = &mut self.file
            && file.seek(SeekFrom::Start(*n)).is_ok()
            && file.write_all(&self.memory).is_ok()
        {
            *n += self.memory.len() as u64;
            self.memory.clear();
        }
    }
}

/// A file without a name, which goes with the process.
fn create() -> Option<File> {
    let path = format!("{DIRECTORY}/pgsql_tmp_authz_ext.{}", std::process::id());
    let _ = fs::create_dir(DIRECTORY);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .ok()?;
    fs::remove_file(&path).ok()?;
    Some(file)
}

/// Lines that were taken, one after the other.
#[derive(Default)]
pub struct Lines {
    file: Option<BufReader<std::io::Take<File>>>,
    memory: Vec<u8>,
    at: usize,
}

impl Iterator for Lines {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if let Some(file) = &mut self.file {
            let mut line = Vec::new();
            if file.read_until(b'\n', &mut line).is_ok() && line.pop().is_some() {
                return Some(line);
            }
            self.file = None;
        }
        let rest = self.memory.get(self.at..)?;
        let end = rest.iter().position(|b| *b == b'\n')?;
        self.at += end + 1;
        Some(rest[..end].to_vec())
    }
}
