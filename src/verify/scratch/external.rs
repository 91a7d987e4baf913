//! An external scratch server: must be empty, and is left empty.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;

use crate::archive::read::Archive;
use crate::layout::TargetName;
use crate::monitor::report::model::{Profile, ScratchFacts};
use crate::mysql::blame::GONE;
use crate::mysql::connect::server_code;
use crate::mysql::schemas::{Own, Owner};
use crate::mysql::show_grants::{Line, executable};
use crate::mysql::{Connection, ServerConfig, connect};
use crate::restore;
use crate::restore::report::RestoreReport;
use crate::sql::statement::quote;
use crate::util::cancel::Cancel;
use crate::util::error::{Error, Result};
use crate::verify::scratch::options::DURABILITY_VARIABLES;
use crate::verify::scratch::{Scratch, version_of};

/// Error codes for a missing grant: on the server or a schema, on a table, on a routine.
const NO_SUCH_GRANT: [u16; 3] = [1141, 1147, 1403];

/// An external scratch server.
struct External {
    /// Connection settings.
    server: Arc<ServerConfig>,
    /// Its description for the report.
    facts: ScratchFacts,
    /// Target of the backup.
    target: TargetName,
}

/// Checks the server: the backup's release series, no schemas, no event scheduler.
pub async fn take(
    server: &ServerConfig,
    archive: &Archive,
    cancel: &Cancel,
) -> Result<Box<dyn Scratch>> {
    let wanted = version_of(archive.manifest())?;
    let inspect = async {
        let mut connection = connect(server).await?;
        let version = connection.version().await?;
        let scheduler: String = connection.one("SELECT @@GLOBAL.event_scheduler").await?;
        let schemas = user_schemas(&mut connection).await?;
        let variables: Vec<(String, String)> = connection.rows("SHOW GLOBAL VARIABLES").await?;
        connection.close().await;
        Ok((version, scheduler, schemas, variables))
    };
    let (version, scheduler, schemas, variables) = cancel.unless(inspect).await?;
    if !version.same_series(&wanted) {
        return Err(Error::usage(format!(
            "the scratch server is {version}, but the backup is of {wanted}"
        ))
        .hint("use a server of the same release series: on another one the drill would test something else"));
    }
    refuse_schemas(&schemas)?;
    refuse_event_scheduler(&scheduler)?;
    let settings = durability(variables);
    let fingerprint = &archive.manifest().server.fingerprint;
    let mut known = settings.iter();
    let same_durability =
        !settings.is_empty() && known.all(|(name, value)| fingerprint.get(name) == Some(value));
    Ok(Box::new(External {
        server: Arc::new(server.clone()),
        facts: ScratchFacts {
            kind: "external".to_owned(),
            version: version.to_string(),
            // From the server's actual settings, not from an option: only production settings measure an
            // RTO.
            profile: if same_durability {
                Profile::Production
            } else {
                Profile::Relaxed
            },
            settings,
        },
        target: archive.manifest().target.clone(),
    }))
}

fn durability(variables: Vec<(String, String)>) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = variables
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    all.retain(|name, _| name == "log_bin" || DURABILITY_VARIABLES.contains(&name.as_str()));
    all
}

/// User schemas: all except those that every server has.
async fn user_schemas(connection: &mut Connection) -> Result<Vec<String>> {
    let all: Vec<String> = connection
        .rows("SELECT schema_name FROM information_schema.schemata ORDER BY 1")
        .await?;
    let version = connection.version().await?;
    let own = Own::of(connection, &version).await?;
    let user_schemas = all.into_iter();
    Ok(user_schemas
        .filter(|one| own.owner(one) == Owner::User)
        .collect())
}

