//! Compares the configured properties with those of an object: a server without support for Object Lock or encryption
//! still accepts the object.

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{ServerSideEncryption, StorageClass};
use jiff::{SignedDuration, Timestamp};

use super::S3Store;
use super::request::{lock_mode, of_object, timestamp};
use crate::store::{Lack, StoreError};
use crate::util::times::{after, before, days, minutes};

/// Tolerated difference between the clocks of this machine and of the server.
const CLOCKS: SignedDuration = minutes(15);

/// Configured properties that an object written after `since` does not have.
pub(super) async fn lacks(
    store: &S3Store,
    key: &str,
    since: Timestamp,
) -> Result<Vec<Lack>, StoreError> {
    let wanted = &store.settings;
    let none = wanted.object_lock.is_none()
        && wanted.kms_key_id.is_none()
        && wanted.storage_class.is_none()
        && wanted.tags.is_empty();
    if none {
        return Ok(Vec::new());
    }
    let request = store.client.head_object().bucket(&store.bucket);
    let request = request.key(store.name(key));
    let head = store.ask(
        "head",
        key,
        || request.clone().send(),
        |head| {
            of_object(head, |head: &HeadObjectOutput| {
                (head.last_modified(), head.content_type())
            })
        },
    );
    let head = head.await?;

    let mut lacks = Vec::new();
    if let Some(lock) = wanted.object_lock {
        let at_least = before(after(since, days(lock.days)), CLOCKS);
        let until = timestamp(head.object_lock_retain_until_date());
        let mode = lock_mode(lock.mode);
        let what = match head.object_lock_mode() {
            None => "it has no retention".to_owned(),
            Some(found) if *found != mode => {
                format!("its retention is {found}, not {mode}")
            }
            Some(_) if until < at_least => {
                format!("its retention ends at {until}, before {} days", lock.days)
            }
            Some(_) => String::new(),
        };
        lacks.extend((!what.is_empty()).then_some(Lack::Retention(what)));
    }
    if let Some(key_id) = &wanted.kms_key_id {
        let by_kms = matches!(
            head.server_side_encryption(),
            Some(ServerSideEncryption::AwsKms | ServerSideEncryption::AwsKmsDsse)
        );
        let what = match head.ssekms_key_id() {
            _ if !by_kms => "it is not encrypted with a KMS key".to_owned(),
            Some(found) if !same_key(key_id, found) => {
                format!("it is encrypted with {found}, not with {key_id}")
            }
            _ => String::new(),
        };
        lacks.extend((!what.is_empty()).then_some(Lack::Encryption(what)));
    }
    if let Some(class) = store.storage_class() {
        let found = head.storage_class().unwrap_or(&StorageClass::Standard);
        if *found != class {
            lacks.push(Lack::StorageClass(format!(
                "its storage class is {found}, not {class}"
            )));
        }
    }
    // Not every server returns the count.
    if let Some(count) = head.tag_count().filter(|_| !wanted.tags.is_empty())
        && count as usize != wanted.tags.len()
    {
        let wanted = wanted.tags.len();
        lacks.push(Lack::Tags(format!("it has {count} tags, not {wanted}")));
    }
    Ok(lacks)
}

/// Whether `found` may be the wanted key. The server returns the ARN of the key; the key of an alias is unknown.
fn same_key(wanted: &str, found: &str) -> bool {
    let id = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
    wanted.contains("alias/") || wanted == found || id(wanted) == id(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_same_by_its_id_and_by_its_arn() {
        let arn = "arn:aws:kms:eu-west-1:1:key/abc";
        assert!(same_key("abc", arn) && same_key(arn, arn) && same_key("alias/x", arn));
        assert!(!same_key("abd", arn) && !same_key("arn:aws:kms:eu-west-1:1:key/abd", arn));
    }
}
