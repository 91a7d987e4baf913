//! Requirements of a backup that no session setting can satisfy: named time zones, spatial reference systems,
//! storage engines, parsers of full-text keys, tablespaces, keys, collations, functions, global settings. Checked
//! before anything is changed.

use std::collections::{BTreeMap, BTreeSet};

use crate::archive::manifest::Manifest;
use crate::mysql::Connection;
use crate::mysql::connect::literal;
use crate::mysql::facts::LOADABLE_FUNCTIONS;
use crate::restore::inspect::destination::DestinationFacts;
use crate::restore::inspect::provided;
use crate::restore::inspect::refusal::Refusal;
use crate::sql::computed::{Needs, TIME_ZONE};
use crate::sql::placement::{self, Storage};
use crate::sql::session::Session;
use crate::sql::statement::{ObjectId, ObjectKind, quote};
use crate::sql::tokens::{Token, Tokens};
use crate::util::error::Result;

/// Requirements of the definitions in scope, each with the first object that has it.
#[derive(Debug, Clone, Default)]
pub struct Requires {
    /// Time zones, by name.
    zones: BTreeMap<String, ObjectId>,
    /// Spatial reference systems, by SRID.
    pub(super) spatial: BTreeMap<u32, ObjectId>,
    /// Storage engines, by their names in the definitions.
    engines: BTreeMap<String, ObjectId>,
    /// The first table with a full-text key.
    fulltext: Option<ObjectId>,
    /// Plugins that parse the text of full-text keys, by their names in the definitions.
    parsers: BTreeMap<String, ObjectId>,
    /// General tablespaces, by name, each with what creates it.
    tablespaces: BTreeMap<String, (ObjectId, String)>,
    /// The first encrypted table.
    encrypted: Option<ObjectId>,
    /// Collations, by name.
    collations: BTreeMap<String, ObjectId>,
    /// The loadable functions of the target, in lower case.
    loadable: BTreeSet<String>,
    /// Those that views call, without which a view cannot be created.
    functions: BTreeMap<String, ObjectId>,
    /// Default encryption of the schemas whose definition contains it.
    encrypted_schemas: BTreeMap<ObjectId, bool>,
    /// The first table whose encryption differs from the default of its schema.
    unlike_its_schema: Option<ObjectId>,
}

/// Variables that decide which words a full-text key contains.
const FULLTEXT_VARIABLES: [&str; 9] = [
    "ft_max_word_len",
    "ft_min_word_len",
    "ft_stopword_file",
    "innodb_ft_enable_stopword",
    "innodb_ft_max_token_size",
    "innodb_ft_min_token_size",
    "innodb_ft_server_stopword_table",
    "innodb_ft_user_stopword_table",
    "ngram_token_size",
];

impl Requires {
    /// The requirements of a backup, without those of its definitions.
    pub fn of(manifest: &Manifest) -> Requires {
        let loadable = manifest.server.fingerprint.get(LOADABLE_FUNCTIONS);
        let loadable = loadable.into_iter().flat_map(|names| names.split(','));
        Requires {
            loadable: loadable.map(str::to_owned).collect(),
            ..Requires::default()
        }
    }

    /// Adds the requirements of a definition; `object` by its name on the destination.
    pub fn note(&mut self, object: &ObjectId, sql: &[u8], session: &Session) {
        if object.kind == ObjectKind::Event
            && let Some(zone) = session.variable(TIME_ZONE)
        {
            self.note_zone(zone.trim_matches('\''), object);
        }
        if object.kind == ObjectKind::View {
            self.note_view(object, sql);
        }
        if matches!(object.kind, ObjectKind::Table | ObjectKind::Schema) {
            let mut key_block_kib = None;
            let mut tokens = Tokens::new(sql);
            while let Some(token) = tokens.next() {
                let name = |mut tokens: Tokens<'_>| tokens.next()?.name()?;
                if token.is("SRID") {
                    if let Some(number) = name(tokens.clone()).and_then(|srid| srid.parse().ok()) {
                        self.spatial.entry(number).or_insert_with(|| object.clone());
                    }
                } else if token.is("FULLTEXT") {
                    self.fulltext.get_or_insert_with(|| object.clone());
                } else if token.is("ENGINE") && tokens.eat_mark(b'=') {
                    if let Some(engine) = name(tokens.clone()) {
                        self.engines.entry(engine).or_insert_with(|| object.clone());
                    }
                } else if token.is("COLLATE") {
                    self.note_collation(object, tokens.clone());
                } else if token.is("PARSER") {
                    if let Some(parser) = name(tokens.clone()) {
                        self.parsers.entry(parser).or_insert_with(|| object.clone());
                    }
                } else if token.is("ROW_FORMAT") && tokens.eat_mark(b'=') {
                    // Half of the usual page, unless KEY_BLOCK_SIZE follows.
                    key_block_kib = tokens.eat("COMPRESSED").then_some(8);
                } else if token.is("KEY_BLOCK_SIZE") && tokens.eat_mark(b'=') {
                    // That of the table follows those of its keys.
                    key_block_kib = name(tokens.clone()).and_then(|size| size.parse().ok());
                }
            }
            self.note_storage(object, sql, key_block_kib);
        }
    }

