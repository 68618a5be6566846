//! What a seal is, and what its hash covers.

use crate::pg::query::Row;
use authz_engine::Instant;
use ring::digest::{Context, SHA256};
use uuid::Uuid;

/// The first column of a row of events that is hashed: after transaction, key and instant.
pub const FIRST_HASHED: usize = 3;

/// SHA-256.
pub type Hash = [u8; 32];

/// A place in the order of a table's events: the transaction and, in it, the key.
pub type Place = (u64, Uuid);

/// What a seal says of one event.
#[derive(Clone, Copy)]
pub struct Leaf {
    /// Its key.
    pub key: Uuid,
    /// When it occurred.
    pub occurred_at: Instant,
    /// SHA-256 of its columns.
    pub hash: Hash,
}

const LEAF: usize = 16 + 8 + 32;

impl Leaf {
    /// Of a row whose columns are transaction, key, instant, and from there on those that are hashed.
    pub fn of(row: &mut Row<'_>) -> Leaf {
        let mut digest = Context::new(&SHA256);
        row.digest(FIRST_HASHED, &mut digest);
        Leaf {
            key: row.uuid(1).unwrap_or_default(),
            occurred_at: row.int8(2).unwrap_or_default(),
            hash: finish(digest),
        }
    }

    /// Adds it to those of a batch.
    pub fn write(&self, leaves: &mut Vec<u8>) {
        leaves.extend_from_slice(self.key.as_bytes());
        leaves.extend_from_slice(&self.occurred_at.to_be_bytes());
        leaves.extend_from_slice(&self.hash);
    }

    /// The leaves of a batch; `None` if these are none.
    pub fn read(leaves: &[u8]) -> Option<Vec<Leaf>> {
        let chunks = leaves.chunks_exact(LEAF);
        if !chunks.remainder().is_empty() {
            return None;
        }
        chunks
            .map(|c| {
                Some(Leaf {
                    key: Uuid::from_slice(&c[..16]).ok()?,
                    occurred_at: Instant::from_be_bytes(c[16..24].try_into().ok()?),
                    hash: c[24..].try_into().ok()?,
                })
            })
            .collect()
    }
}

/// What a seal is about.
#[derive(Clone, Debug)]
pub enum What {
    /// Events of a cluster between two places.
    Batch {
        /// The cluster that transactions were counted in.
        cluster: i64,
        /// The first place.
        from: Place,
        /// The place after the last.
        to: Place,
        /// The columns that were hashed.
        columns: Vec<String>,
    },
    /// A partition that was detached.
    Archive {
        /// Its name.
        partition: String,
        /// Its events occurred from here on.
        from: Instant,
        /// They occurred before.
        to: Instant,
    },
}

/// A seal without its leaves.
#[derive(Clone, Debug)]
pub struct Seal {
    /// Place in the chain.
    pub number: i64,
    /// The table.
    pub table: String,
    /// What it is about.
    pub what: What,
    /// Number of events.
    pub events: i64,
    /// When it was made.
    pub sealed_at: Instant,
    /// The seal before.
    pub previous: Hash,
}

impl Seal {
    /// Its hash.
    pub fn hash(&self, leaves: &[u8]) -> Hash {
        let mut digest = Context::new(&SHA256);
        let mut put = |bytes: &[u8]| {
            digest.update(&(bytes.len() as u64).to_be_bytes());
            digest.update(bytes);
        };
        put(b"authz_ext seal 1");
        put(&self.number.to_be_bytes());
        put(self.table.as_bytes());
        match &self.what {
            What::Batch {
                cluster,
                from,
                to,
                columns,
            } => {
                put(b"batch");
                put(&cluster.to_be_bytes());
                for (xact, key) in [from, to] {
                    put(&xact.to_be_bytes());
                    put(key.as_bytes());
                }
                put(&(columns.len() as u64).to_be_bytes());
                columns.iter().for_each(|c| put(c.as_bytes()));
            }
            What::Archive { partition, from, to } => {
                put(b"archive");
                put(partition.as_bytes());
                put(&from.to_be_bytes());
                put(&to.to_be_bytes());
            }
        }
        put(&self.events.to_be_bytes());
        put(&self.sealed_at.to_be_bytes());
        put(&self.previous);
        put(ring::digest::digest(&SHA256, leaves).as_ref());
        finish(digest)
    }
}

fn finish(digest: Context) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.finish().as_ref());
    hash
}

/// The end of the chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Number of the last seal; 0: there is none.
    pub number: i64,
    /// Its hash.
    pub hash: Hash,
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "authz1:{}:", self.number)?;
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::str::FromStr for Head {
    type Err = ();

    fn from_str(text: &str) -> Result<Head, ()> {
        let (number, hex) = text
            .trim()
            .strip_prefix("authz1:")
            .and_then(|t| t.split_once(':'))
            .ok_or(())?;
        let mut hash = [0; 32];
        if hex.len() != 64 || !hex.is_ascii() {
            return Err(());
        }
        for (n, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).map_err(|_| ())?;
        }
        Ok(Head {
            number: number.parse().map_err(|_| ())?,
            hash,
        })
    }
}

/// A hash as it is stored.
pub fn hash_of(bytes: Option<Vec<u8>>) -> Hash {
    bytes.and_then(|b| b.try_into().ok()).unwrap_or_default()
}
