//! Reads statements of an archive again, for objects that differ.

use crate::archive::index::FrameRecord;
use crate::archive::read::Archive;
use crate::sql::scan::Scanner;
use crate::sql::statement::Statement;
use crate::util::error::{Error, Result};

/// Calls `each` with the statements of the frames that are wanted.
pub(super) async fn each_statement(
    archive: &Archive,
    wanted: impl Fn(&FrameRecord) -> bool,
    mut each: impl FnMut(&Statement<'_>) -> Result<()>,
) -> Result<()> {
    let unknown = |e| Error::archive("cannot read a statement").because(e);
    let mut frames = archive.frames()?;
    while let Some(frame) = frames.read()? {
        if !wanted(&frame) {
            continue;
        }
        let raw = archive.fetch(&frame).await?;
        let sessions = &archive.contents().sessions;
        let session = sessions.get(frame.session as usize).cloned();
        let mut scanner = Scanner::resuming(session.unwrap_or_default());
        scanner.push(&raw);
        scanner.finish();
        while let Some(statement) = scanner.next().map_err(unknown)? {
            each(&statement)?;
        }
    }
    Ok(())
}
