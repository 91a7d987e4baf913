//! Facts about a server that a backup records: its identity, variables that a restore depends on, lossy columns.

use std::collections::{BTreeMap, BTreeSet};

use mysql_async::prelude::FromRow;

use crate::Result;
use crate::mysql::connect::{literal, literals, server_code};
use crate::mysql::{Connection, ServerVersion};
use crate::sql::statement::quote;

/// Variables that the destination must share, that explain differences, or that affect the speed of a restore.
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
    "ft_stopword_file",
    "innodb_default_row_format",
    "innodb_doublewrite",
    "innodb_file_per_table",
    "innodb_flush_log_at_trx_commit",
    "innodb_ft_enable_stopword",
    "innodb_ft_max_token_size",
    "innodb_ft_min_token_size",
    "innodb_ft_server_stopword_table",
    "innodb_ft_user_stopword_table",
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

/// Fingerprint key of the named time zones that events use; the value is [`ANY_ZONE`] if they are too many.
pub const NAMED_ZONES: &str = "named time zones";

/// Fingerprint key of the loadable functions, in lower case.
pub const LOADABLE_FUNCTIONS: &str = "loadable functions";

/// Stands for any time zone.
pub const ANY_ZONE: &str = "*";

/// Maximum length of a recorded value, bytes, since the manifest has to be small.
const MAX_VALUE_BYTES: usize = 300;

/// The variables that a restore depends on, the plugins and functions loaded from files, and the time zones of events.
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
    // Of those of MySQL's components only the ones that views call: the server's own are among them.
    const OF_COMPONENTS: &str = "SELECT LOWER(udf_name) FROM performance_schema.user_defined_functions \
        WHERE EXISTS (SELECT 1 FROM information_schema.views WHERE view_definition LIKE CONCAT('%', udf_name, '(%'))";
    let mut functions = BTreeSet::new();
    for query in ["SELECT LOWER(name) FROM mysql.func", OF_COMPONENTS] {
        match connection.rows::<String>(query).await {
            Ok(names) => functions.extend(names),
            // MariaDB has no components. What is denied is in the warnings of the backup.
            Err(error) if server_code(&error).is_some() => {}
            Err(error) => return Err(error),
        }
    }
    let functions = functions.into_iter().collect::<Vec<String>>();
    if !functions.is_empty() {
        found.insert(LOADABLE_FUNCTIONS.into(), functions.join(","));
    }
    let zones: Vec<String> = connection
        .rows("SELECT DISTINCT time_zone FROM information_schema.events ORDER BY 1")
        .await?;
    let named = zones
        .into_iter()
        .filter(|zone| zone != "SYSTEM" && zone.bytes().any(|byte| byte.is_ascii_alphabetic()));
    let named = named.collect::<Vec<String>>().join(",");
    let named = if named.len() > MAX_VALUE_BYTES {
        ANY_ZONE.to_owned()
    } else {
        named
    };
    if !named.is_empty() {
        found.insert(NAMED_ZONES.into(), named);
    }
    for value in found.values_mut() {
        value.truncate(value.floor_char_boundary(MAX_VALUE_BYTES));
    }
    Ok(found)
}

/// Distinguishes a server from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The ID, prefixed with the flavour.
    pub id: String,
    /// Whether a server that is re-created empty gets another ID.
    pub is_strong: bool,
}

/// The identity of a server.
///
/// On MySQL it is `server_uuid`. MariaDB has no ID that survives a new pod (its `server_uid` is a hash of the
/// MAC address), so there it is the creation time of a system table: an empty, re-created server has a different one,
/// while a restart, a move to another host, and cloning (replicas, Galera nodes) do not change it. An upgrade that
/// rebuilds `mysql.proc` changes it once.
pub async fn identity(connection: &mut Connection, server: &ServerVersion) -> Result<Identity> {
    if !server.is_mariadb() {
        let uuid: String = connection.one("SELECT @@server_uuid").await?;
        return Ok(Identity {
            id: format!("mysql:{uuid}"),
            is_strong: true,
        });
    }
    let created: Option<Option<String>> = connection
        .row(
            "SELECT CAST(create_time AS CHAR) FROM information_schema.tables \
             WHERE table_schema = 'mysql' AND table_name = 'proc'",
        )
        .await?;
    if let Some(created) = created.flatten() {
        return Ok(Identity {
            id: format!("mariadb:{}", created.replace(' ', "T")),
            is_strong: true,
        });
    }
    let weak: String = connection
        .one("SELECT CONCAT(@@hostname, '/', @@port, '/', @@server_id, '/', @@gtid_domain_id)")
        .await?;
    Ok(Identity {
        id: format!("mariadb:{weak}"),
        is_strong: false,
    })
}

