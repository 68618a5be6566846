//! Writes the content of an export: rows become lines, lines become chunks, chunks become rows of
//! `authz.data_export_chunk`. Memory holds one chunk, however many rows there are.

use crate::pg::reader::{self, Sink, Values};
use crate::pg::statement::{Parameter, Statement};
use pgrx::pg_sys;
use ring::digest::{Context, SHA256, digest};
use uuid::Uuid;

/// The table of chunks.
const TABLE: &str = "data_export_chunk";
/// A chunk ends with the first row that reaches this.
const CHUNK: usize = 1 << 20;

thread_local! {
    static INSERT: Statement = const {
        Statement::new(
            c"INSERT INTO authz.data_export_chunk (export_id, chunk, content, row_count, sha256) VALUES ($1, $2, $3, $4, $5)",
            &[pg_sys::UUIDOID, pg_sys::INT8OID, pg_sys::BYTEAOID, pg_sys::INT8OID, pg_sys::BYTEAOID],
        )
    };
}

/// How a row becomes a line.
#[derive(Clone, Copy)]
pub enum Format {
    /// As COPY writes it, with a header.
    Csv,
    /// The query's only column is the line.
    Lines,
}

/// What was written.
pub struct Written {
    /// Rows: one more than the limit where there were more, and then the content is not whole.
    pub rows: i64,
    /// Bytes of all chunks.
    pub bytes: i64,
    /// How many chunks.
    pub chunks: i64,
    /// SHA-256 of all chunks, one after the other.
    pub sha256: Vec<u8>,
}

struct Writer {
    export: Uuid,
    format: Format,
    limit: i64,
    rows: i64,
    bytes: i64,
    chunks: i64,
    chunk: Vec<u8>,
    rows_in_chunk: i64,
    whole: Context,
}

impl Writer {
    fn flush(&mut self) {
        self.chunks += 1;
        self.bytes += self.chunk.len() as i64;
        self.whole.update(&self.chunk);
        INSERT.with(|insert| {
            insert.run(
                TABLE,
                &[
                    Parameter::uuid(Some(&self.export)),
                    Parameter::int8(self.chunks),
                    Parameter::bytes(Some(&self.chunk)),
                    Parameter::int8(self.rows_in_chunk),
                    Parameter::bytes(Some(digest(&SHA256, &self.chunk).as_ref())),
                ],
            );
        });
        self.chunk.clear();
        self.rows_in_chunk = 0;
    }
}

impl Sink for Writer {
    fn begin(&mut self, names: &[String]) {
        if matches!(self.format, Format::Csv) {
            for (n, name) in names.iter().enumerate() {
                if n > 0 {
                    self.chunk.push(b',');
                }
                put_csv(&mut self.chunk, name.as_bytes(), names.len() == 1);
            }
            self.chunk.push(b'\n');
        }
    }

    fn row(&mut self, values: &mut Values<'_>) -> bool {
        self.rows += 1;
        if self.rows > self.limit {
            return false;
        }
        self.rows_in_chunk += 1;
        let columns = values.len();
        for column in 0..columns {
            if column > 0 {
                self.chunk.push(b',');
            }
            match (values.text(column), self.format) {
                (Some(text), Format::Csv) => put_csv(&mut self.chunk, text, columns == 1),
                (Some(text), Format::Lines) => self.chunk.extend_from_slice(text),
                (None, _) => {}
            }
        }
        self.chunk.push(b'\n');
        if self.chunk.len() >= CHUNK {
            self.flush();
        }
        true
    }
}

/// A value as COPY writes it: NULL is nothing, so that an empty text is quoted; a lone `\.` would end the data.
fn put_csv(line: &mut Vec<u8>, text: &[u8], alone: bool) {
    let quoted =
        text.is_empty() || (alone && text == b"\\.") || text.iter().any(|b| matches!(b, b',' | b'"' | b'\n' | b'\r'));
    if !quoted {
        line.extend_from_slice(text);
        return;
    }
    line.push(b'"');
    for byte in text {
        if *byte == b'"' {
            line.push(b'"');
        }
        line.push(*byte);
    }
    line.push(b'"');
}

/// Runs the query, which reads `source`, and writes its rows as chunks of the export. There is at least one chunk.
pub fn write(export: Uuid, source: pg_sys::Oid, query: &str, format: Format, limit: i64) -> Written {
    let mut writer = Writer {
        export,
        format,
        limit,
        rows: 0,
        bytes: 0,
        chunks: 0,
        chunk: Vec::with_capacity(CHUNK + CHUNK / 16),
        rows_in_chunk: 0,
        whole: Context::new(&SHA256),
    };
    reader::read(query, source, &mut writer);
    if writer.chunks == 0 || !writer.chunk.is_empty() {
        writer.flush();
    }
    Written {
        rows: writer.rows,
        bytes: writer.bytes,
        chunks: writer.chunks,
        sha256: writer.whole.finish().as_ref().to_vec(),
    }
}
