//! Creating one object of the dump: under the session that it was dumped in, as one statement alone,
//! again where that can help.

use crate::apply::discard::drop_object;
use crate::apply::failure::Failure;
use crate::apply::lane::Lane;
use crate::error::Result;
use crate::sql::session::Session;
use crate::sql::statement::{ObjectId, ObjectKind, Section};

/// Creates an object and says what warnings the server has about it. `in_the_way`: whether something
/// of its name may be there, which is dropped first.
pub async fn create(
    lane: &mut Lane,
    object: &ObjectId,
    session: &Session,
    sql: &[u8],
    mut in_the_way: bool,
) -> Result<Vec<(u16, String)>> {
    let created = lane.step(async |lane| {
        let tried = once(lane, object, session, sql, in_the_way).await;
        // Whether it took effect is unknown where it is tried again.
        in_the_way = true;
        tried
    });
    created.await.map_err(|error| error.context(object))
}

async fn once(
    lane: &mut Lane,
    object: &ObjectId,
    session: &Session,
    sql: &[u8],
    in_the_way: bool,
) -> Result<Vec<(u16, String)>, Failure> {
    lane.enter(session).await?;
    if in_the_way {
        drop_object(lane, object).await?;
    }
    if object.kind.section() == Section::PostData && object.kind != ObjectKind::View {
        lane.demand_single(sql).await?;
    }
    match lane.run(sql).await?.warnings {
        0 => Ok(Vec::new()),
        _ => lane.warnings().await,
    }
}