/// Whether two identities may belong to one MariaDB server, one read by an account with access to its system tables
/// and one by an account without: then other facts have to show whether it is the same server.
pub fn may_be_one_server(one: &str, other: &str) -> bool {
    let weak = |id: &str| id.strip_prefix("mariadb:").map(|id| id.contains('/'));
    matches!((weak(one), weak(other)), (Some(one), Some(other)) if one != other)
}

/// A column that a dump may not preserve.
#[derive(FromRow)]
struct Candidate {
    schema_name: String,
    table_name: String,
    column_name: String,
    data_type: String,
    charset: Option<String>,
    /// Whether the default, or a name of an ENUM or SET, contains a `?`.
    question_mark: bool,
}

/// Columns whose values or definitions a dump does not preserve, a line each.
pub async fn lossy_columns(connection: &mut Connection, schemas: &[String]) -> Result<Vec<String>> {
    // A single query, since MariaDB opens the table of each column.
    let columns: Vec<Candidate> = connection
        .rows(&format!(
            "SELECT table_schema AS schema_name, table_name AS table_name, \
             column_name AS column_name, data_type AS data_type, character_set_name AS charset, \
             COALESCE(IF(data_type IN ('enum', 'set'), column_type, column_default) LIKE '%?%', 0) \
             AS question_mark FROM information_schema.columns \
             WHERE table_schema IN ({}) AND (data_type IN ('float', 'json') \
             OR character_set_name IN ('big5', 'cp932', 'eucjpms', 'gbk', 'sjis', 'ujis') \
             OR character_set_name IN ('utf8mb4', 'utf16', 'utf16le', 'utf32', 'gb18030') \
             AND (data_type IN ('enum', 'set') AND column_type LIKE '%?%' \
             OR column_default LIKE '\\'%?%\\'')) \
             ORDER BY 1, 2, ordinal_position",
            literals(schemas)
        ))
        .await?;
    // Views are dumped as their queries. A separate query, since MariaDB would execute a join for each column.
    let views: Vec<(String, String)> = if columns.is_empty() {
        Vec::new()
    } else {
        let views = "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'VIEW'";
        connection.rows(views).await?
    };
    let views: BTreeSet<(String, String)> = views.into_iter().collect();
    let mut lossy = Vec::new();
    for column in columns {
        let table = (column.schema_name.clone(), column.table_name.clone());
        if !schemas.contains(&column.schema_name) || views.contains(&table) {
            continue;
        }
        if let Some(why) = why_lossy(connection, &column).await? {
            let Candidate {
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

async fn why_lossy(connection: &mut Connection, column: &Candidate) -> Result<Option<String>> {
    let why = match (column.charset.as_deref(), column.data_type.as_str()) {
        // Servers show characters outside the BMP as `?` in names and (MariaDB) defaults.
        (_, "enum" | "set") if column.question_mark => {
            "a ? in a name may stand for characters that definitions do not show"
        }
        (Some("utf8mb4" | "utf16" | "utf16le" | "utf32" | "gb18030"), _) => {
            if !has_hidden_default(connection, column).await? {
                return Ok(None);
            }
            "its default is dumped with ? instead of characters outside the BMP"
        }
        (Some(charset), _) => {
            let why = format!("some characters of {charset} change when converted to utf8mb4");
            return Ok(Some(why));
        }
        (None, "json") => "DECIMALs and dates in JSON are restored as doubles and strings",
        (None, _) => "FLOAT is dumped with six digits",
    };
    Ok(Some(why.to_owned()))
}

/// Whether the actual default contains characters that definitions do not show.
async fn has_hidden_default(connection: &mut Connection, column: &Candidate) -> Result<bool> {
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
