//! How a committed change reaches every backend before its next decision.
//!
//! Row triggers on the authority tables send a relcache message for a *channel*: an empty composite type that
//! exists only to have an OID. Channels are hashed by subject, so that changing one principal's access leaves the
//! compiled access of the others in place. PostgreSQL carries the messages: at commit to every backend, in the
//! commit record to standbys, at the end of the command and at rollback (also of a subtransaction) to the backend
//! itself.
//!
//! The callback may fire in the middle of anything, so it only stores numbers. Cache entries compare these numbers
//! with what they saw *before* they were loaded: a message that arrives during the load is not missed.

use pgrx::pg_sys;
use std::ffi::CString;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

const PRINCIPALS: usize = 64;
const GROUPS: usize = 32;
const TENANTS: usize = 32;
const COUNT: usize = 3 + PRINCIPALS + GROUPS + TENANTS;

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Permissions, implication, what roles have.
    Model,
    /// Which roles and resource types there are, and what inherits from what.
    Shape,
    /// Tables registered as resource types: their own relcache messages, sent by DDL.
    Tables,
    /// A principal and what is bound to it itself. Bucket.
    Principal(u8),
    /// What is bound to a team, an organization or a role. Bucket.
    Group(u8),
    /// A tenant's structure and the rules that address everybody in it. Bucket.
    Tenant(u8),
}

/// FNV-1a: any spread will do, but it must be the same in every backend and version.
fn bucket(id: &[u8], buckets: usize) -> u8 {
    let hash = id.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
        (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
    });
    ((hash ^ hash >> 32) % buckets as u64) as u8
}

impl Channel {
    /// The channel of a principal.
    pub fn principal(id: uuid::Uuid) -> Channel {
        Channel::Principal(bucket(id.as_bytes(), PRINCIPALS))
    }

    /// The channel of a team, an organization or a role, by its canonical text.
    pub fn group(id: &str) -> Channel {
        Channel::Group(bucket(id.as_bytes(), GROUPS))
    }

    /// The channel of a tenant.
    pub fn tenant(id: uuid::Uuid) -> Channel {
        Channel::Tenant(bucket(id.as_bytes(), TENANTS))
    }

    /// The channels of all tenants: for what depends on which tenants there are.
    pub fn tenants() -> impl Iterator<Item = Channel> {
        (0..TENANTS as u8).map(Channel::Tenant)
    }

    const fn number(self) -> usize {
        match self {
            Channel::Model => 0,
            Channel::Shape => 1,
            Channel::Tables => 2,
            Channel::Principal(b) => 3 + b as usize,
            Channel::Group(b) => 3 + PRINCIPALS + b as usize,
            Channel::Tenant(b) => 3 + PRINCIPALS + GROUPS + b as usize,
        }
    }

    /// The composite type in schema `authz` that stands for it; `Tables` has none.
    fn type_name(self) -> Option<String> {
        match self {
            Channel::Model => Some("channel_model".to_owned()),
            Channel::Shape => Some("channel_shape".to_owned()),
            Channel::Tables => None,
            Channel::Principal(b) => Some(format!("channel_principal_{b}")),
            Channel::Group(b) => Some(format!("channel_group_{b}")),
            Channel::Tenant(b) => Some(format!("channel_tenant_{b}")),
        }
    }

    fn all() -> impl Iterator<Item = Channel> {
        [Channel::Model, Channel::Shape]
            .into_iter()
            .chain((0..PRINCIPALS as u8).map(Channel::Principal))
            .chain((0..GROUPS as u8).map(Channel::Group))
            .chain((0..TENANTS as u8).map(Channel::Tenant))
    }
}

/// Counts messages. Starts at 1, so that 0 is older than everything.
static SEQUENCE: AtomicU64 = AtomicU64::new(1);
/// The number of the last message for each channel.
static LAST: [AtomicU64; COUNT] = [const { AtomicU64::new(0) }; COUNT];
/// Messages for channels, for `authz_stats()`.
static RECEIVED: AtomicU64 = AtomicU64::new(0);

/// Which relation stands for which channel: open addressing, 0 = free. Never full: the last places are for
/// nobody, and a table that found no place sets [`WATCH_EVERYTHING`].
const PLACES: usize = 2048;
static RELATIONS: [AtomicU32; PLACES] = [const { AtomicU32::new(0) }; PLACES];
static CHANNELS: [AtomicU32; PLACES] = [const { AtomicU32::new(0) }; PLACES];
static WATCHED: AtomicU32 = AtomicU32::new(0);
static WATCH_EVERYTHING: AtomicU32 = AtomicU32::new(0);

fn place(relid: u32) -> usize {
    let mut place = relid.wrapping_mul(0x9e37_79b1) as usize % PLACES;
    loop {
        match RELATIONS[place].load(Relaxed) {
            0 => return place,
            r if r == relid => return place,
            _ => place = (place + 1) % PLACES,
        }
    }
}

