//! Exports (R32, PITFALLS 28, 38, 39): request, approval, run, download and end, by a login role that may call the functions
//! and read nothing.

mod approval;
mod authority;
mod columns;
mod content;
mod course;
mod definition;
mod rows;

use uuid::Uuid;

fn run(export: Uuid) -> String {
    format!("SELECT authz_run_export('{export}')")
}

fn fetch(export: Uuid, chunk: i32) -> String {
    format!("SELECT authz_download_export('{export}', {chunk})")
}

fn approve(export: Uuid) -> String {
    format!("SELECT authz_approve_export('{export}')")
}
