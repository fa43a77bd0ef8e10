//! Server-sent events, read as they arrive.
//!
//! Frames may be split anywhere, lines may end in LF, CRLF or CR, comments are skipped and the `data` lines
//! of one frame are joined. `id` and `retry` are not kept: a model's reply cannot be resumed.

use std::mem;

/// The largest frame, in bytes: room for a whole tool call or image in one event.
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One frame with data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The `event` field; empty where there was none.
    pub event: String,
    pub data: String,
}

/// The frame is larger than [`FRAME_BYTES_MAX`], or is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    #[error("a frame is too large")]
    TooLarge,
    #[error("a frame is not UTF-8")]
    NotUtf8,
}

/// Splits bytes into frames.
#[derive(Debug, Default)]
pub struct SseReader {
    line: Vec<u8>,
    event: String,
    data: String,
    has_data: bool,
    after_cr: bool,
    past_start: bool,
}

impl SseReader {
    /// Reads more bytes; frames that became complete are added to `frames`.
    pub fn push(&mut self, bytes: &[u8], frames: &mut Vec<Frame>) -> Result<(), SseError> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let is_second_half = mem::take(&mut self.after_cr) && end == 0 && rest[0] == b'\n';
            self.after_cr = rest[end] == b'\r';
            if !is_second_half {
                self.extend_line(&rest[..end])?;
                self.end_line(frames)?;
            }
            rest = &rest[end + 1..];
        }
        if !rest.is_empty() {
            self.after_cr = false;
        }
        self.extend_line(rest)
    }

    /// No more bytes will come. A last frame without its blank line still counts.
    pub fn end(&mut self, frames: &mut Vec<Frame>) -> Result<(), SseError> {
        if !self.line.is_empty() {
            self.end_line(frames)?;
        }
        self.end_frame(frames);
        Ok(())
    }

    fn extend_line(&mut self, bytes: &[u8]) -> Result<(), SseError> {
        if self.line.len() + self.data.len() + bytes.len() > FRAME_BYTES_MAX {
            return Err(SseError::TooLarge);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self, frames: &mut Vec<Frame>) -> Result<(), SseError> {
        let line = mem::take(&mut self.line);
        let line = str::from_utf8(&line).map_err(|_| SseError::NotUtf8)?;
        let line = if mem::replace(&mut self.past_start, true) {
            line
        } else {
            line.strip_prefix('\u{feff}').unwrap_or(line)
        };
        if line.is_empty() {
            self.end_frame(frames);
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            "event" => value.clone_into(&mut self.event),
            _ => {}
        }
        Ok(())
    }

    fn end_frame(&mut self, frames: &mut Vec<Frame>) {
        let event = mem::take(&mut self.event);
        let data = mem::take(&mut self.data);
        if mem::take(&mut self.has_data) {
            frames.push(Frame { event, data });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(chunks: &[&[u8]]) -> Result<Vec<(String, String)>, SseError> {
        let (mut reader, mut frames) = (SseReader::default(), Vec::new());
        for chunk in chunks {
            reader.push(chunk, &mut frames)?;
        }
        reader.end(&mut frames)?;
        Ok(frames.into_iter().map(|frame| (frame.event, frame.data)).collect())
    }

    const SAMPLE: &str = "\u{feff}: hello\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\nevent: error\ndata:é\n\n: ping\n\n\rdata: x\r\rdata: last";

    #[test]
    fn lines_comments_and_joined_data_are_read_as_the_standard_says() {
        let frames = read(&[SAMPLE.as_bytes()]).unwrap();
        let expected = [("", "{\"a\":\n1}"), ("error", "é"), ("", "x"), ("", "last")];
        assert_eq!(frames, expected.map(|(event, data)| (event.to_owned(), data.to_owned())));
    }

    #[test]
    fn a_frame_that_never_ends_is_refused() {
        let piece = vec![b'x'; FRAME_BYTES_MAX / 2];
        assert_eq!(read(&[b"data: ", &piece, &piece, &piece]), Err(SseError::TooLarge));
        let line = [b"data: ".as_slice(), &piece, b"\n"].concat();
        assert_eq!(read(&[&line, &line, &line]), Err(SseError::TooLarge));
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_the_bytes_are_split(mut cuts in prop::collection::vec(0..SAMPLE.len(), 0..6)) {
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut start = 0;
            for cut in cuts {
                chunks.push(&SAMPLE.as_bytes()[start..cut]);
                start = cut;
            }
            chunks.push(&SAMPLE.as_bytes()[start..]);
            prop_assert_eq!(read(&chunks), read(&[SAMPLE.as_bytes()]));
        }
    }
}
