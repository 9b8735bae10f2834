//! Routes in configuration: tables of a `path` and the names of `Rules`.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Rules;

/// Reads routes by pattern. An unknown name in one is an error, as it is in its rules.
pub(super) fn routes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, Rules)>, D::Error> {
    let routes = Vec::<Route>::deserialize(from)?;
    Ok(routes
        .into_iter()
        .map(|Route(path, rules)| (path, rules))
        .collect())
}

struct Route(String, Rules);

impl<'de> Deserialize<'de> for Route {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(RouteVisitor)
    }
}

struct RouteVisitor;

impl<'de> Visitor<'de> for RouteVisitor {
    type Value = Route;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of a path and rules")
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Route, A::Error> {
        let mut path = None;
        let rules = WithoutPath {
            table,
            path: &mut path,
        };
        let rules = Rules::deserialize(MapAccessDeserializer::new(rules))?;
        let path = path.ok_or_else(|| A::Error::missing_field("path"))?;
        Ok(Route(path, rules))
    }
}

/// A table without its path, which is set aside.
struct WithoutPath<'p, A> {
    table: A,
    path: &'p mut Option<String>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for WithoutPath<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        while let Some(name) = self.table.next_key::<String>()? {
            if name != "path" {
                return seed.deserialize(name.into_deserializer()).map(Some);
            }
            if self.path.replace(self.table.next_value()?).is_some() {
                return Err(A::Error::duplicate_field("path"));
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.table.next_value_seed(seed)
    }
}