    /// `COLLATE name`, `COLLATE=name`
    fn note_collation(&mut self, object: &ObjectId, mut after: Tokens<'_>) {
        after.eat_mark(b'=');
        if let Some(Token::Word(name)) = after.next()
            && let Ok(name) = std::str::from_utf8(name)
            && name.is_ascii()
        {
            self.collations
                .entry(name.to_owned())
                .or_insert_with(|| object.clone());
        }
    }

    fn note_view(&mut self, view: &ObjectId, sql: &[u8]) {
        let mut tokens = Tokens::new(sql);
        let mut qualified = false;
        while let Some(token) = tokens.next() {
            if token.is("COLLATE") {
                self.note_collation(view, tokens.clone());
            } else if let Some(Some(name)) = token.name()
                && !qualified
                && self.loadable.contains(&name.to_lowercase())
                && tokens.clone().eat_mark(b'(')
            {
                self.functions
                    .entry(name.to_lowercase())
                    .or_insert_with(|| view.clone());
            }
            qualified = token == Token::Mark(b'.');
        }
    }

    fn note_storage(&mut self, object: &ObjectId, sql: &[u8], key_block_kib: Option<u64>) {
        let (mut tablespace, mut encrypted) = (None, None);
        for storage in placement::storage(sql) {
            match storage {
                Storage::Tablespace(name) => tablespace = Some(name),
                Storage::Encryption(yes) => encrypted = Some(yes),
                Storage::Directory(_) | Storage::ReadOnly => {}
            }
        }
        if let Some(yes) = encrypted {
            self.note_encryption(object, yes);
        }
        if let Some(name) = tablespace {
            let mut create = format!("CREATE TABLESPACE {}", quote(&name));
            if let Some(kib) = key_block_kib {
                create.push_str(&format!(" FILE_BLOCK_SIZE = {kib}K"));
            }
            if encrypted == Some(true) {
                create.push_str(" ENCRYPTION = 'Y'");
            }
            self.tablespaces
                .entry(name)
                .or_insert_with(|| (object.clone(), create));
        }
    }

    fn note_encryption(&mut self, object: &ObjectId, encrypted: bool) {
        let schema = ObjectId::schema(object.schema.as_str());
        if object.kind == ObjectKind::Schema {
            self.encrypted_schemas.insert(schema, encrypted);
            return;
        }
        let default = self.encrypted_schemas.get(&schema).copied();
        if encrypted {
            self.encrypted.get_or_insert_with(|| object.clone());
        }
        if encrypted != default.unwrap_or(false) {
            self.unlike_its_schema.get_or_insert_with(|| object.clone());
        }
    }

    /// Engines that the server lacks: it would create the tables with its default engine.
    pub fn missing_engines(&self, facts: &DestinationFacts) -> Vec<Refusal> {
        let missing = self.engines.iter().filter(|(engine, _)| {
            let kind = facts.plugins.get(&engine.to_lowercase());
            kind.is_none_or(|kind| kind != "storage engine")
        });
        let refusal = |(engine, table): (&String, &ObjectId)| {
            Refusal::new(
                format!(
                    "the destination lacks the storage engine {engine} (used by {table}): it would create the table \
                     with its default engine, and the comparison would find another definition (exit 7)"
                ),
                format!("install the plugin of {engine} on the destination"),
            )
        };
        missing.map(refusal).collect()
    }

