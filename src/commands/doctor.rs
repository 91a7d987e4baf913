//! Not yet.
/// a
pub async fn run(_: &super::Run) -> crate::Result<()> {
    Ok(())
}
