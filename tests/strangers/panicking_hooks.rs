//! Hooks and backends that panic: the request is answered by the inner service.
