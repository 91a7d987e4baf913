//! Not yet.
/// a
pub async fn run(_: &super::Run, _: crate::cli::BackupArgs) -> crate::Result<()> {
    Ok(())
}