    /// Variables that differ from the target's, so that full-text keys will contain other words.
    pub fn fulltext_warnings(&self, facts: &DestinationFacts, manifest: &Manifest) -> Vec<String> {
        let Some(table) = &self.fulltext else {
            return Vec::new();
        };
        let differing = FULLTEXT_VARIABLES.iter().filter_map(|name| {
            let theirs = manifest.server.fingerprint.get(*name)?;
            let ours = facts.variables.get(*name)?;
            (ours != theirs).then(|| {
                format!(
                    "{name} is {ours:?}, it was {theirs:?} on the target: full-text keys, such as that of {table}, \
                     will contain other words, which the comparison does not detect"
                )
            })
        });
        differing.collect()
    }

    /// Encryption that the account may not choose without TABLE_ENCRYPTION_ADMIN.
    fn encryption(&self, facts: &DestinationFacts) -> Option<Refusal> {
        const CHECK: &str = "table_encryption_privilege_check";
        const PRIVILEGE: &str = "TABLE_ENCRYPTION_ADMIN";
        if !facts.is_on(CHECK) || facts.may(&[PRIVILEGE]) {
            return None;
        }
        let default = facts.is_on("default_table_encryption");
        let mut schemas = self.encrypted_schemas.iter();
        let schema = schemas.find(|(_, encrypted)| **encrypted != default);
        let (object, from) = match schema {
            Some((schema, _)) => (schema, "default_table_encryption"),
            None => (self.unlike_its_schema.as_ref()?, "that of its schema"),
        };
        Some(Refusal::new(
            format!("{CHECK} is on, and the encryption of {object} differs from {from}"),
            format!("grant {PRIVILEGE} to {}", facts.own_account),
        ))
    }

    /// An engine of the backup in which the server creates no tables.
    fn disabled_engine(&self, facts: &DestinationFacts) -> Option<Refusal> {
        const DISABLED: &str = "disabled_storage_engines";
        let disabled: Vec<&str> = facts.variable(DISABLED).split(',').map(str::trim).collect();
        let (engine, table) = self
            .engines
            .iter()
            .find(|(engine, _)| disabled.iter().any(|one| one.eq_ignore_ascii_case(engine)))?;
        Some(Refusal::new(
            format!("{DISABLED} contains {engine}, the engine of {table}"),
            format!("remove {engine} from {DISABLED} and restart the server"),
        ))
    }

    /// Adds the requirements of a table's expressions.
    pub fn note_needs(&mut self, table: &ObjectId, needs: &Needs) {
        if let Some(zone) = needs.settings.get(TIME_ZONE) {
            self.note_zone(zone, table);
        }
    }

    fn note_zone(&mut self, zone: &str, object: &ObjectId) {
        let named = zone.bytes().any(|byte| byte.is_ascii_alphabetic());
        if named && !zone.eq_ignore_ascii_case("SYSTEM") {
            self.zones
                .entry(zone.to_owned())
                .or_insert_with(|| object.clone());
        }
    }

    /// Plugins that parse full-text keys, and that the server lacks.
    fn missing_parsers(&self, facts: &DestinationFacts) -> impl Iterator<Item = Refusal> {
        let missing = self.parsers.iter().filter(|(parser, _)| {
            let kind = facts.plugins.get(&parser.to_lowercase());
            kind.is_none_or(|kind| kind != "ftparser")
        });
        missing.map(|(parser, table)| {
            Refusal::new(
                format!("the destination lacks the full-text parser {parser} (used by {table})"),
                format!("install the plugin {parser} on the destination"),
            )
        })
    }

    /// Requirements that the server does not satisfy, besides spatial reference systems.
    pub async fn missing(
        &self,
        connection: &mut Connection,
        facts: &DestinationFacts,
    ) -> Result<Vec<Refusal>> {
        let mut all: Vec<Refusal> = self.missing_parsers(facts).collect();
        all.extend(provided::missing_tablespaces(connection, &self.tablespaces).await?);
        if let Some(table) = &self.encrypted {
            all.extend(provided::missing_keys(connection, facts, table).await?);
        }
        all.extend(provided::missing_collations(connection, &self.collations).await?);
        all.extend(provided::missing_functions(connection, &self.functions).await?);
        for (zone, object) in &self.zones {
            let sql = format!(
                "SELECT CONVERT_TZ('2000-01-01 00:00:00', '+00:00', {}) IS NULL",
                literal(zone)
            );
            if connection.one::<bool>(&sql).await? {
                all.push(Refusal::new(
                    format!("the destination does not know the time zone {zone} (used by {object})"),
                    "load the time zones: mysql_tzinfo_to_sql /usr/share/zoneinfo | mysql -u root mysql",
                ));
            }
        }
        Ok(all)
    }
}

