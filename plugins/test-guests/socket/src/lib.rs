//! Test guest: imports `wasi:sockets`, so that the host refuses it at upload.

use std::io::Write;
use std::net::TcpStream;

use opg_guest::*;

/// Connects to an address and writes to it.
#[tool]
fn socket(
    /// Host and port.
    address: String,
) -> Result<(), Error> {
    TcpStream::connect(address)?.write_all(b"hello")?;
    Ok(())
}

plugin!(socket);
