//! How a committed change reaches every backend before its next decision.
//!
//! Row triggers on the authority tables send a relcache message for a *channel*. PostgreSQL carries the messages: at
//! commit to every backend, in the commit record to standbys, at the end of the command and at rollback (also of a
//! subtransaction) to the backend itself.
//!
//! A channel is a number where OIDs end. No relation has to exist for it: a relcache message is an OID and nothing more,
//! whoever holds no relation of that OID has nothing to forget, and our callback is told. (Should a relation ever get
//! such an OID, then a change of the one lets the other be made anew: time lost, nothing wrong.) Numbers cost nothing,
//! so there are many, and changing one principal's access leaves the compiled access of nearly everybody else in place.
//!
//! The callback may fire in the middle of anything, so it only stores numbers. Cache entries compare these numbers
//! with what they saw *before* they were loaded: a message that arrives during the load is not missed.

use pgrx::pg_sys;
use std::cell::RefCell;
use std::mem::offset_of;
use std::ops::Range;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Channel(u16);

/// Channels of subjects: many share one, by a hash of the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A principal and what is bound to it itself.
    Principals,
    /// What is bound to a team, an organization or a role; who a database role is.
    Groups,
    /// A tenant's structure and the rules that address everybody in it.
    Tenants,
}

const COUNT: usize = 1 << 14;
/// The OID of channel 0.
const FIRST: u32 = u32::MAX - COUNT as u32 + 1;

impl Family {
    const ALL: [Family; 3] = [Family::Principals, Family::Groups, Family::Tenants];

    const fn channels(self) -> Range<u16> {
        match self {
            Family::Principals => 8192..COUNT as u16,
            Family::Groups => 4096..8192,
            Family::Tenants => 16..4096,
        }
    }

    /// The channel of messages about the whole family, which each of its channels stands under.
    const fn whole(self) -> Channel {
        match self {
            Family::Principals => Channel(4),
            Family::Groups => Channel(5),
            Family::Tenants => Channel(6),
        }
    }

    /// FNV-1a: any spread will do, but it must be the same in every backend and version.
    fn channel(self, id: &[u8]) -> Channel {
        let hash = id.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
            (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
        });
        let Range { start, end } = self.channels();
        Channel(start + ((hash ^ hash >> 32) % u64::from(end - start)) as u16)
    }
}

impl Channel {
    /// Permissions, implication, what roles have.
    pub const MODEL: Channel = Channel(0);
    /// Which roles and resource types there are, and what inherits from what.
    pub const SHAPE: Channel = Channel(1);
    /// Tables registered as resource types. Never sent: their own relcache messages, sent by DDL, arrive here.
    pub const TABLES: Channel = Channel(2);
    /// Any tenant at all: for what depends on which tenants there are. Never sent: whatever is sent for a tenant arrives
    /// here as well.
    pub const ANY_TENANT: Channel = Channel(3);
    /// Everything that was loaded, whatever it is about. Never sent: PostgreSQL says it itself.
    const EVERYTHING: Channel = Channel(7);

    /// The channel of a principal.
    pub fn principal(id: uuid::Uuid) -> Channel {
        Family::Principals.channel(id.as_bytes())
    }

    /// The channel of a team, an organization or a role, by its canonical text.
    pub fn group(id: &str) -> Channel {
        Family::Groups.channel(id.as_bytes())
    }

    /// The channel of a tenant.
    pub fn tenant(id: uuid::Uuid) -> Channel {
        Family::Tenants.channel(id.as_bytes())
    }

    const fn of(relid: u32) -> Option<Channel> {
        match relid.checked_sub(FIRST) {
            Some(number) => Some(Channel(number as u16)),
            None => None,
        }
    }

    const fn relid(self) -> u32 {
        FIRST + self.0 as u32
    }

    fn family(self) -> Option<Family> {
        Family::ALL.into_iter().find(|f| f.channels().contains(&self.0))
    }

    /// The number of the last message for it.
    fn last(self) -> u64 {
        LAST[usize::from(self.0)].load(Relaxed)
    }

