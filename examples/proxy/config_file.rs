//! The configuration file: the flags of the command line as TOML, and the options of the cache.
//!
//! ```toml
//! upstream = ["http://127.0.0.1:8000", "/api=http://127.0.0.1:8001"]
//! access-log = true
//!
//! [cache]
//! ttl = "60s"
//! early_refresh = 1.0
//!
//! [[cache.route]]
//! path = "/assets/{*file}"
//! ttl = "1h"
//! ```

use std::ffi::OsString;
use std::path::Path;

use clap::Command;
use toml::{Table, Value};
use tower_response_cache::CacheOptions;

/// The table of the options of the cache, which have the names of the library.
const CACHE: &str = "cache";

/// The flags that a file cannot have.
const NOT_IN_FILES: [&str; 4] = ["config", "check", "help", "version"];

/// Returns the arguments with those of the file of `--config` put before them, but for flags that
/// they have themselves: they override the file. Its table of the cache comes beside them.
pub fn with_config_file(
    arguments: Vec<OsString>,
    command: &Command,
) -> Result<(Vec<OsString>, CacheOptions), String> {
    let Some(path) = value_of(&arguments, "--config") else {
        return Ok((arguments, CacheOptions::default()));
    };
    let file = Path::new(&path).display();
    let text = std::fs::read_to_string(&path);
    let text = text.map_err(|error| format!("--config {file}: {error}"))?;
    let invalid = |error| format!("--config {file}: {error}");
    let mut table: Table = text.parse().map_err(invalid)?;
    let cache = match table.remove(CACHE) {
        Some(cache) => cache
            .try_into()
            .map_err(|error| format!("--config {file}: cache: {error}"))?,
        None => CacheOptions::default(),
    };
    let mut merged: Vec<OsString> = arguments.iter().take(1).cloned().collect();
    for (name, value) in &table {
        let mut known = command.get_arguments();
        let known = known.find(|known| known.get_long() == Some(name));
        let Some(known) = known.filter(|_| !NOT_IN_FILES.contains(&&**name)) else {
            return Err(format!(
                "--config {file}: there is no option {name:?}; see --help"
            ));
        };
        let flag = format!("--{name}");
        if !has(&arguments, &flag) {
            let flags = flags(&flag, value, known.get_action().takes_values());
            let flags = flags.map_err(|error| format!("--config {file}: {name}: {error}"))?;
            merged.extend(flags.into_iter().map(OsString::from));
        }
    }
    merged.extend(arguments.into_iter().skip(1));
    Ok((merged, cache))
}

/// The arguments for one entry of the file.
fn flags(flag: &str, value: &Value, takes_value: bool) -> Result<Vec<String>, String> {
    let scalar = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        _ => Err("expected a string, a whole number, true, false, or a list of these".to_owned()),
    };
    Ok(match value {
        Value::Boolean(is_set) if takes_value => {
            return Err(format!("expected a value, not {is_set}"));
        }
        Value::Boolean(true) => vec![flag.to_owned()],
        Value::Boolean(false) => Vec::new(),
        Value::Array(values) => {
            let values: Result<Vec<_>, _> = values.iter().map(scalar).collect();
            values?
                .into_iter()
                .map(|value| format!("{flag}={value}"))
                .collect()
        }
        value => vec![format!("{flag}={}", scalar(value)?)],
    })
}

/// The value of a flag, in either of its forms.
fn value_of(arguments: &[OsString], flag: &str) -> Option<OsString> {
    let mut arguments = arguments.iter().skip(1);
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        match text.strip_prefix(flag) {
            Some("") => return arguments.next().cloned(),
            Some(rest) if rest.starts_with('=') => return Some(rest[1..].into()),
            _ => {}
        }
    }
    None
}

fn has(arguments: &[OsString], flag: &str) -> bool {
    arguments.iter().skip(1).any(|argument| {
        let text = argument.to_string_lossy();
        let rest = text.strip_prefix(flag);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    })
}
