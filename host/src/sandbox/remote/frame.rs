//! Frames: the length of a message and that of the code with it, 4 bytes each, little endian; then the two.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

const LENGTH_BYTES: usize = 4;
const HEAD_BYTES: usize = 2 * LENGTH_BYTES;

/// A frame, ready to be written.
pub(super) fn encode<M: Serialize>(message: &M, code: &[u8]) -> io::Result<Vec<u8>> {
    let message = postcard::to_allocvec(message).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(HEAD_BYTES + message.len() + code.len());
    for part in [message.as_slice(), code] {
        frame.extend(u32::try_from(part.len()).map_err(io::Error::other)?.to_le_bytes());
    }
    frame.extend(message);
    frame.extend(code);
    Ok(frame)
}

/// Writes a message.
///
/// # Errors
/// The other side's end.
pub async fn write<M: Serialize>(to: &mut (impl AsyncWrite + Unpin), message: &M) -> io::Result<()> {
    to.write_all(&encode(message, &[])?).await?;
    to.flush().await
}

/// Reads a message that goes without code; none at the end.
///
/// # Errors
/// Where it breaks off, is longer than this, or makes no sense.
pub async fn read<M: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    bytes_max: usize,
) -> io::Result<Option<M>> {
    Ok(read_with_code(from, bytes_max, 0).await?.map(|(message, _)| message))
}

/// Reads a message and the code with it; none at the end.
pub(super) async fn read_with_code<M: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    bytes_max: usize,
    code_max: usize,
) -> io::Result<Option<(M, Vec<u8>)>> {
    let mut head = [0; HEAD_BYTES];
    match from.read_exact(&mut head).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read.map(drop)?,
    }
    let (message, code) = head.split_at(LENGTH_BYTES);
    let message = part(from, length(message), bytes_max).await?;
    let code = part(from, length(code), code_max).await?;
    Ok(Some((postcard::from_bytes(&message).map_err(io::Error::other)?, code)))
}

fn length(bytes: &[u8]) -> usize {
    let bytes = bytes.try_into().unwrap_or([u8::MAX; LENGTH_BYTES]);
    usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX)
}

/// No more memory than has come: what is announced is only the other side's word.
async fn part(from: &mut (impl AsyncRead + Unpin), bytes: usize, bytes_max: usize) -> io::Result<Vec<u8>> {
    if bytes > bytes_max {
        return Err(io::Error::other(format!("a message of {bytes} bytes, {bytes_max} are allowed")));
    }
    let mut part = vec![];
    from.take(bytes as u64).read_to_end(&mut part).await?;
    if part.len() < bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(part)
}
