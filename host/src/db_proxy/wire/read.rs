//! Reading messages, with bounds that hold while reading.

use super::error::WireError;
use bytes::{Buf, BufMut, BytesMut};
use postgres_protocol::message::backend::Message;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// Messages other than rows: column lists and errors. The server allows 1664 columns of 63 bytes and an error may
/// quote a part of a statement.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Length and its own four bytes.
const LENGTH_BYTES: usize = 4;

/// A row up to this size is read in one piece, as most are: a read for each value costs more than the memory.
const WHOLE_ROW_BYTES_MAX: usize = 64 << 10;

/// A value as text, or its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::db_proxy) struct Cell {
    /// As the server writes it, cut at `kept_bytes_max`.
    pub(in crate::db_proxy) text: Vec<u8>,
    /// How long it is as the server writes it.
    pub(in crate::db_proxy) bytes: usize,
}

/// One row; `None` is SQL's null.
pub(in crate::db_proxy) type Row = Vec<Option<Cell>>;

/// One message.
pub(super) enum Incoming {
    Row(Row),
    Other(Message),
}

/// What may be read of one statement's rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// Bytes kept of one cell; the rest is read and dropped.
    pub(super) kept_bytes_max: usize,
    /// Bytes of all cells, kept or not, before no more is read.
    pub(super) bytes_left: usize,
}

/// Reads one message.
pub(super) async fn next(
    io: &mut (impl AsyncBufRead + Unpin),
    budget: &mut Budget,
) -> Result<Incoming, WireError> {
    const DATA_ROW: u8 = b'D';
    let tag = io.read_u8().await?;
    let length = usize::try_from(io.read_i32().await?).ok().and_then(|n| n.checked_sub(LENGTH_BYTES));
    let body = length.ok_or(WireError::Protocol("a message without a length"))?;
    if tag == DATA_ROW {
        return row(io, body, budget).await.map(Incoming::Row);
    }
    if body > MESSAGE_BYTES_MAX {
        return Err(WireError::Protocol("a message that is too long"));
    }
    let mut message = BytesMut::with_capacity(1 + LENGTH_BYTES + body);
    message.put_u8(tag);
    message.put_i32(i32::try_from(body + LENGTH_BYTES).unwrap_or(i32::MAX));
    message.resize(1 + LENGTH_BYTES + body, 0);
    io.read_exact(&mut message[1 + LENGTH_BYTES..]).await?;
    Message::parse(&mut message)?.map(Incoming::Other).ok_or(WireError::Protocol("half a message"))
}

async fn row(
    io: &mut (impl AsyncBufRead + Unpin),
    body: usize,
    budget: &mut Budget,
) -> Result<Row, WireError> {
    budget.bytes_left = budget.bytes_left.checked_sub(body).ok_or(WireError::TooLarge)?;
    if body <= WHOLE_ROW_BYTES_MAX {
        let mut bytes = vec![0; body];
        io.read_exact(&mut bytes).await?;
        return whole_row(&bytes, budget.kept_bytes_max).ok_or(WireError::Protocol("half a row"));
    }
    let columns = usize::from(io.read_u16().await?);
    let mut row = Vec::with_capacity(columns);
    for _ in 0..columns {
        row.push(match usize::try_from(io.read_i32().await?) {
            Ok(bytes) => Some(cell(io, bytes, budget.kept_bytes_max).await?),
            // -1: null
            Err(_) => None,
        });
    }
    Ok(row)
}

/// The row in these bytes; none where they end in the middle of it.
fn whole_row(mut bytes: &[u8], kept_bytes_max: usize) -> Option<Row> {
    let columns = usize::from(bytes.try_get_u16().ok()?);
    let mut row = Vec::with_capacity(columns);
    for _ in 0..columns {
        row.push(match usize::try_from(bytes.try_get_i32().ok()?) {
            Ok(length) => {
                let (value, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Some(Cell { text: value[..length.min(kept_bytes_max)].to_vec(), bytes: length })
            }
            // -1: null
            Err(_) => None,
        });
    }
    Some(row)
}

async fn cell(
    io: &mut (impl AsyncBufRead + Unpin),
    bytes: usize,
    kept_bytes_max: usize,
) -> Result<Cell, WireError> {
    let mut text = vec![0; bytes.min(kept_bytes_max)];
    io.read_exact(&mut text).await?;
    skip(io, bytes - text.len()).await?;
    Ok(Cell { text, bytes })
}

async fn skip(io: &mut (impl AsyncBufRead + Unpin), mut bytes: usize) -> Result<(), WireError> {
    while bytes > 0 {
        let there = io.fill_buf().await?.len();
        if there == 0 {
            return Err(WireError::Io(std::io::ErrorKind::UnexpectedEof.into()));
        }
        let dropped = there.min(bytes);
        io.consume(dropped);
        bytes -= dropped;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_row(cells: &[Option<&[u8]>]) -> Vec<u8> {
        let mut body = vec![];
        body.put_u16(u16::try_from(cells.len()).unwrap());
        for cell in cells {
            match cell {
                Some(bytes) => {
                    body.put_i32(i32::try_from(bytes.len()).unwrap());
                    body.extend_from_slice(bytes);
                }
                None => body.put_i32(-1),
            }
        }
        let mut message = vec![b'D'];
        message.put_i32(i32::try_from(body.len() + LENGTH_BYTES).unwrap());
        message.extend(body);
        message
    }

    async fn read(bytes: &[u8], kept: usize, left: usize) -> Result<Row, WireError> {
        let mut budget = Budget { kept_bytes_max: kept, bytes_left: left };
        match next(&mut &*bytes, &mut budget).await? {
            Incoming::Row(row) => Ok(row),
            Incoming::Other(_) => Err(WireError::Protocol("no row")),
        }
    }

    #[tokio::test]
    async fn a_long_cell_is_cut_and_what_follows_is_still_read_right() {
        // In one piece, and piece by piece.
        for long in [8, 2 * WHOLE_ROW_BYTES_MAX] {
            let message = data_row(&[Some(&vec![b'a'; long]), None, Some(b"xy"), Some(b"")]);
            let row = read(&message, 3, usize::MAX).await.unwrap();
            assert_eq!(row[0], Some(Cell { text: b"aaa".to_vec(), bytes: long }));
            assert_eq!(row[1], None);
            assert_eq!(row[2], Some(Cell { text: b"xy".to_vec(), bytes: 2 }));
            assert_eq!(row[3], Some(Cell { text: vec![], bytes: 0 }));
        }
    }

    #[tokio::test]
    async fn a_row_over_the_budget_is_refused_before_it_is_read() {
        let message = data_row(&[Some(&[b'x'; 100])]);
        assert!(matches!(read(&message, 10, 50).await, Err(WireError::TooLarge)));
    }

    #[tokio::test]
    async fn a_broken_or_endless_message_is_an_error() {
        for bytes in [&b"D"[..], &[b'D', 0, 0, 0, 1], &[b'Z', 255, 255, 255, 255], &[b'T', 127, 0, 0, 0]] {
            assert!(read(bytes, 10, 1000).await.is_err(), "{bytes:?}");
        }
        // Its values reach beyond its end.
        for body in [&b""[..], &[0], &[0, 1], &[0, 1, 0, 0, 0, 9, b'x'], &[255, 255]] {
            let length = u8::try_from(body.len() + LENGTH_BYTES).unwrap();
            let message = [&[b'D', 0, 0, 0, length], body].concat();
            assert!(matches!(read(&message, 10, 1000).await, Err(WireError::Protocol(_))), "{body:?}");
        }
    }
}
