//! Lists the objects of all backups, several parts of a long list at once.
//!
//! S3 lists in pages, and the token of a page is in the one before it. But a list can begin behind any name, and those of
//! backups begin with a time: whenever another part may be read, the part with the most pages left is cut in the middle
//! of its time. How many pages are left is a guess, from the time that the last page covered: it costs a request where
//! it is wrong, and no object. A list of one page is one request.

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;

use super::S3Store;
use super::list::{self, Narrowed, Pages};
use crate::layout::{Key, TargetName};
use crate::store::{ObjectMeta, StoreError};

/// Number of parts that are read at once.
const AT_ONCE: usize = 8;

/// Maximum number of parts of a list: each of them may cost one request more than its objects need.
const PARTS: usize = 16;

/// Number of pages that a part has left, by the guess, when it is cut.
const WORTH_CUTTING: i64 = 2;

/// All objects below one of the prefixes of the backups of a target, sorted by name.
pub(super) async fn of_backups(
    store: &S3Store,
    target: &TargetName,
    prefix: &str,
) -> Result<Vec<ObjectMeta>, StoreError> {
    let now = Timestamp::now().as_second();
    let mut parts = vec![Part::new(store, prefix, now)];
    let mut reads = FuturesUnordered::new();
    reads.push(parts[0].read(store, prefix, 0));
    while let Some((number, page)) = reads.next().await {
        let part = &mut parts[number];
        match part.take(target, page?)? {
            Taken::Last => {}
            Taken::More => reads.push(part.read(store, prefix, number)),
            Taken::Unsorted => return list::objects(store, prefix, None).await,
        }
        while reads.len() < AT_ONCE && parts.len() < PARTS {
            let Some(new) = cut(store, target, prefix, &mut parts) else {
                break;
            };
            reads.push(new.read(store, prefix, parts.len()));
            parts.push(new);
        }
    }
    // In the order in which they were cut, not in that of their names.
    parts.sort_by(|one, other| one.after.cmp(&other.after));
    let objects = parts.into_iter().flat_map(|part| part.objects);
    Ok(objects
        .filter_map(|object| list::in_store(store, object))
        .collect())
}

/// Cuts the part that has the most pages left; `None` if none has many.
fn cut<'a>(
    store: &'a S3Store,
    target: &TargetName,
    prefix: &'a str,
    parts: &mut [Part<'a>],
) -> Option<Part<'a>> {
    let longest = parts.iter_mut().max_by_key(|part| part.pages_left())?;
    if longest.pages_left() < WORTH_CUTTING {
        return None;
    }
    let middle = longest.second + (longest.end - longest.second) / 2;
    let name = target.backups_since(middle)?;
    let mut new = Part::new(store, prefix, longest.end);
    new.until = longest.until.replace(name.clone());
    new.after = Some(name);
    new.second = middle;
    new.page_seconds = longest.page_seconds;
    longest.end = middle;
    Some(new)
}

/// A part of a list: the objects whose name is greater than `after`, and not greater than `until`.
struct Part<'a> {
    after: Option<Key>,
    until: Option<Key>,
    /// The second up to which it has been read, and the one in which it ends.
    second: i64,
    end: i64,
    /// The seconds that its last page covered, or one of the part that it was cut from; `None` before the first page.
    page_seconds: Option<i64>,
    /// Token of the next page.
    token: Option<String>,
    /// Whether all of it has been read.
    is_read: bool,
    /// What has been read, by names in the bucket.
    objects: Vec<ObjectMeta>,
    pages: Pages<'a>,
}

/// What a page means to its part.
enum Taken {
    /// There are more.
    More,
    /// It is the last.
    Last,
    /// The server does not sort by bytes, or does not begin where it should: a part of its list means nothing.
    Unsorted,
}

impl<'a> Part<'a> {
    fn new(store: &'a S3Store, prefix: &'a str, end: i64) -> Part<'a> {
        Part {
            after: None,
            until: None,
            second: end,
            end,
            page_seconds: None,
            token: None,
            is_read: false,
            objects: Vec::new(),
            pages: Pages::new(store, "list", prefix),
        }
    }

    /// Reads the next page; `number` is that of the part.
    fn read(
        &self,
        store: &'a S3Store,
        prefix: &'a str,
        number: usize,
    ) -> impl Future<Output = (usize, Result<ListObjectsV2Output, StoreError>)> + use<'a> {
        let (after, token) = (self.after.clone(), self.token.clone());
        async move {
            let narrowed = Narrowed::After(after.as_deref());
            (number, list::page(store, prefix, narrowed, token).await)
        }
    }

    fn take(
        &mut self,
        target: &TargetName,
        page: ListObjectsV2Output,
    ) -> Result<Taken, StoreError> {
        let store = self.pages.store();
        let (before, listed) = (self.objects.len(), page.contents().len());
        let bound = |key: &Option<Key>| key.as_ref().map(|key| store.name(key));
        let (after, until) = (bound(&self.after), bound(&self.until));
        self.objects.extend(self.pages.objects(&page)?);
        let last = self.objects[..before].last();
        let behind = last.map(|object| object.key.as_str()).or(after.as_deref());
        let news = &self.objects[before..];
        let is_sorted = news.is_sorted_by(|one, next| one.key < next.key);
        let begins = news.first().map(|object| object.key.as_str());
        if !is_sorted || begins.is_some_and(|first| behind.is_some_and(|behind| first <= behind)) {
            return Ok(Taken::Unsorted);
        }
        self.measure(target, before);
        if let Some(until) = until {
            let inside = self.objects.partition_point(|object| object.key <= until);
            self.is_read = inside < self.objects.len();
            self.objects.truncate(inside);
        }
        self.is_read |= page.is_truncated() != Some(true);
        if self.is_read {
            return Ok(Taken::Last);
        }
        self.token = page.next_continuation_token;
        self.pages
            .turn(self.token.as_deref().unwrap_or_default(), listed, listed)?;
        Ok(Taken::More)
    }

    /// Notes the time that a page covers, whose objects begin at `first`.
    fn measure(&mut self, target: &TargetName, first: usize) {
        let second = |object: &ObjectMeta| {
            let key = self.pages.store().key(Some(&object.key))?;
            target.second_of(key)
        };
        let news = &self.objects[first..];
        let ends = news
            .first()
            .and_then(second)
            .zip(news.last().and_then(second));
        if let Some((first, last)) = ends {
            self.page_seconds = Some((last - first).max(1));
            self.second = last;
        }
    }

    /// The number of pages that are left, by the last one.
    fn pages_left(&self) -> i64 {
        match self.page_seconds {
            Some(seconds) if !self.is_read => (self.end - self.second) / seconds,
            _ => 0,
        }
    }
}
