//! The pass that drops conflicting objects, as confirmed by the operator, and records the objects to be created.

use std::collections::BTreeSet;

use crate::restore::inspect::survey::Survey;
use crate::restore::passes::routine_grants;
use crate::restore::report::RestoreReport;
use crate::restore::state::discard;
use crate::restore::state::open_marker::OpenMarker;
use crate::sql::statement::{ObjectId, ObjectKind};
use crate::util::error::Result;

/// Drops the objects listed in the report. `pre_existing`: schemas that existed before the restore.
pub async fn run(
    marker: &mut OpenMarker,
    survey: &Survey,
    pre_existing: &BTreeSet<String>,
    report: &mut RestoreReport,
) -> Result<()> {
    routine_grants::note(&mut marker.control, report).await?;
    for object in &report.replaced {
        marker
            .control
            .step(async |control| discard::drop_object(control, object).await)
            .await?;
    }
    let created: BTreeSet<ObjectId> = survey
        .creates
        .iter()
        .filter(|object| {
            object.kind != ObjectKind::Schema || !pre_existing.contains(&object.schema)
        })
        .cloned()
        .collect();
    marker.note_objects(created).await
}