    /// A message for it has arrived.
    fn arrived(self) {
        let number = SEQUENCE.load(Relaxed) + 1;
        LAST[usize::from(self.0)].store(number, Relaxed);
        RECENT[number as usize % RECENT.len()].store(self.0, Relaxed);
        SEQUENCE.store(number, Relaxed);
    }
}

/// The channel of a number that is one of the last.
fn recent(number: u64) -> Channel {
    Channel(RECENT[number as usize % RECENT.len()].load(Relaxed))
}

/// Counts what has arrived, once for each channel that a message is for. Starts at 1, so that 0 is older than everything.
static SEQUENCE: AtomicU64 = AtomicU64::new(1);
/// The number of the last message for each channel.
static LAST: [AtomicU64; COUNT] = [const { AtomicU64::new(0) }; COUNT];
/// The channels of the last numbers, each at its number modulo [`RECENT`]'s length: what has seen all but a few
/// messages looks at these instead of at each channel that it depends on, which costs many more memory accesses.
static RECENT: [AtomicU16; 32] = [const { AtomicU16::new(0) }; 32];
/// Messages for channels, for `authz_stats()`.
static RECEIVED: AtomicU64 = AtomicU64::new(0);

/// Relations whose own messages concern us: open addressing, 0 = free. Never full: the last places are for nobody, and
/// a table that found no place sets [`WATCH_EVERYTHING`].
const PLACES: usize = 2048;
static RELATIONS: [AtomicU32; PLACES] = [const { AtomicU32::new(0) }; PLACES];
static WATCHED: AtomicU32 = AtomicU32::new(0);
static WATCH_EVERYTHING: AtomicU32 = AtomicU32::new(0);
/// The relation that is dropped with the extension.
static INSTALLATION: AtomicU32 = AtomicU32::new(0);

fn place(relid: u32) -> &'static AtomicU32 {
    let mut place = relid.wrapping_mul(0x9e37_79b1) as usize % PLACES;
    loop {
        match RELATIONS[place].load(Relaxed) {
            0 => return &RELATIONS[place],
            r if r == relid => return &RELATIONS[place],
            _ => place = (place + 1) % PLACES,
        }
    }
}

/// Watches a table registered as a resource type (or a partition of one).
pub fn watch_table(relid: pg_sys::Oid) {
    let place = place(relid.to_u32());
    if place.load(Relaxed) == 0 {
        if WATCHED.fetch_add(1, Relaxed) as usize >= PLACES * 3 / 4 {
            WATCH_EVERYTHING.store(1, Relaxed);
            return;
        }
        place.store(relid.to_u32(), Relaxed);
    }
}

fn is_watched(relid: u32) -> bool {
    WATCH_EVERYTHING.load(Relaxed) != 0 || place(relid).load(Relaxed) != 0
}

/// Watches the relation that is dropped with the extension: when it is, nothing that was loaded is right any more.
pub fn watch_installation(relid: pg_sys::Oid) {
    INSTALLATION.store(relid.to_u32(), Relaxed);
}

