//! Creating the views of a dump again, as the last step of RESTORE.txt does.

use tokio::io::AsyncWriteExt as _;
use tokio::process::ChildStdin;

use crate::archive::read::Archive;
use crate::archive::restore_txt::ViewsAgain;
use crate::mysql::Client;
use crate::mysql::client::shell::ClientError;
use crate::sql::statement::{ObjectId, Section};
use crate::util::error::Result;
use crate::verify::plain_client::run;

/// Whether the server refused a view because it depends on a later view, or its definer on a later
/// privilege: no such table, invalid references, CHECK OPTION on a view that is not updatable.
pub(super) fn needs_later(error: &ClientError) -> bool {
    error.has(&[1146, 1356, 1368])
}

/// Creates all views `min_rounds` times, and then until the server refuses none. Fails once a round makes no
/// progress; `refused` is the view to name in that failure.
pub(super) async fn create_again(
    archive: &Archive,
    client: &Client,
    min_rounds: usize,
    refused: Option<&ObjectId>,
) -> Result<()> {
    let (mut errors_before, mut rounds) = (usize::MAX, 0);
    loop {
        let feed = async |mut stdin: ChildStdin| {
            let (mut frames, mut views) = (archive.frames()?, ViewsAgain::default());
            while let Some(frame) = frames.read()? {
                // Frames of rows are skipped; a frame of views begins with its own USE.
                if frame.n > 0 && !frame.has(Section::PostData) {
                    continue;
                }
                let sql = views.take(&archive.fetch(&frame).await?);
                stdin.write_all(&sql).await?;
            }
            Ok(())
        };
        let errors = run(client, &["--force"], feed).await?;
        rounds += 1;
        let count = errors.len();
        match errors.into_iter().next() {
            None if rounds >= min_rounds => return Ok(()),
            Some(error) if rounds > min_rounds && count >= errors_before => {
                return Err(error.into_error(refused.cloned()));
            }
            _ => errors_before = count,
        }
    }
}
