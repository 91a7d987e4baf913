//! What was asked for objects, held against what they have: a server that does not know Object Lock
//! or encryption takes the object all the same.

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{ServerSideEncryption, StorageClass};
use jiff::{SignedDuration, Timestamp};

use super::S3Store;
use super::request::{lock_mode, of_object, timestamp};
use crate::store::{Lack, StoreError};
use crate::times::{after, before, days, minutes};

/// How far the clocks of this machine and of the server may be apart.
const CLOCKS: SignedDuration = minutes(15);

/// What an object that was written since then lacks of what was asked for.
pub(super) async fn lacks(
    store: &S3Store,
    key: &str,
    since: Timestamp,
) -> Result<Vec<Lack>, StoreError> {
    let asked = &store.settings;
    let none = asked.object_lock.is_none()
        && asked.kms_key_id.is_none()
        && asked.storage_class.is_none()
        && asked.tags.is_empty();
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
    if let Some(lock) = asked.object_lock {
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
    if let Some(key_id) = &asked.kms_key_id {
        let by_kms = matches!(
            head.server_side_encryption(),
            Some(ServerSideEncryption::AwsKms | ServerSideEncryption::AwsKmsDsse)
        );
        let what = match head.ssekms_key_id() {
            _ if !by_kms => "it is not encrypted by a KMS key".to_owned(),
            Some(found) if !same_key(key_id, found) => {
                format!("it is encrypted by {found}, not by {key_id}")
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
    // Not every server says how many there are.
    if let Some(count) = head.tag_count().filter(|_| !asked.tags.is_empty())
        && count as usize != asked.tags.len()
    {
        let asked = asked.tags.len();
        lacks.push(Lack::Tags(format!("it has {count} tags, not {asked}")));
    }
    Ok(lacks)
}

/// The server answers with the key's ARN, whatever name it was asked by; an alias names another.
fn same_key(asked: &str, found: &str) -> bool {
    let id = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
    asked.contains("alias/") || asked == found || id(asked) == id(found)
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
