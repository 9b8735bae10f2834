//! What a person who starts a program sees on the terminal.

use std::io::{self, IsTerminal, Write};

/// Prints lines below the addresses, if a person reads them.
pub fn print(lines: &[String]) -> io::Result<()> {
    let mut stdout = io::stdout();
    if !stdout.is_terminal() {
        return Ok(());
    }
    writeln!(stdout)?;
    for line in lines {
        writeln!(stdout, "  {line}")?;
    }
    writeln!(stdout)
}
