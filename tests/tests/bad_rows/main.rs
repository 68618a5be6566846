//! Wrong rows: each is refused as the documents say, tells what to do, and leaves nothing half written.

mod cycle;
mod kept;
mod tenant;
