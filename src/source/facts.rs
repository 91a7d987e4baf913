//! What a backup notes of the server: who it is, and the variables that a restore depends on.

use std::collections::{BTreeMap, BTreeSet};

use mysql_async::prelude::FromRow;

use crate::Result;
use crate::server::connect::literal;
use crate::server::{Connection, ServerVersion};
use crate::sql::statement::quote;

/// The variables that a restored server must share, that explain a difference, or that make it slower.
const FINGERPRINT: &[&str] = &[
    "activate_all_roles_on_login",
    "authentication_policy",
    "block_encryption_mode",
    "character_set_collations",
    "character_set_filesystem",
    "character_set_server",
    "collation_server",
    "default_collation_for_utf8mb4",
    "default_password_lifetime",
    "default_storage_engine",
    "div_precision_increment",
    "explicit_defaults_for_timestamp",
    "ft_max_word_len",
    "ft_min_word_len",
    "innodb_default_row_format",
    "innodb_doublewrite",
    "innodb_file_per_table",
    "innodb_flush_log_at_trx_commit",
    "innodb_ft_max_token_size",
    "innodb_ft_min_token_size",
    "innodb_page_size",
    "innodb_strict_mode",
    "lc_time_names",
    "log_bin",
    "log_bin_trust_function_creators",
    "lower_case_table_names",
    "mandatory_roles",
    "max_allowed_packet",
    "max_heap_table_size",
    "ngram_token_size",
    "old_mode",
    "partial_revokes",
    "password_history",
    "password_require_current",
    "password_reuse_interval",
    "restrict_fk_on_non_standard_key",
    "sql_generate_invisible_primary_key",
    "sql_mode",
    "sql_require_primary_key",
    "sync_binlog",
    "system_time_zone",
    "time_zone",
];

/// The time zones that events name, in the fingerprint; [`ANY_ZONE`] where they are too many for it.
pub const NAMED_ZONES: &str = "named time zones";

/// Stands for all zones that there are.
pub const ANY_ZONE: &str = "*";

/// The longest value that is noted, bytes: the manifest is small.
const MAX_VALUE_BYTES: usize = 300;

/// The variables that a restore depends on, and the plugins that were loaded from files.
pub async fn fingerprint(connection: &mut Connection) -> Result<BTreeMap<String, String>> {
    let variables: Vec<(String, String)> = connection.rows("SHOW GLOBAL VARIABLES").await?;
    let mut found: BTreeMap<String, String> = variables
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .filter(|(name, _)| FINGERPRINT.contains(&name.as_str()))
        .collect();
    let plugins: Vec<String> = connection
        .rows(
            "SELECT plugin_name FROM information_schema.plugins \
             WHERE plugin_status = 'ACTIVE' AND plugin_library IS NOT NULL ORDER BY 1",
        )
        .await?;
    found.insert("plugins".into(), plugins.join(","));
    let zones: Vec<String> = connection
        .rows("SELECT DISTINCT time_zone FROM information_schema.events ORDER BY 1")
        .await?;
    let named = zones
        .into_iter()
        .filter(|zone| zone != "SYSTEM" && zone.bytes().any(|byte| byte.is_ascii_alphabetic()));
    let named = named.collect::<Vec<String>>().join(",");
    let named = match named.len() > MAX_VALUE_BYTES {
        true => ANY_ZONE.to_owned(),
        false => named,
    };
    if !named.is_empty() {
        found.insert(NAMED_ZONES.into(), named);
    }
    for value in found.values_mut() {
        value.truncate(value.floor_char_boundary(MAX_VALUE_BYTES));
    }
    Ok(found)
}

/// What tells this server from one that took its place, and whether it can be relied on.
///
/// MySQL has its `server_uuid`. MariaDB has nothing of the kind that outlives a new pod (its
/// `server_uid` hashes the network card's address), so the id is the moment at which its system
/// tables were made: an emptied server has another one, while a restart, a move to another host, a
/// replica or Galera node cloned from it keep it. An upgrade that rebuilds `mysql.proc` changes it
/// once.
pub async fn identity(
    connection: &mut Connection,
    server: &ServerVersion,
) -> Result<(String, bool)> {
    if !server.is_mariadb() {
        let uuid: String = connection.one("SELECT @@server_uuid").await?;
        return Ok((format!("mysql:{uuid}"), true));
    }
    let made: Option<Option<String>> = connection
        .row(
            "SELECT CAST(create_time AS CHAR) FROM information_schema.tables \
             WHERE table_schema = 'mysql' AND table_name = 'proc'",
        )
        .await?;
    if let Some(made) = made.flatten() {
        return Ok((format!("mariadb:{}", made.replace(' ', "T")), true));
    }
    let weak: String = connection
        .one("SELECT CONCAT(@@hostname, '/', @@port, '/', @@server_id, '/', @@gtid_domain_id)")
        .await?;
    Ok((format!("mariadb:{weak}"), false))
}

