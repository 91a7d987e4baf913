//! Gives a backup other recipients: a second backup of the same snapshot, whose data are byte for byte those of the first
//! but for the headers of the encryption. Nothing is decrypted, and nothing that is committed is changed.

use jiff::Timestamp;

use crate::archive::BackupPlace;
use crate::archive::manifest::{FileFacts, Manifest};
use crate::archive::read::Archive;
use crate::archive::write::commit::{put_file, put_signature, sha256sums};
use crate::archive::write::object::ObjectWriter;
use crate::layout::BackupObject;
use crate::util::error::{Error, Result};

impl Archive {
    /// Writes all objects of the backup for the recipients of the store to another place, but for the manifest, which is
    /// returned.
    ///
    /// # Errors
    /// `Archive` if an object is not what the manifest says; what was written is left to
    /// [`discard`](crate::archive::write::commit::discard).
    pub async fn rekey(&self, to: &BackupPlace) -> Result<Manifest> {
        let started_at = Timestamp::now();
        let (store, place) = self.place();
        let keys = store.keys();
        let Some(recipients) = keys.recipients()? else {
            return Err(Error::usage("no recipients are configured")
                .hint("set DRCTL_ENCRYPTION_RECIPIENTS to the new ones"));
        };
        if !self.manifest().is_encrypted() {
            return Err(Error::usage(format!("{place} is not encrypted"))
                .hint("make a new backup: with recipients configured it is encrypted"));
        }
        let mut manifest = self.manifest().clone();
        manifest.id = to.id;
        manifest.rekeyed_from = Some(place.id);
        manifest.recipients = recipients.names().collect();
        manifest.signature = if keys.signing()?.is_some() {
            "sshsig"
        } else {
            "none"
        }
        .into();
        for segment in &mut manifest.segments {
            *segment = self.exchange(to, segment).await?;
        }
        manifest.totals.stored_bytes = manifest.segments.iter().map(|facts| facts.bytes).sum();
        manifest.index = self.exchange(to, &self.manifest().index).await?;
        if let Some(accounts) = &self.manifest().accounts {
            manifest.accounts = Some(self.exchange(to, accounts).await?);
        }
        manifest.documents = self.documents_for(to).await?;
        let sums = sha256sums(manifest.files());
        put_file(store, to, &BackupObject::Sums, sums.as_bytes()).await?;
        (manifest.started_at, manifest.finished_at) = (started_at, Timestamp::now());
        put_signature(store, to, &manifest).await?;
        Ok(manifest)
    }

    /// Writes one object with another header.
    async fn exchange(&self, to: &BackupPlace, facts: &FileFacts) -> Result<FileFacts> {
        let (store, place) = self.place();
        let object = BackupObject::parse(&facts.name)
            .ok_or_else(|| Error::archive(format!("{place} has no object {}", facts.name)))?;
        let from = self.stored_object(object.clone(), facts)?;
        let mut writer =
            ObjectWriter::begin_encrypted(store, to, &object, facts.plain_bytes).await?;
        match from.exchange_header(&mut writer).await {
            Ok(()) => {
                let written = writer.complete(store).await?;
                written.check(store).await?;
                Ok(written.facts)
            }
            Err(error) => {
                writer.abort().await;
                Err(error)
            }
        }
    }

    /// Writes RESTORE.txt, which names the backup, and its encrypted part, if there is one.
    async fn documents_for(&self, to: &BackupPlace) -> Result<Vec<FileFacts>> {
        let (store, place) = self.place();
        let mut all = Vec::new();
        for facts in &self.manifest().documents {
            let object = BackupObject::parse(&facts.name)
                .ok_or_else(|| Error::archive(format!("{place} has no object {}", facts.name)))?;
            let text = self.document_text(&object).await?;
            let text = String::from_utf8_lossy(&text);
            let text = text.replace(&place.id.to_string(), &to.id.to_string());
            all.push(put_file(store, to, &object, text.as_bytes()).await?);
        }
        Ok(all)
    }
}
