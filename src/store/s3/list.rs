//! Lists objects: all pages, sorted. A truncated list is an error: backups would be missing from it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_s3::config::interceptors::AfterDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;

use super::S3Store;
use super::request::timestamp;
use crate::store::{ObjectMeta, StoreError};
use crate::util::times::instant_in;

/// All objects whose name begins with `prefix` and is greater than `after`, sorted.
pub(super) async fn objects(
    store: &S3Store,
    prefix: &str,
    after: Option<&str>,
) -> Result<Vec<ObjectMeta>, StoreError> {
    // Not every server sorts by bytes.
    let mut objects = BTreeMap::new();
    let mut pages = Pages::new(store, "list", prefix);
    let mut token: Option<String> = None;
    loop {
        let page = page(store, prefix, Narrowed::After(after), token.clone()).await?;
        let (listed, before) = (page.contents().len(), objects.len());
        for object in pages.objects(&page)? {
            objects.insert(object.key.clone(), object);
        }
        if page.is_truncated() != Some(true) {
            break;
        }
        token = page.next_continuation_token;
        let news = objects.len() - before;
        pages.turn(token.as_deref().unwrap_or_default(), listed, news)?;
    }
    let objects = objects.into_values();
    let objects = objects.filter_map(|object| in_store(store, object));
    // Not every server knows start-after.
    let objects = objects.filter(|object| after.is_none_or(|after| object.key.as_str() > after));
    Ok(objects.collect())
}

/// A listed object by its name below the root of the store; `None` if it is none.
pub(super) fn in_store(store: &S3Store, mut object: ObjectMeta) -> Option<ObjectMeta> {
    // Web consoles create empty objects named `dir/`.
    let key = store.key(Some(&object.key));
    object.key = key.filter(|key| !key.ends_with('/'))?.to_owned();
    Some(object)
}

/// Names of the folders directly below `prefix`, sorted.
pub(super) async fn folders(store: &S3Store, prefix: &str) -> Result<Vec<String>, StoreError> {
    let mut folders = BTreeSet::new();
    let mut pages = Pages::new(store, "list", prefix);
    let mut token: Option<String> = None;
    loop {
        let page = page(store, prefix, Narrowed::Folders, token.clone()).await?;
        let before = folders.len();
        for folder in page.common_prefixes() {
            let key = store.key(folder.prefix()).unwrap_or_default();
            let name = key.strip_prefix(prefix).unwrap_or_default();
            folders.extend(name.strip_suffix('/').map(str::to_owned));
        }
        if page.is_truncated() != Some(true) {
            break;
        }
        let objects = page.contents().len();
        let listed = objects + page.common_prefixes().len();
        let news = folders.len() - before + objects;
        token = page.next_continuation_token;
        pages.turn(token.as_deref().unwrap_or_default(), listed, news)?;
    }
    Ok(folders.into_iter().collect())
}

/// What of a list is asked for.
#[derive(Clone, Copy)]
pub(super) enum Narrowed<'a> {
    /// Objects whose name is greater.
    After(Option<&'a str>),
    /// Folders.
    Folders,
}

pub(super) async fn page(
    store: &S3Store,
    prefix: &str,
    narrowed: Narrowed<'_>,
    token: Option<String>,
) -> Result<ListObjectsV2Output, StoreError> {
    let request = store.client.list_objects_v2().bucket(&store.bucket);
    let request = request.prefix(store.name(prefix));
    let request = match narrowed {
        Narrowed::After(after) => request.set_start_after(after.map(|after| store.name(after))),
        Narrowed::Folders => request.delimiter("/"),
    };
    let request = request.set_continuation_token(token);
    let end = WholeDocument::default();
    let send = || request.clone().customize().interceptor(end.clone()).send();
    let page = store.ask("list", prefix, send, |page| {
        if end.came() && is_whole(&page) {
            Ok(page)
        } else {
            Err(CUT_OFF)
        }
    });
    page.await
}

pub(super) const CUT_OFF: &str = "a truncated list";

/// Whether a page contains all entries that it announces.
fn is_whole(page: &ListObjectsV2Output) -> bool {
    let listed = page.contents().len() + page.common_prefixes().len();
    let is_less = |count| usize::try_from(count).is_ok_and(|count| count > listed);
    page.is_truncated().is_some() && !page.key_count().is_some_and(is_less)
}