/// Called by PostgreSQL, possibly in the middle of any catalog access: it must not fail, allocate or touch
/// anything that could be borrowed.
unsafe extern "C-unwind" fn on_relcache(_: pg_sys::Datum, relid: pg_sys::Oid) {
    let relid = relid.to_u32();
    let channel = match relid {
        0 => Some(Channel::EVERYTHING),
        _ if relid == INSTALLATION.load(Relaxed) => Some(Channel::EVERYTHING),
        _ => Channel::of(relid),
    };
    let table = relid != 0 && is_watched(relid);
    if channel.is_none() && !table {
        return;
    }
    RECEIVED.fetch_add(1, Relaxed);
    if let Some(channel) = channel {
        channel.arrived();
        if channel == Family::Tenants.whole() || channel.family() == Some(Family::Tenants) {
            Channel::ANY_TENANT.arrived();
        }
    }
    if table {
        Channel::TABLES.arrived();
    }
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

/// Has something become of a registered table since that message?
pub fn tables_changed_since(number: u64) -> bool {
    Channel::TABLES.last().max(Channel::EVERYTHING.last()) > number
}

/// How many messages for channels this backend has received.
pub fn received() -> u64 {
    RECEIVED.load(Relaxed)
}

/// What a command has sent already. PostgreSQL would find out as well, by comparing with every message before.
#[derive(Default)]
struct Sent {
    command: (u32, u32),
    channels: Vec<Channel>,
}

/// A command that changes more subjects than this sends for whole families: other backends have room for 4,096 messages
/// before they forget everything that they hold, whatever it is about.
const BULK: usize = 256;

thread_local! {
    static SENT: RefCell<Sent> = RefCell::default();
}

/// Sends a message for `channel`: to this backend at the end of the command, to all at commit.
pub fn send(channel: Channel) {
    // SAFETY: a row of an authority table was changed in this command, so there is a transaction. Each subtransaction has
    // an id of its own, and what it sent is its own: rolling it back takes nothing from the messages of others.
    let command = unsafe {
        (
            pg_sys::GetCurrentTransactionId().into_inner(),
            pg_sys::GetCurrentCommandId(false),
        )
    };
    SENT.with_borrow_mut(|sent| {
        if sent.command != command {
            sent.command = command;
            sent.channels.clear();
        }
        let channel = match channel.family() {
            Some(family) if sent.channels.len() >= BULK => family.whole(),
            _ => channel,
        };
        if !sent.channels.contains(&channel) {
            sent.channels.push(channel);
            register_message(channel);
        }
    });
}

/// Sends a message for all channels of a family: after TRUNCATE.
pub fn send_all(family: Family) {
    send(family.whole());
}

/// A row of pg_class, of which no more is read than what [`register_message`] says.
#[repr(C)]
struct ClassRow {
    header: pg_sys::HeapTupleHeaderData,
    class: pg_sys::FormData_pg_class,
}

/// Makes PostgreSQL send a relcache message for the number of `channel` with the current transaction. The function that
/// takes an OID wants a relation; the one that takes a row of pg_class reads `oid` and `relisshared` of it and no more.
fn register_message(channel: Channel) {
    // SAFETY: all-zero is a value of these types of C: numbers, booleans and bytes. The row lives until the call is over,
    // which keeps nothing of it, and `t_hoff` is where its columns begin.
    unsafe {
        let mut row: ClassRow = std::mem::zeroed();
        row.header.t_hoff = offset_of!(ClassRow, class) as u8;
        row.class.oid = pg_sys::Oid::from(channel.relid());
        let mut tuple = pg_sys::HeapTupleData {
            t_len: size_of::<ClassRow>() as u32,
            t_data: (&raw mut row).cast(),
            ..Default::default()
        };
        pg_sys::CacheInvalidateRelcacheByTuple(&raw mut tuple);
    }
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
    channels: Vec<Channel>,
    loaded: u64,
    checked: std::cell::Cell<u64>,
}

impl Stamp {
    /// Taken *before* loading begins. Receives pending messages first.
    pub fn now() -> Stamp {
        receive();
        let number = SEQUENCE.load(Relaxed);
        Stamp {
            channels: vec![Channel::EVERYTHING],
            loaded: number,
            checked: std::cell::Cell::new(number),
        }
    }

    /// What is being loaded depends on `channel`.
    pub fn depends_on(&mut self, channel: Channel) {
        self.channels.push(channel);
        self.channels.extend(channel.family().map(Family::whole));
    }

    /// Nothing more is loaded: keeps each channel once, in order.
    pub fn close(&mut self) {
        self.channels.sort_unstable();
        self.channels.dedup();
        self.channels.shrink_to_fit();
    }

    /// What it holds beside itself.
    pub fn bytes(&self) -> usize {
        size_of_val(self.channels.as_slice())
    }

    /// Has no message for any of its channels arrived since before it was loaded?
    #[inline]
    pub fn is_current(&self) -> bool {
        let now = SEQUENCE.load(Relaxed);
        let checked = self.checked.get();
        if checked == now {
            return true;
        }
        let current = if now - checked <= RECENT.len() as u64 {
            (checked + 1..=now).all(|number| self.channels.binary_search(&recent(number)).is_err())
        } else {
            self.channels.iter().all(|c| c.last() <= self.loaded)
        };
        if current {
            self.checked.set(now);
        }
        current
    }
}
