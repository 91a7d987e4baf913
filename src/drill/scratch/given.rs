//! A scratch server that somebody else provides: it must be empty, and is left empty.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::apply;
use crate::apply::offered::taken_from_public;
use crate::apply::report::RestoreReport;
use crate::archive::read::Archive;
use crate::cancel::Cancel;
use crate::drill::scratch::options::OF_DURABILITY;
use crate::drill::scratch::{Scratch, version_of};
use crate::error::{Error, Result};
use crate::report::model::{Profile, ScratchFacts};
use crate::server::blame::GONE;
use crate::server::connect::server_code;
use crate::server::schemas::{Own, Owner};
use crate::server::{Connection, ServerConfig, connect};
use crate::sql::statement::quote;
use crate::store::keys::TargetName;

/// There is no such grant, on the server or a schema, on a table, on a routine.
const NO_SUCH_GRANT: [u16; 3] = [1141, 1147, 1403];

/// Somebody else's server.
struct Given {
    /// How to reach it.
    server: Arc<ServerConfig>,
    /// What it is.
    facts: ScratchFacts,
    /// Whose backup is restored.
    target: TargetName,
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
        let version = connection.version().await?;
        let scheduler: String = connection.one("SELECT @@GLOBAL.event_scheduler").await?;
        let schemas = strangers(&mut connection).await?;
        let variables: Vec<(String, String)> = connection.rows("SHOW GLOBAL VARIABLES").await?;
        connection.close().await;
        Ok((version, scheduler, schemas, variables))
    };
    let (version, scheduler, schemas, variables) = cancel.unless(look).await?;
    if !version.same_line(&wanted) {
        return Err(Error::usage(format!(
            "the scratch server is {version}, and the backup is of {wanted}"
        ))
        .hint("give a server of the same version line: on another one the drill would prove something else"));
    }
    refuse_strangers(&schemas)?;
    refuse_events(&scheduler)?;
    let settings = durability(variables);
    let fingerprint = &archive.manifest().server.fingerprint;
    let mut known = settings.iter();
    let alike =
        !settings.is_empty() && known.all(|(name, value)| fingerprint.get(name) == Some(value));
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

/// The schemas that no server has by itself.
async fn strangers(connection: &mut Connection) -> Result<Vec<String>> {
    let all: Vec<String> = connection
        .rows("SELECT schema_name FROM information_schema.schemata ORDER BY 1")
        .await?;
    let version = connection.version().await?;
    let own = Own::of(connection, &version).await?;
    let strangers = all.into_iter();
    Ok(strangers
        .filter(|one| own.owner(one) == Owner::User)
        .collect())
}

/// Demands that the server still holds nothing, right before these schemas are put into it, and keeps
/// none of their names for itself.
pub async fn demand_room(
    server: &ServerConfig,
    schemas: impl Iterator<Item = &String>,
) -> Result<()> {
    let mut connection = connect(server).await?;
    let there = strangers(&mut connection).await?;
    let version = connection.version().await?;
    let own = Own::of(&mut connection, &version).await?;
    connection.close().await;
    refuse_strangers(&there)?;
    let mut schemas = schemas;
    match schemas.find(|schema| own.is_closed(schema)) {
        None => Ok(()),
        Some(schema) => Err(Error::refused(format!(
            "the scratch server keeps the name of the schema {} for itself",
            quote(schema)
        ))
        .hint("give one with the lower_case_table_names of the server that was backed up")),
    }
}

/// Whether an account, as the server writes it, is a role of MariaDB: those have no host.
pub fn is_role(account: &str) -> bool {
    !account.contains("`@`")
}

fn refuse_strangers(schemas: &[String]) -> Result<()> {
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
    Ok(())
}

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

fn is_gone(error: &Error) -> bool {
    server_code(error).is_some_and(|code| GONE.contains(&code) || NO_SUCH_GRANT.contains(&code))
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
        // Not under the drill's own cancellation: this is what has to be done after it. And nothing
        // but what the drill is known to have made.
        if restored.marked {
            apply::discard(&self.server, &self.target, &Cancel::default()).await?;
        } else if !restored.made.is_empty() {
            apply::drop_made(&self.server, &restored.made).await?;
        }
        if restored.created_accounts.is_empty() && restored.granted_to_public.is_empty() {
            return Ok(());
        }
        let mut connection = connect(&self.server).await?;
        for grant in &restored.granted_to_public {
            let Some(sql) = taken_from_public(grant) else {
                continue;
            };
            match connection.run(&sql).await {
                // It went with what it was on.
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
            "what was restored stays on {}",
            self.server.url.endpoint
        ))
    }
}
