//! Verifies `SHA256SUMS` and `RESTORE.txt`. drctl does not use them, but a restore without drctl does.

use bytes::Bytes;

use crate::archive::manifest::FileFacts;
use crate::archive::read::Archive;
use crate::archive::write::commit::sha256sums;
use crate::layout::BackupObject;
use crate::store::StoreError;
use crate::util::error::{Error, Result};

/// Maximum size of a document in bytes. `SHA256SUMS` has a line for each of up to a thousand segments, and
/// `RESTORE.txt` statements for each table that needs session settings of its own.
const MAX_BYTES: u64 = 32 << 20;

impl Archive {
    /// Checks that `SHA256SUMS` agrees with the manifest, and `RESTORE.txt` with both.
    pub async fn check_documents(&self) -> Result<()> {
        let manifest = self.manifest();
        let readme = BackupObject::Readme;
        let encrypted = readme.clone().encrypted();
        let mut same = true;
        // Older versions did not record it in the manifest.
        let mut unrecorded = None;
        match manifest.documents.as_slice() {
            [] => unrecorded = Some(self.digested(&readme).await?),
            recorded => {
                for (object, facts) in [&readme, &encrypted].into_iter().zip(recorded) {
                    let found = self.digested(object).await?;
                    same &= (&found.name, &found.sha256) == (&facts.name, &facts.sha256);
                }
                same &= recorded.len() <= 2;
            }
        }
        let sums = self.document(&BackupObject::Sums).await?;
        if same && sums == sha256sums(manifest.files().chain(&unrecorded)) {
            return Ok(());
        }
        Err(Error::archive(format!(
            "{} was edited, or {readme} was: they do not agree with the manifest",
            self.place().1.key(&BackupObject::Sums),
        ))
        .hint("restore another backup, and find out what changed the store"))
    }

    async fn digested(&self, object: &BackupObject) -> Result<FileFacts> {
        Ok(FileFacts::of(object, &self.document(object).await?))
    }

    /// A document, decrypted.
    pub(super) async fn document_text(&self, object: &BackupObject) -> Result<Bytes> {
        let (store, place) = self.place();
        let stored = self.document(object).await?;
        match object {
            BackupObject::Encrypted(_) => {
                let identities = store.keys().identities()?;
                Ok(identities.decrypt_all(&place.key(object), &stored)?.into())
            }
            _ => Ok(stored),
        }
    }

    async fn document(&self, object: &BackupObject) -> Result<Bytes> {
        let (store, place) = self.place();
        match store.get_at_most(&place.key(object), MAX_BYTES).await {
            Ok(bytes) => Ok(bytes),
            Err(error @ StoreError::NotFound { .. }) => {
                Err(Error::archive(format!("{object} of the backup is missing")).because(error))
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::fixture::{archive, dump, edit, small};

    #[tokio::test]
    async fn sums_and_instructions_must_agree_with_the_manifest() {
        let (store, place, _) = archive(&[&dump("d", 3)], small(1000, 200)).await;
        let archive = Archive::open(store.clone(), place.clone()).await.unwrap();
        archive.check_documents().await.unwrap();
        let sums = place.key(&BackupObject::Sums);
        let readme = place.key(&BackupObject::Readme);
        for key in [&sums, &readme] {
            let whole = store.get(key, None).await.unwrap();
            for at in [0, whole.len() / 2, whole.len() - 1] {
                edit(&store, key, |bytes| bytes[at] ^= 1).await;
                let error = archive.check_documents().await.unwrap_err();
                assert_eq!(error.outcome().code(), 6, "{key} at {at}");
                store.put(key, whole.clone()).await.unwrap();
            }
            edit(&store, key, |bytes| bytes.truncate(bytes.len() / 2)).await;
            assert!(archive.check_documents().await.is_err(), "{key} cut");
            let long = vec![b'x'; MAX_BYTES as usize + 1];
            store.put(key, long.into()).await.unwrap();
            let error = archive.check_documents().await.unwrap_err();
            assert_eq!(error.outcome().code(), 6, "{key} too long");
            assert!(error.to_string().contains("more than"), "{error}");
            store.delete(key).await.unwrap();
            let error = archive.check_documents().await.unwrap_err();
            assert_eq!(error.outcome().code(), 6, "{key} gone");
            store.put(key, whole).await.unwrap();
            archive.check_documents().await.unwrap();
        }
    }
}