/// Checks that the XML document of a response is complete: the SDK accepts one that is truncated between two objects.
#[derive(Debug, Clone, Default)]
pub(super) struct WholeDocument(Arc<AtomicBool>);

impl WholeDocument {
    /// Whether the document of the last response was complete.
    pub(super) fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Intercept for WholeDocument {
    fn name(&self) -> &'static str {
        "WholeDocument"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let body = context.response().body().bytes();
        self.0.store(body.is_some_and(is_ended), Ordering::Relaxed);
        Ok(())
    }
}

/// Whether an XML document ends with the closing tag of its root.
fn is_ended(document: &[u8]) -> bool {
    let text = String::from_utf8_lossy(document);
    let root = text
        .split('<')
        .skip(1)
        .find(|tag| !tag.starts_with(['?', '!']));
    let is_end = |c: char| c.is_whitespace() || matches!(c, '>' | '/');
    let root = root.and_then(|tag| tag.split(is_end).next());
    let last = text.trim_end().strip_suffix('>').unwrap_or_default();
    let last = last.rsplit_once("</").map(|(_, name)| name.trim_end());
    root.is_some() && root == last
}

/// Progress through the pages of a list; detects a list that does not end.
pub(super) struct Pages<'a> {
    store: &'a S3Store,
    action: &'static str,
    prefix: &'a str,
    /// Tokens of the pages so far.
    tokens: HashSet<String>,
    /// The list fails if no page has new entries until then. Pages may be empty.
    until: tokio::time::Instant,
}

impl<'a> Pages<'a> {
    pub(super) fn new(store: &'a S3Store, action: &'static str, prefix: &'a str) -> Self {
        Pages {
            store,
            action,
            prefix,
            tokens: HashSet::new(),
            until: instant_in(store.settings.operation_timeout_seconds.duration()),
        }
    }

    pub(super) fn store(&self) -> &'a S3Store {
        self.store
    }

    /// The objects of a page, by their names in the bucket, in the order of the server.
    pub(super) fn objects(
        &self,
        page: &ListObjectsV2Output,
    ) -> Result<Vec<ObjectMeta>, StoreError> {
        let objects = page.contents().iter().map(|object| {
            let size = object.size().and_then(|size| u64::try_from(size).ok());
            let etag = object.e_tag().map(|etag| etag.trim_matches('"').to_owned());
            Ok(ObjectMeta {
                key: object.key().unwrap_or_default().to_owned(),
                size: size.ok_or_else(|| self.failed("an object without a size"))?,
                modified: timestamp(object.last_modified()),
                crc64nvme: None,
                etag: etag.filter(|etag| !etag.is_empty()),
            })
        });
        objects.collect()
    }

    /// Checks a page that is not the last: the token of the next one, the number of entries, and how many of them are
    /// new.
    pub(super) fn turn(
        &mut self,
        token: &str,
        listed: usize,
        news: usize,
    ) -> Result<(), StoreError> {
        if token.is_empty() {
            return Err(self.failed("the list is truncated and has no next page"));
        }
        if !self.tokens.insert(token.to_owned()) || (listed > 0 && news == 0) {
            return Err(self.failed("the list does not end: it returns to an earlier page"));
        }
        let now = tokio::time::Instant::now();
        let patience = self.store.settings.operation_timeout_seconds.duration();
        if news > 0 {
            self.until = instant_in(patience);
        } else if now >= self.until {
            let why = format!("the list does not end: nothing new within {patience:?}");
            return Err(self.failed(&why));
        }
        Ok(())
    }

    pub(super) fn failed(&self, why: &str) -> StoreError {
        StoreError::Failed {
            action: self.action,
            key: self.store.place(self.prefix),
            why: format!("{}: {why}", self.store.endpoint),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_complete_with_the_closing_tag_of_its_root() {
        let whole = "<?xml version=\"1.0\"?>\n<!-- a --><List xmlns=\"x\"><Contents><Key>a</Key></Contents></List>";
        assert!(is_ended(whole.as_bytes()));
        assert!(is_ended(format!("{whole}\r\n ").as_bytes()));
        assert!(is_ended(b"<s3:List><a/></s3:List >"));
        for bytes in 0..whole.len() {
            assert!(!is_ended(&whole.as_bytes()[..bytes]), "{bytes}");
        }
        assert!(!is_ended(b"<List/>") && !is_ended(b"List>") && !is_ended(b"<List></Other>"));
    }
}
