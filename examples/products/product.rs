//! A product, as it is stored and as it is sent to clients.

use rusqlite::{Connection, Row, params};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::input::Draft;

#[derive(Debug, Serialize)]
pub struct Product {
    pub id: String,
    name: String,
    price: f64,
    /// By RFC 3339.
    last_updated: String,
}

impl Product {
    /// Creates a product that is updated now. Called while the connection is locked, so that the
    /// last write has the latest time.
    pub fn now(id: Uuid, draft: Draft) -> Result<Self, time::error::Format> {
        Ok(Self {
            id: id.to_string(),
            name: draft.name,
            price: draft.price,
            last_updated: OffsetDateTime::now_utc().format(&Rfc3339)?,
        })
    }

    pub fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            name: row.get("name")?,
            price: row.get("price")?,
            last_updated: row.get("last_updated")?,
        })
    }

    /// Runs a statement with parameters in the order of the table's columns; returns the number of
    /// changed rows.
    pub fn store(&self, connection: &Connection, statement: &str) -> rusqlite::Result<usize> {
        let mut statement = connection.prepare_cached(statement)?;
        statement.execute(params![self.id, self.name, self.price, self.last_updated])
    }
}
