//! Reading objects, whole or by ranges, and again where the body breaks off: the SDK repeats a
//! request, never the reading of its answer.

use std::ops::Range;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use bytes::{Bytes, BytesMut};

use super::S3Store;
use super::failure::chain;
use super::request::{Attempts, of_object};
use crate::store::{Store, StoreError, check_range};

/// Memory that is taken on a server's word before the bytes are there.
const TRUSTED_BYTES: u64 = 64 << 20;

/// How one attempt to read failed.
enum Unread {
    /// Another attempt may do better.
    Broken(StoreError),
    /// It would not.
    Final(StoreError),
}

/// An object's bytes, or exactly a range of them.
pub(super) async fn get(
    store: &S3Store,
    key: &str,
    range: Option<Range<u64>>,
) -> Result<Bytes, StoreError> {
    if let Some(range) = range.as_ref().filter(|range| range.start >= range.end) {
        // HTTP has no words for an empty range.
        check_range(key, range, store.head(key).await?.size)?;
        return Ok(Bytes::new());
    }
    let mut attempts = Attempts::new(&store.settings);
    loop {
        match read(store, key, range.as_ref()).await {
            Ok(body) => return Ok(body),
            Err(Unread::Broken(_)) if attempts.again(None).await => {}
            Err(Unread::Broken(error) | Unread::Final(error)) => return Err(error),
        }
    }
}

async fn read(store: &S3Store, key: &str, range: Option<&Range<u64>>) -> Result<Bytes, Unread> {
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
        // The range reaches past the end, or the server knows no ranges.
        let (wanted, length) = (wanted.unwrap_or_default(), length.unwrap_or_default());
        let why = format!("{length} bytes where {wanted} were asked for");
        return Err(Unread::Final(failed(why)));
    }
    let patience = store.settings.operation_timeout();
    match tokio::time::timeout(patience, collect(answer, wanted)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(why)) => Err(Unread::Broken(failed(why))),
        Err(_) => Err(Unread::Final(failed(format!(
            "not read within {patience:?}"
        )))),
    }
}

/// Reads a body into one piece of memory, of the size that was announced.
async fn collect(mut answer: GetObjectOutput, wanted: Option<u64>) -> Result<Bytes, String> {
    let trusted = wanted.unwrap_or(0).min(TRUSTED_BYTES);
    let mut body = BytesMut::with_capacity(trusted as usize);
    while let Some(chunk) = answer.body.next().await {
        body.extend_from_slice(&chunk.map_err(|error| chain(&error))?);
    }
    match wanted {
        Some(wanted) if body.len() as u64 != wanted => Err(format!(
            "the answer ended after {} bytes of {wanted}",
            body.len()
        )),
        _ => Ok(body.freeze()),
    }
}
