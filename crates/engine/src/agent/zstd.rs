//! Zstandard around streams, in bounded memory whoever made them. It must not know what is compressed.

use async_compression::{
    Level,
    tokio::bufread::{ZstdDecoder, ZstdEncoder},
    zstd::{CParameter, DParameter},
};
use tokio::io::{AsyncBufRead, AsyncRead};

use super::limit::Limited;

/// The best of what costs less than the network: zstd's own default.
const LEVEL: i32 = 3;
/// How far back a frame may refer, as a power of two: 8 MiB, what a decoder should support (RFC 8878) and
/// all levels but the `--ultra` ones stay within. A frame that asks for more is refused before memory is
/// taken for it.
const WINDOW_LOG_MAX: u32 = 23;

/// Compresses into one frame with a checksum.
pub(crate) fn compress(content: impl AsyncBufRead + Unpin) -> impl AsyncRead + Unpin {
    ZstdEncoder::with_quality_and_params(content, Level::Precise(LEVEL), &[CParameter::checksum_flag(true)])
}

/// Decompresses one frame or several, to `bytes_max` bytes at most. What is damaged or cut off is an error.
pub(crate) fn decompress(content: impl AsyncBufRead + Unpin, bytes_max: u64) -> impl AsyncRead + Unpin {
    let mut decoder = ZstdDecoder::with_params(content, &[DParameter::window_log_max(WINDOW_LOG_MAX)]);
    decoder.multiple_members(true);
    Limited::new(decoder, bytes_max)
}

#[cfg(test)]
mod tests {
    use std::io;

    use tokio::io::{AsyncReadExt, BufReader};

    use super::*;
    use crate::agent::limit::TooLarge;

    async fn read(mut from: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).await?;
        Ok(bytes)
    }

    fn content() -> Vec<u8> {
        (0..300_000_u32).flat_map(|number| (number.wrapping_mul(2_654_435_761) >> 12).to_le_bytes()).collect()
    }

    #[tokio::test]
    async fn content_survives_a_round_trip() {
        for content in [Vec::new(), b"x".to_vec(), content()] {
            let compressed = read(compress(&content[..])).await.unwrap();
            let length = content.len() as u64;
            assert!(read(decompress(&compressed[..], length)).await.unwrap() == content);
            let twice = [&compressed[..], &compressed].concat();
            assert!(read(decompress(&twice[..], 2 * length)).await.unwrap() == content.repeat(2));
        }
    }

    #[tokio::test]
    async fn a_bomb_ends_at_its_limit() {
        let zeros = BufReader::new(tokio::io::repeat(0).take(100 << 20));
        let bomb = read(compress(zeros)).await.unwrap();
        assert!(bomb.len() < 20_000);
        let mut decompressed = decompress(&bomb[..], 1 << 20);
        let mut length = 0;
        let mut buffer = vec![0; 4096];
        let error = loop {
            match decompressed.read(&mut buffer).await {
                Ok(read) => length += read,
                Err(error) => break error,
            }
        };
        assert!(error.get_ref().unwrap().is::<TooLarge>(), "{error:?}");
        assert_eq!(length, 1 << 20);
    }

    #[tokio::test]
    async fn a_window_that_takes_much_memory_is_refused() {
        let content = content();
        let compress_within = |window_log| {
            let params = [CParameter::window_log(window_log)];
            read(ZstdEncoder::with_quality_and_params(&content[..], Level::Precise(1), &params))
        };
        let fits = compress_within(WINDOW_LOG_MAX).await.unwrap();
        assert!(read(decompress(&fits[..], u64::MAX)).await.unwrap() == content);
        let over = compress_within(WINDOW_LOG_MAX + 1).await.unwrap();
        assert!(read(decompress(&over[..], u64::MAX)).await.is_err());
        // A header alone that asks for 3.75 TiB.
        let header = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff, 0, 0, 0];
        assert!(read(decompress(&header[..], u64::MAX)).await.is_err());
    }

    #[tokio::test]
    async fn what_is_damaged_or_cut_off_is_an_error() {
        let compressed = read(compress(&content()[..])).await.unwrap();
        for length in [1, 5, 1000, compressed.len() - 1] {
            assert!(read(decompress(&compressed[..length], u64::MAX)).await.is_err(), "{length}");
        }
        let mut flipped = compressed.clone();
        flipped[compressed.len() / 2] ^= 1;
        assert!(read(decompress(&flipped[..], u64::MAX)).await.is_err());
        let trailing = [&compressed[..], b"more"].concat();
        assert!(read(decompress(&trailing[..], u64::MAX)).await.is_err());
    }
}