/// Global settings under which a restore would fail, and which no session can override.
pub fn global_settings(
    facts: &DestinationFacts,
    manifest: &Manifest,
    requires: &Requires,
) -> Vec<Refusal> {
    let mut all = Vec::new();
    all.extend(requires.encryption(facts));
    all.extend(whatever_is_restored(facts, Some(manifest)));
    all.extend(requires.disabled_engine(facts));
    all
}

/// Those of [`global_settings`] that do not depend on the definitions of a backup.
pub fn whatever_is_restored(facts: &DestinationFacts, manifest: Option<&Manifest>) -> Vec<Refusal> {
    let mut all = Vec::new();
    for (variable, harmless) in [
        ("innodb_read_only", "OFF"),
        ("innodb_force_recovery", "0"),
        ("offline_mode", "OFF"),
    ] {
        let value = facts.variable(variable);
        if !value.is_empty() && !value.eq_ignore_ascii_case(harmless) {
            all.push(Refusal::new(
                format!("{variable} is {value}: nothing can be written to the server"),
                format!("start it with {variable}={harmless}"),
            ));
        }
    }
    let is_short = |format: &str| {
        ["compact", "redundant"]
            .iter()
            .any(|one| format.eq_ignore_ascii_case(one))
    };
    const ROW_FORMAT: &str = "innodb_default_row_format";
    let ours = facts.variable(ROW_FORMAT);
    let theirs = manifest.and_then(|manifest| manifest.server.fingerprint.get(ROW_FORMAT));
    if let Some(theirs) = theirs.filter(|theirs| is_short(ours) && !is_short(theirs)) {
        all.push(Refusal::new(
            format!(
                "{ROW_FORMAT} is {ours}, it was {theirs} on the target: rows and keys may not fit"
            ),
            format!("SET GLOBAL {ROW_FORMAT} = {theirs}"),
        ));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_time_zones_and_spatial_reference_systems_are_found() {
        let mut requires = Requires::default();
        let event = ObjectId::new(ObjectKind::Event, "s", "e");
        for zone in ["'Europe/Berlin'", "'SYSTEM'", "'+02:00'"] {
            let mut session = Session::default();
            assert!(session.set(TIME_ZONE, zone));
            requires.note(&event, b"CREATE EVENT", &session);
        }
        let table = ObjectId::table("s", "t");
        let sql = b"CREATE TABLE `t` (\n  `SRID` int COMMENT 'SRID 5',\n  `p` point NOT NULL /*!80003 SRID 1999999 */\n)";
        requires.note(&table, sql, &Session::default());
        assert_eq!(requires.zones, [("Europe/Berlin".to_owned(), event)].into());
        assert_eq!(requires.spatial, [(1_999_999, table)].into());
    }

    #[test]
    fn engines_full_text_keys_and_encryption_are_found_where_they_are_options() {
        let mut requires = Requires::default();
        let (schema, table) = (ObjectId::schema("s"), ObjectId::table("s", "t"));
        let other = ObjectId::table("s", "u");
        for (object, sql) in [
            (
                &schema,
                "CREATE DATABASE `s` /*!80016 DEFAULT ENCRYPTION='N' */",
            ),
            (
                &table,
                "CREATE TABLE `t` (\n  `ENGINE` int COMMENT 'ENGINE=X ENCRYPTION=Y',\n  FULLTEXT KEY `k` (`a`)\n) ENGINE=InnoDB",
            ),
            (
                &other,
                "CREATE TABLE `u` (\n  `FULLTEXT` int\n) ENGINE=ARCHIVE /*!80016 ENCRYPTION='Y' */",
            ),
        ] {
            requires.note(object, sql.as_bytes(), &Session::default());
        }
        let engines = [
            ("ARCHIVE".to_owned(), other.clone()),
            ("InnoDB".to_owned(), table.clone()),
        ];
        assert_eq!(requires.engines, engines.into());
        assert_eq!(requires.fulltext, Some(table));
        assert_eq!(requires.encrypted_schemas, [(schema, false)].into());
        assert_eq!(requires.unlike_its_schema, Some(other));
    }
}
