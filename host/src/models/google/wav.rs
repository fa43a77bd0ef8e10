//! WAV: a head before samples. What Google's sounds come in, or have to be put into.

use bytes::Bytes;

/// Bits of one sample, and bytes.
const SAMPLE_BITS: u16 = 16;
const SAMPLE_BYTES: u16 = SAMPLE_BITS / 8;
/// How a chunk begins: its name and its length.
const CHUNK_HEAD_BYTES: usize = 8;
/// How a file begins: that it is RIFF, its length, and that it is WAVE.
const FILE_HEAD_BYTES: usize = 12;
/// How long the description of plain samples is.
const FORMAT_BYTES: usize = 16;

/// Whether these bytes begin like a WAV file.
pub(super) fn is_wav(bytes: &[u8]) -> bool {
    matches!(bytes, [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..])
}

/// A WAV file of samples of 16 bits, the lower byte first, in one channel.
pub(super) fn with_head(samples: &[u8], rate: u32) -> Bytes {
    let length = u32::try_from(samples.len()).unwrap_or(u32::MAX);
    let heads = FILE_HEAD_BYTES - CHUNK_HEAD_BYTES + CHUNK_HEAD_BYTES + FORMAT_BYTES + CHUNK_HEAD_BYTES;
    let all = length.saturating_add(heads as u32);
    let mut file = Vec::with_capacity(CHUNK_HEAD_BYTES + heads + samples.len());
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&all.to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    file.extend_from_slice(&(FORMAT_BYTES as u32).to_le_bytes());
    file.extend_from_slice(&format_of(rate));
    file.extend_from_slice(b"data");
    file.extend_from_slice(&length.to_le_bytes());
    file.extend_from_slice(samples);
    file.into()
}

/// The samples of a WAV file, where they are plain ones of 16 bits in one channel at this rate.
pub(super) fn samples(wav: &Bytes, rate: u32) -> Option<Bytes> {
    let mut at = FILE_HEAD_BYTES;
    let mut is_plain = false;
    loop {
        let inside = at + CHUNK_HEAD_BYTES;
        let (name, length) = wav.get(at..inside)?.split_at(4);
        let length = usize::try_from(u32::from_le_bytes(length.try_into().ok()?)).ok()?;
        let end = inside.checked_add(length)?;
        match name {
            b"fmt " => is_plain = wav.get(inside..inside + FORMAT_BYTES)? == format_of(rate),
            // Who begins to write before it knows how long it gets says the most there is.
            b"data" => return is_plain.then(|| wav.slice(inside..end.min(wav.len()))),
            _ => {}
        }
        at = end.checked_add(length % 2)?;
    }
}

/// Plain samples, one channel, so many a second, and what follows from that.
fn format_of(rate: u32) -> [u8; FORMAT_BYTES] {
    let mut format = [0; FORMAT_BYTES];
    format[0..2].copy_from_slice(&1_u16.to_le_bytes());
    format[2..4].copy_from_slice(&1_u16.to_le_bytes());
    format[4..8].copy_from_slice(&rate.to_le_bytes());
    format[8..12].copy_from_slice(&rate.saturating_mul(u32::from(SAMPLE_BYTES)).to_le_bytes());
    format[12..14].copy_from_slice(&SAMPLE_BYTES.to_le_bytes());
    format[14..16].copy_from_slice(&SAMPLE_BITS.to_le_bytes());
    format
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_what_the_samples_are_and_they_are_found_behind_it() {
        let file = with_head(&[1, 2, 3, 4], 24_000);
        assert_eq!(
            &file[..],
            b"RIFF\x28\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\xc0\x5d\0\0\x80\xbb\0\0\x02\0\x10\0data\x04\0\0\0\x01\x02\x03\x04"
        );
        assert!(is_wav(&file));
        assert_eq!(samples(&file, 24_000).unwrap(), &[1, 2, 3, 4][..]);
        assert_eq!(samples(&file, 16_000), None, "another rate is another sound");
        // Other chunks are passed over, an odd one with its filler; a length that was not known is the rest.
        let other = [&file[..36], b"LIST\x03\0\0\0abc\0data\xff\xff\xff\xff\x05\x06"].concat();
        assert_eq!(samples(&Bytes::from(other), 24_000).unwrap(), &[5, 6][..]);
    }

    #[test]
    fn what_is_broken_off_or_none_has_no_samples() {
        let file = with_head(&[1, 2], 24_000);
        for length in 0..43 {
            assert_eq!(samples(&file.slice(..length), 24_000), None, "{length}");
        }
        assert!(!is_wav(b"RIFF\0\0\0\0WEBP") && !is_wav(b""));
        let endless = [&file[..12], b"junk\xff\xff\xff\xff"].concat();
        assert_eq!(samples(&Bytes::from(endless), 24_000), None);
    }
}
