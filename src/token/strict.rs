//! JSON without room for two readings.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::collections::HashSet;
use std::fmt;

/// Parses JSON in which no object has a member twice, at any depth, and no text has a NUL.
///
/// Of two members of one name some readers take the first and some the last: who signed the token may have looked at
/// the other one. A NUL cannot be stored in a `jsonb`.
pub fn parse(json: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice::<Strict>(json)?;
    serde_json::from_slice(json)
}

/// Looks, and keeps nothing.
struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Strict, D::Error> {
        deserializer.deserialize_any(Strict)
    }
}

/// Numbers may come as objects of one member, which pass as such.
impl<'de> Visitor<'de> for Strict {
    type Value = Strict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Strict, E> {
        if text.contains('\0') {
            return Err(E::custom("a text has a NUL"));
        }
        Ok(Strict)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Strict, A::Error> {
        while seq.next_element::<Strict>()?.is_some() {}
        Ok(Strict)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strict, A::Error> {
        let mut names = HashSet::new();
        while let Some((name, Strict)) = map.next_entry::<String, Strict>()? {
            if name.contains('\0') {
                return Err(A::Error::custom("the name of a member has a NUL"));
            }
            if let Some(twice) = names.replace(name) {
                return Err(A::Error::custom(format!("member {twice:?} is there twice")));
            }
        }
        Ok(Strict)
    }
}
