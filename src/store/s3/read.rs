//! Reads objects or ranges, and retries if the body is cut short: the SDK retries requests, but not reading a
//! response body.

use std::ops::Range;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use bytes::{Bytes, BytesMut};

use super::S3Store;
use super::failure::chain;
use super::request::{Attempts, of_object};
use crate::store::{Store, StoreError, check_range};

/// Maximum memory allocated by the announced length, before the data arrive.
const MOST_RESERVED: u64 = 64 << 20;

/// Failure of one attempt to read.
enum Unread {
    /// Another attempt may succeed.
    Broken(StoreError),
    /// Another attempt would fail, too.
    Final(StoreError),
}

/// Reads an object, or exactly a range of it; `TooLong` if it has more than `most` bytes.
pub(super) async fn get(
    store: &S3Store,
    key: &str,
    range: Option<Range<u64>>,
    most: Option<u64>,
) -> Result<Bytes, StoreError> {
    if let Some(range) = range.as_ref().filter(|range| range.start >= range.end) {
        // HTTP has no empty ranges.
        check_range(key, range, store.head(key).await?.size)?;
        return Ok(Bytes::new());
    }
    let mut attempts = Attempts::new(&store.settings);
    loop {
        match read(store, key, range.as_ref(), most).await {
            Ok(body) => return Ok(body),
            Err(Unread::Broken(_)) if attempts.again(None).await => {}
            Err(Unread::Broken(error) | Unread::Final(error)) => return Err(error),
        }
    }
}

async fn read(
    store: &S3Store,
    key: &str,
    range: Option<&Range<u64>>,
    most: Option<u64>,
) -> Result<Bytes, Unread> {
    let failed = |why: String| StoreError::Failed {
        action: "get",
        key: store.place(key),
        why: format!("{}: {why}", store.endpoint),
    };
    let header = range.map(|range| format!("bytes={}-{}", range.start, range.end - 1));
    let request = store.client.get_object().bucket(&store.bucket);
    let request = request.key(store.name(key)).set_range(header);
    let send = || request.clone().send();
    let answer = store.ask("get", key, send, |answer| {
        of_object(answer, |answer: &GetObjectOutput| {
            (answer.last_modified(), answer.content_type())
        })
    });
    let answer = answer.await.map_err(Unread::Final)?;

    let length = answer.content_length().and_then(|n| u64::try_from(n).ok());
    let wanted = range.map_or(length, |range| Some(range.end - range.start));
    if length != wanted {
        // The range extends beyond the end, or the server does not support ranges.
        let (wanted, length) = (wanted.unwrap_or_default(), length.unwrap_or_default());
        let why = format!("{length} bytes instead of the requested {wanted}");
        return Err(Unread::Final(failed(why)));
    }
    if let (Some(bytes), Some(most)) = (length, most)
        && bytes > most
    {
        let key = store.place(key);
        return Err(Unread::Final(StoreError::TooLong { key, bytes, most }));
    }
    let patience = store.settings.operation_timeout_seconds.duration();
    match tokio::time::timeout(patience, collect(answer, wanted, most)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(why)) => Err(Unread::Broken(failed(why))),
        Err(_) => Err(Unread::Final(failed(format!(
            "not read within {patience:?}"
        )))),
    }
}

/// Reads a body of the announced size; without one, of at most `most` bytes.
async fn collect(
    mut answer: GetObjectOutput,
    wanted: Option<u64>,
    most: Option<u64>,
) -> Result<Bytes, String> {
    let reserved = wanted.unwrap_or(0).min(MOST_RESERVED);
    let mut body = BytesMut::with_capacity(reserved as usize);
    while let Some(chunk) = answer.body.next().await {
        body.extend_from_slice(&chunk.map_err(|error| chain(&error))?);
        if let Some(most) = wanted.or(most)
            && body.len() as u64 > most
        {
            return Err(format!("the response has more than {most} bytes"));
        }
    }
    match wanted {
        Some(wanted) if body.len() as u64 != wanted => Err(format!(
            "the response ended after {} of {wanted} bytes",
            body.len()
        )),
        _ => Ok(body.freeze()),
    }
}