/// Checks that the server is still empty right before the restore, and that it reserves none of these
/// schema names.
pub async fn require_empty(
    server: &ServerConfig,
    schemas: impl Iterator<Item = &String>,
) -> Result<()> {
    let mut connection = connect(server).await?;
    let there = user_schemas(&mut connection).await?;
    let version = connection.version().await?;
    let own = Own::of(&mut connection, &version).await?;
    connection.close().await;
    refuse_schemas(&there)?;
    let mut schemas = schemas;
    match schemas.find(|schema| own.is_closed(schema)) {
        None => Ok(()),
        Some(schema) => Err(Error::refused(format!(
            "the scratch server reserves the schema name {}",
            quote(schema)
        ))
        .hint("use a server with the same lower_case_table_names as the target")),
    }
}

/// Whether an account, as printed by the server, is a MariaDB role: roles have no host.
pub fn is_role(account: &str) -> bool {
    !account.contains("`@`")
}

fn refuse_schemas(schemas: &[String]) -> Result<()> {
    if let Some(first) = schemas.first() {
        return Err(Error::refused(format!(
            "the scratch server is not empty: it has the schema {}{}",
            quote(first),
            match schemas.len() {
                1 => String::new(),
                count => format!(" and {} more", count - 1),
            }
        ))
        .hint("use an empty server: a drill drops everything that it restored"));
    }
    Ok(())
}

/// Refuses a running event scheduler: an event could change restored data before the comparison.
pub fn refuse_event_scheduler(scheduler: &str) -> Result<()> {
    match scheduler.to_ascii_uppercase().as_str() {
        "OFF" | "0" | "DISABLED" => Ok(()),
        _ => Err(Error::refused(
            "the scratch server's event scheduler is on: restored events would run",
        )
        .hint("SET GLOBAL event_scheduler = OFF there")),
    }
}

fn is_gone(error: &Error) -> bool {
    server_code(error).is_some_and(|code| GONE.contains(&code) || NO_SUCH_GRANT.contains(&code))
}

impl External {
    /// Drops what the binary log created: the server was empty, so these schemas are the drill's.
    async fn drop_replayed(&self, schemas: &BTreeSet<String>) -> Result<()> {
        if schemas.is_empty() {
            return Ok(());
        }
        let mut connection = connect(&self.server).await?;
        connection.run("SET SESSION foreign_key_checks = 0").await?;
        for schema in schemas {
            let drop = format!("DROP DATABASE IF EXISTS {}", quote(schema));
            connection.run(&drop).await?;
        }
        connection.close().await;
        Ok(())
    }
}

#[async_trait]
impl Scratch for External {
    fn server(&self) -> &Arc<ServerConfig> {
        &self.server
    }

    fn facts(&self) -> &ScratchFacts {
        &self.facts
    }

    async fn ended(&mut self) -> Error {
        // A lost connection is noticed by its user.
        std::future::pending().await
    }

    async fn tear_down(self: Box<Self>, restored: &RestoreReport) -> Result<()> {
        // Not under the drill's cancellation, since this cleans up after it. Drops only objects that the
        // drill is known to have created.
        if restored.marked {
            restore::discard(&self.server, &self.target, &Cancel::default()).await?;
        } else if !restored.made.is_empty() {
            restore::drop_made(&self.server, &restored.made).await?;
        }
        self.drop_replayed(&restored.replayed_schemas).await?;
        if restored.created_accounts.is_empty() && restored.granted_to_public.is_empty() {
            return Ok(());
        }
        let mut connection = connect(&self.server).await?;
        for grant in &restored.granted_to_public {
            let Some(sql) = Line::parse(grant).and_then(|line| line.revocation()) else {
                continue;
            };
            match connection.run(&executable(&sql)).await {
                // Dropped together with its object.
                Err(error) if is_gone(&error) => {}
                done => done?,
            }
        }
        for account in &restored.created_accounts {
            let noun = if is_role(account) { "ROLE" } else { "USER" };
            connection
                .run(&format!("DROP {noun} IF EXISTS {account}"))
                .await?;
        }
        connection.close().await;
        Ok(())
    }

    async fn keep(self: Box<Self>) -> Result<String> {
        Ok(format!(
            "the restored data remain on {}",
            self.server.url.endpoint
        ))
    }
}
