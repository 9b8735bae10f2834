//! What one request can cost by the size of its fields: a bound, whatever it lists.
