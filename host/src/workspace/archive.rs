//! A workspace as a ZIP archive (row M283), made piece by piece as somebody reads it.
//!
//! Between two pieces nothing runs and no thread waits: who reads slowly keeps nobody waiting, and who goes away ends
//! it. The list of files is that of the beginning; each file is as it is when its turn comes, and one that is gone by
//! then is left out. Names are the workspace's paths, which lead nowhere in any system.

use super::{
    Entry, Path, Space, WorkspaceError,
    space::{Kind, next_piece},
};
use crate::limits::{WORKSPACE_BYTES_MAX, WORKSPACE_FILE_BYTES_MAX};
use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};
use zip::{
    CompressionMethod, ZipWriter,
    write::{SimpleFileOptions, StreamWriter},
};

/// What is made at once, of bytes that are sent.
const PIECE_BYTES: usize = 256 << 10;

/// An archive in the making.
pub struct Archive {
    /// None: nothing was ever written, and nothing is in it.
    space: Option<Arc<Space>>,
    /// None once it is whole.
    zip: Option<ZipWriter<StreamWriter<Buffer>>>,
    buffer: Buffer,
    entries: std::vec::IntoIter<Entry>,
    /// The file that is being read, and how much of it may still come.
    reading: Option<(cap_std::fs::File, u64)>,
}

impl Archive {
    /// Looks at what is to go in.
    ///
    /// # Errors
    /// Where that is more than a session may have.
    pub fn begin(space: Option<Arc<Space>>) -> Result<Archive, WorkspaceError> {
        let entries = match space.as_ref().map(|space| space.everything(&Path::default())).transpose() {
            Err(WorkspaceError::TooMany) => return Err(WorkspaceError::TooMuch),
            entries => entries?.unwrap_or_default(),
        };
        let bytes = entries.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.size));
        if bytes > WORKSPACE_BYTES_MAX || entries.iter().any(|entry| entry.size > WORKSPACE_FILE_BYTES_MAX) {
            return Err(WorkspaceError::TooMuch);
        }
        let buffer = Buffer::default();
        Ok(Archive {
            space,
            zip: Some(ZipWriter::new_stream(buffer.clone())),
            buffer,
            entries: entries.into_iter(),
            reading: None,
        })
    }

    /// The next piece; none after the last.
    ///
    /// # Errors
    /// The disk's.
    pub fn piece(&mut self) -> Result<Option<Vec<u8>>, WorkspaceError> {
        while self.buffer.len() < PIECE_BYTES && self.zip.is_some() {
            self.step()?;
        }
        let piece = self.buffer.take();
        Ok((!piece.is_empty()).then_some(piece))
    }

    fn step(&mut self) -> Result<(), WorkspaceError> {
        let Some(zip) = &mut self.zip else { return Ok(()) };
        if let Some((mut file, left)) = self.reading.take() {
            let piece = next_piece(&mut file, left)?;
            zip.write_all(&piece)?;
            if !piece.is_empty() {
                self.reading = Some((file, left - piece.len() as u64));
            }
            return Ok(());
        }
        match self.entries.next() {
            Some(entry) if entry.kind == Kind::Directory => {
                zip.add_directory(entry.path, options()).map_err(io::Error::from)?;
            }
            Some(entry) => {
                let path = Path::parse_inside(&entry.path)?;
                match self.space.as_ref().map(|space| space.read(&path)) {
                    Some(Ok((file, _))) => {
                        zip.start_file(entry.path, options()).map_err(io::Error::from)?;
                        self.reading = Some((file, WORKSPACE_FILE_BYTES_MAX));
                    }
                    Some(Err(WorkspaceError::Io(cause))) => return Err(cause.into()),
                    Some(Err(_)) | None => {}
                }
            }
            None => {
                if let Some(zip) = self.zip.take() {
                    zip.finish().map_err(io::Error::from)?;
                }
            }
        }
        Ok(())
    }
}

fn options() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Deflated)
}

/// What was made and not yet sent.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn len(&self) -> usize {
        self.lock().len()
    }

    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.lock())
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
