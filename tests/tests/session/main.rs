//! Session identity, seen by somebody who wants another one: every way to keep, forge or plant one that we could think of,
//! each as a test with the attempt in its name, tried by login roles without privileges (R24; PITFALLS 11, 13, 14, 30).
//! Tokens are in `token`.

mod plan;
mod planting;
mod role;
mod scope;
mod setting;
