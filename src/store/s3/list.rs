//! Listing: every page, in order, and never a list that was cut off. One that ends early would
//! make backups vanish.

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;

use super::S3Store;
use super::request::timestamp;
use crate::store::{ObjectMeta, StoreError};

/// Every object whose name begins with `prefix`, sorted.
pub(super) async fn objects(store: &S3Store, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
    let mut objects = Vec::new();
    for page in pages(store, prefix).await? {
        for object in page.contents() {
            // Consoles make empty objects called `dir/`, which are no objects of ours.
            let Some(key) = store.key(object.key()).filter(|key| !key.ends_with('/')) else {
                continue;
            };
            let size = object.size().and_then(|size| u64::try_from(size).ok());
            objects.push(ObjectMeta {
                key: key.into(),
                size: size.ok_or_else(|| failed(store, prefix, "an object without a size"))?,
                modified: timestamp(object.last_modified()),
                crc64nvme: None,
            });
        }
    }
    // Not every server lists by bytes.
    objects.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(objects)
}

async fn pages(store: &S3Store, prefix: &str) -> Result<Vec<ListObjectsV2Output>, StoreError> {
    let request = store.client.list_objects_v2().bucket(&store.bucket);
    let request = request.prefix(store.name(prefix));
    let mut pages: Vec<ListObjectsV2Output> = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let request = request.clone().set_continuation_token(token.clone());
        let page = store.ask("list", prefix, || request.clone().send(), whole);
        let page = page.await?;
        let next = page.next_continuation_token().map(str::to_owned);
        let more = page.is_truncated() == Some(true);
        pages.push(page);
        if !more {
            return Ok(pages);
        }
        if next.as_deref().unwrap_or_default().is_empty() || next == token {
            return Err(failed(
                store,
                prefix,
                "the list is cut off without a next page",
            ));
        }
        token = next;
    }
}

/// A page that was cut off on its way may be read as a shorter one.
fn whole(page: ListObjectsV2Output) -> Result<ListObjectsV2Output, &'static str> {
    let listed = page.contents().len() + page.common_prefixes().len();
    let cut = page
        .key_count()
        .is_some_and(|count| usize::try_from(count).is_ok_and(|count| count > listed));
    match page.is_truncated() {
        Some(_) if !cut => Ok(page),
        _ => Err("a list that is cut off"),
    }
}

fn failed(store: &S3Store, prefix: &str, why: &str) -> StoreError {
    StoreError::Failed {
        action: "list",
        key: store.place(prefix),
        why: format!("{}: {why}", store.endpoint),
    }
}