/// A column that does not survive being dumped as text, or that may not.
#[derive(FromRow)]
struct Suspicious {
    schema_name: String,
    table_name: String,
    column_name: String,
    data_type: String,
    charset: Option<String>,
    /// Whether a `?` stands in its default, or among its names where it is an ENUM or SET.
    question_mark: bool,
}

/// Columns whose values or definitions do not survive being dumped as text, a line each.
pub async fn lossy_columns(connection: &mut Connection, schemas: &[String]) -> Result<Vec<String>> {
    // One pass over all columns: for each, MariaDB opens its table.
    let columns: Vec<Suspicious> = connection
        .rows(
            "SELECT table_schema AS schema_name, table_name AS table_name, \
             column_name AS column_name, data_type AS data_type, character_set_name AS charset, \
             COALESCE(IF(data_type IN ('enum', 'set'), column_type, column_default) LIKE '%?%', 0) \
             AS question_mark FROM information_schema.columns \
             WHERE data_type IN ('float', 'json') \
             OR character_set_name IN ('big5', 'cp932', 'eucjpms', 'gbk', 'sjis', 'ujis') \
             OR character_set_name IN ('utf8mb4', 'utf16', 'utf16le', 'utf32', 'gb18030') \
             AND (data_type IN ('enum', 'set') AND column_type LIKE '%?%' \
             OR column_default LIKE '\\'%?%\\'') \
             ORDER BY 1, 2, ordinal_position",
        )
        .await?;
    // A view is dumped as its query. Asked apart: MariaDB would look once for each column.
    let views: Vec<(String, String)> = match columns.is_empty() {
        true => Vec::new(),
        false => {
            let views = "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'VIEW'";
            connection.rows(views).await?
        }
    };
    let views: BTreeSet<(String, String)> = views.into_iter().collect();
    let mut lossy = Vec::new();
    for column in columns {
        let table = (column.schema_name.clone(), column.table_name.clone());
        if !schemas.contains(&column.schema_name) || views.contains(&table) {
            continue;
        }
        if let Some(why) = why_lossy(connection, &column).await? {
            let Suspicious {
                schema_name,
                table_name,
                column_name,
                ..
            } = column;
            lossy.push(format!("{schema_name}.{table_name}.{column_name}: {why}"));
        }
    }
    Ok(lossy)
}

async fn why_lossy(connection: &mut Connection, column: &Suspicious) -> Result<Option<String>> {
    let why = match (column.charset.as_deref(), column.data_type.as_str()) {
        // Servers show characters beyond the first plane as `?` in names and (MariaDB) defaults.
        (_, "enum" | "set") if column.question_mark => {
            "a name with ? may stand for characters that no definition shows"
        }
        (Some("utf8mb4" | "utf16" | "utf16le" | "utf32" | "gb18030"), _) => {
            match has_hidden_default(connection, column).await? {
                true => "its default is dumped with ? for characters beyond the first plane",
                false => return Ok(None),
            }
        }
        (Some(charset), _) => {
            let why = format!("some characters of {charset} change on the way through utf8mb4");
            return Ok(Some(why));
        }
        (None, "json") => "DECIMALs and dates in JSON come back as doubles and texts",
        (None, _) => "FLOAT is dumped with six digits",
    };
    Ok(Some(why.to_owned()))
}

/// Whether the default itself, of a table with rows or without, is not what definitions show of it.
async fn has_hidden_default(connection: &mut Connection, column: &Suspicious) -> Result<bool> {
    let (schema, table) = (&column.schema_name, &column.table_name);
    let of_view: Option<u8> = connection
        .row(&format!(
            "SELECT 1 FROM information_schema.views WHERE table_schema = {} AND table_name = {}",
            literal(schema),
            literal(table)
        ))
        .await?;
    if of_view.is_some() {
        return Ok(false);
    }
    let default: Option<String> = connection
        .one(&format!(
            "SELECT CONVERT(DEFAULT({}) USING utf8mb4) FROM (SELECT 1) one LEFT JOIN {}.{} ON FALSE",
            quote(&column.column_name),
            quote(schema),
            quote(table)
        ))
        .await?;
    Ok(default.is_some_and(|default| default.chars().any(|c| c > '\u{ffff}')))
}
