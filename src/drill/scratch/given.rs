//! A scratch server that somebody else provides: it must be empty, and is left empty.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;

use crate::apply;
use crate::apply::report::RestoreReport;
use crate::archive::read::Archive;
use crate::cancel::Cancel;
use crate::drill::scratch::options::OF_DURABILITY;
use crate::drill::scratch::{Scratch, version_of};
use crate::error::{Error, Outcome, Result};
use crate::report::model::{Profile, ScratchFacts};
use crate::server::{ServerConfig, ServerVersion, connect};
use crate::sql::statement::quote;
use crate::store::keys::TargetName;

/// Somebody else's server.
struct Given {
    /// How to reach it.
    server: Arc<ServerConfig>,
    /// What it is.
    facts: ScratchFacts,
    /// Whose backup is restored.
    target: TargetName,
    /// The schemas of the backup: none of them was there before.
    schemas: BTreeSet<String>,
}

/// Looks at the server: of the backup's version line, without schemas, without a scheduler.
pub async fn take(
    server: &ServerConfig,
    archive: &Archive,
    cancel: &Cancel,
) -> Result<Box<dyn Scratch>> {
    let wanted = version_of(archive.manifest())?;
    let look = async {
        let mut connection = connect(server).await?;
        let (version, comment, scheduler): (String, String, String) = connection
            .one("SELECT @@version, @@version_comment, @@GLOBAL.event_scheduler")
            .await?;
        let schemas: Vec<String> = connection.rows(STRANGERS).await?;
        let variables: Vec<(String, String)> = connection.rows("SHOW GLOBAL VARIABLES").await?;
        connection.close().await;
        Ok((version, comment, scheduler, schemas, variables))
    };
    let (version, comment, scheduler, schemas, variables) = cancel.unless(look).await?;
    let version = ServerVersion::parse(&version, &comment).ok_or_else(|| {
        Error::server(format!(
            "the scratch server's version {version:?} is not understood"
        ))
    })?;
    if (version.flavour, version.version.line()) != (wanted.flavour, wanted.version.line()) {
        return Err(Error::usage(format!(
            "the scratch server is {version}, and the backup is of {wanted}"
        ))
        .hint("give a server of the same version line: on another one the drill would prove something else"));
    }
    if let Some(first) = schemas.first() {
        return Err(Error::refused(format!(
            "the scratch server is not empty: it has the schema {}{}",
            quote(first),
            match schemas.len() {
                1 => String::new(),
                count => format!(" and {} more", count - 1),
            }
        ))
        .hint("give a server that holds nothing: what a drill restores is dropped at its end"));
    }
    refuse_events(&scheduler)?;
    let settings = durability(variables);
    let fingerprint = &archive.manifest().server.fingerprint;
    let alike = settings
        .iter()
        .all(|(name, value)| fingerprint.get(name) == Some(value));
    let schemas = archive.contents().ledger.iter();
    Ok(Box::new(Given {
        server: Arc::new(server.clone()),
        facts: ScratchFacts {
            kind: "given".to_owned(),
            version: version.to_string(),
            // What it is like, not what somebody says: an RTO is measured on the one only.
            profile: match alike {
                true => Profile::Production,
                false => Profile::Relaxed,
            },
            settings,
        },
        target: archive.manifest().target.clone(),
        schemas: schemas.map(|(object, _)| object.schema.clone()).collect(),
    }))
}

fn durability(variables: Vec<(String, String)>) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = variables
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    all.retain(|name, _| name == "log_bin" || OF_DURABILITY.contains(&name.as_str()));
    all
}

/// Schemas that no server has by itself.
const STRANGERS: &str = "SELECT schema_name FROM information_schema.schemata WHERE schema_name \
     NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema', 'ndbinfo') ORDER BY 1";

/// An event that fires changes what was restored before it is compared.
pub fn refuse_events(scheduler: &str) -> Result<()> {
    match scheduler.to_ascii_uppercase().as_str() {
        "OFF" | "0" | "DISABLED" => Ok(()),
        _ => Err(Error::refused(
            "the scratch server's event scheduler is on: restored events would run",
        )
        .hint("SET GLOBAL event_scheduler = OFF there")),
    }
}

#[async_trait]
impl Scratch for Given {
    fn server(&self) -> &Arc<ServerConfig> {
        &self.server
    }

    fn facts(&self) -> &ScratchFacts {
        &self.facts
    }

    async fn ended(&mut self) -> Error {
        // Whoever works on it notices by itself.
        std::future::pending().await
    }

    async fn tear_down(self: Box<Self>, restored: &RestoreReport) -> Result<()> {
        // Not under the drill's own cancellation: this is what has to be done after it.
        match apply::discard(&self.server, &self.target, &Cancel::default()).await {
            Ok(_) => {}
            Err(error) if error.outcome() == Outcome::NothingToDo => {}
            Err(error) => return Err(error),
        }
        let mut connection = connect(&self.server).await?;
        connection.run("SET SESSION foreign_key_checks = 0").await?;
        for schema in &self.schemas {
            connection
                .run(&format!("DROP DATABASE IF EXISTS {}", quote(schema)))
                .await?;
        }
        for account in &restored.created_accounts {
            connection
                .run(&format!("DROP USER IF EXISTS {account}"))
                .await?;
        }
        connection.close().await;
        Ok(())
    }

    async fn keep(self: Box<Self>) -> Result<String> {
        Ok(format!(
            "what was restored stays on {}",
            self.server.url.endpoint
        ))
    }
}
