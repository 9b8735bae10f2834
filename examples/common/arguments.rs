//! The command line, whose errors show no passwords either.

use std::process;

use clap::{CommandFactory, Error, Parser};

use crate::public_text::public_text;

/// Reads the command line. Wrong flags end the process, as `--help` does.
pub fn parse<P: Parser>() -> P {
    P::try_parse().unwrap_or_else(|error| end(&error))
}

/// Ends the process because flags contradict each other.
#[allow(dead_code, reason = "not all programs have such flags")]
pub fn conflict<P: CommandFactory>(message: String) -> ! {
    let kind = clap::error::ErrorKind::ArgumentConflict;
    end(&P::command().error(kind, message))
}

fn end(error: &Error) -> ! {
    if !error.use_stderr() {
        error.exit();
    }
    eprint!("{}", public_text(error));
    process::exit(error.exit_code())
}