/// From now on a relcache message for `relid` is one for the channel of number `channel`.
fn watch(relid: pg_sys::Oid, channel: Channel) {
    let place = place(relid.to_u32());
    if RELATIONS[place].load(Relaxed) == 0 {
        if WATCHED.fetch_add(1, Relaxed) as usize >= PLACES * 3 / 4 {
            WATCH_EVERYTHING.store(1, Relaxed);
            return;
        }
        CHANNELS[place].store(channel.number() as u32, Relaxed);
        RELATIONS[place].store(relid.to_u32(), Relaxed);
    } else {
        CHANNELS[place].store(channel.number() as u32, Relaxed);
    }
}

/// Watches a table registered as a resource type (or a partition of one).
pub fn watch_table(relid: pg_sys::Oid) {
    watch(relid, Channel::Tables);
}

/// Called by PostgreSQL, possibly in the middle of any catalog access: it must not fail, allocate or touch
/// anything that could be borrowed.
unsafe extern "C-unwind" fn on_relcache(_: pg_sys::Datum, relid: pg_sys::Oid) {
    let number = SEQUENCE.load(Relaxed) + 1;
    let everything = relid == pg_sys::InvalidOid;
    if everything {
        LAST.iter().for_each(|l| l.store(number, Relaxed));
    } else {
        let place = place(relid.to_u32());
        if RELATIONS[place].load(Relaxed) != 0 {
            LAST[CHANNELS[place].load(Relaxed) as usize].store(number, Relaxed);
        } else if WATCH_EVERYTHING.load(Relaxed) != 0 {
            LAST[Channel::Tables.number()].store(number, Relaxed);
        } else {
            return;
        }
    }
    RECEIVED.fetch_add(1, Relaxed);
    SEQUENCE.store(number, Relaxed);
}

/// Registers the callback; once, when the library is loaded. A backend has room for ten of them, so all channels
/// share one.
pub fn register() {
    // SAFETY: the callback lives as long as the library, which is never unloaded, and cannot fail.
    unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(on_relcache), pg_sys::Datum::from(0usize)) }
}

/// Receives what other backends have committed. With nothing pending this is one comparison.
pub fn receive() {
    // SAFETY: we are inside a transaction; the executor does the same at every lock.
    unsafe { pg_sys::AcceptInvalidationMessages() }
}

/// A number that changes with every message that may concern something remembered.
pub fn sequence() -> u64 {
    SEQUENCE.load(Relaxed)
}

/// How many messages for channels this backend has received.
pub fn received() -> u64 {
    RECEIVED.load(Relaxed)
}

/// Finds the OIDs of the channels in schema `namespace`; needed before anything is cached.
pub fn watch_channels(namespace: pg_sys::Oid) {
    for channel in Channel::all() {
        if let Some(relid) = relation_of(channel, namespace) {
            watch(relid, channel);
        }
    }
}

fn relation_of(channel: Channel, namespace: pg_sys::Oid) -> Option<pg_sys::Oid> {
    let name = CString::new(channel.type_name()?).expect("channel names have no NUL");
    // SAFETY: a syscache look-up by a NUL-terminated name.
    let relid = unsafe { pg_sys::get_relname_relid(name.as_ptr(), namespace) };
    (relid != pg_sys::InvalidOid).then_some(relid)
}

/// Sends a message for `channel`: at once to this backend (at the end of the command), at commit to all.
pub fn send(channel: Channel) {
    let namespace = super::authority::namespace();
    if let Some(relid) = relation_of(channel, namespace) {
        // SAFETY: `relid` was just looked up; the call registers a message in the current transaction.
        unsafe { pg_sys::CacheInvalidateRelcacheByRelid(relid) }
    }
}

/// Sends a message for every channel of the same family: after TRUNCATE.
pub fn send_all(family: impl Fn(Channel) -> bool) {
    Channel::all().filter(|c| family(*c)).for_each(send);
}

/// Sends a message for a table itself, so that plans and registrations made of it are made anew.
pub fn send_for_table(relid: pg_sys::Oid) {
    // SAFETY: an OID without a relation would be an error, so its existence is looked up first.
    unsafe {
        if pg_sys::get_rel_relkind(relid) != 0 {
            pg_sys::CacheInvalidateRelcacheByRelid(relid);
        }
    }
}

/// The channels that something cached depends on, and up to which message it is known to be right.
#[derive(Debug)]
pub struct Stamp {
    channels: [u64; COUNT.div_ceil(64)],
    loaded: u64,
    checked: std::cell::Cell<u64>,
}

impl Stamp {
    /// Taken *before* loading begins. Receives pending messages first.
    pub fn now() -> Stamp {
        receive();
        let number = SEQUENCE.load(Relaxed);
        Stamp {
            channels: [0; COUNT.div_ceil(64)],
            loaded: number,
            checked: std::cell::Cell::new(number),
        }
    }

    /// What is being loaded depends on `channel`.
    pub fn depends_on(&mut self, channel: Channel) {
        let n = channel.number();
        self.channels[n / 64] |= 1 << (n % 64);
    }

    /// Has no message for any of its channels arrived since before it was loaded?
    #[inline]
    pub fn is_current(&self) -> bool {
        let now = SEQUENCE.load(Relaxed);
        if self.checked.get() == now {
            return true;
        }
        let current = (0..COUNT)
            .filter(|n| self.channels[n / 64] >> (n % 64) & 1 == 1)
            .all(|n| LAST[n].load(Relaxed) <= self.loaded);
        if current {
            self.checked.set(now);
        }
        current
    }
}
