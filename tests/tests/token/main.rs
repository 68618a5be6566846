//! Sessions that begin by a token: every way to get one by a token that is not good, each as a test with the attempt in
//! its name, and the keys that tokens are checked by (R24, PITFALLS 15).

mod claim;
mod end;
mod forged;
mod good;
mod key;
