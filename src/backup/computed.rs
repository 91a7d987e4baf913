//! Session settings under which the expressions of a table compute the stored values.
//!
//! Generated columns and CHECKs are evaluated in the session that writes a row, and the server does not record its
//! settings. For each table whose expressions depend on a session variable ([`crate::sql::computed`]), the stored
//! values are compared with those computed now: first with the server's global settings, and if rows differ, with
//! others. The search handles one expression at a time and changes one variable at a time, and keeps only settings
//! under which all previous expressions still match. A restore uses the settings found. Values that no settings
//! reproduce are reported with the number of rows.
//!
//! Each such table is read once, or twice if invalid dates might matter; a trial of unsuitable settings ends at the
//! first row that differs. Rows that change between this check and the dump are not noticed.

use std::collections::{BTreeMap, BTreeSet};

use crate::backup::time_zones::Zones;
use crate::mysql::connect::{literal, literals, server_code};
use crate::mysql::{Connection, ServerConfig, ServerVersion, connect};
use crate::sql::computed::{
    self, ALLOW_INVALID_DATES, Computed, DEFAULT_COLLATION, DEFAULT_REGEX_FLAGS, MODES,
    NO_UNSIGNED_SUBTRACTION, Needs, Place, SQL_MODE, Settings, TIME_ZONE, VARIABLES,
};
use crate::sql::create_table::CreateTable;
use crate::sql::statement::ObjectId;
use crate::util::format::counted;
use crate::{Error, Result};

/// Result for all tables.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub needs: BTreeMap<ObjectId, Needs>,
    /// Values that a restore computes differently, a line each.
    pub lossy: Vec<String>,
}

/// Locales with distinct names of days and months (MySQL manual, "MySQL Server Locale Support").
const LOCALES: &str = "en_US de_DE fr_FR es_ES it_IT pt_PT pt_BR nl_NL pl_PL ru_RU ja_JP zh_CN zh_TW ko_KR tr_TR \
    sv_SE da_DK nb_NO fi_FI cs_CZ sk_SK hu_HU ro_RO bg_BG uk_UA el_GR he_IL ar_AE ar_SA ar_EG hi_IN th_TH vi_VN \
    id_ID ms_MY et_EE lv_LV lt_LT hr_HR sl_SI sr_RS mk_MK sq_AL be_BY ca_ES eu_ES gl_ES is_IS fo_FO ur_PK ta_IN \
    te_IN gu_IN mn_MN de_AT de_CH en_GB es_MX";

/// ER_PARTITION_CONST_DOMAIN_ERROR
const OUT_OF_DOMAIN: u16 = 1563;

/// Finds the settings of all tables, on a separate connection, since the search keeps changing its session.
pub(super) async fn needs(
    config: &ServerConfig,
    server: &ServerVersion,
    schemas: &[String],
) -> Result<Found> {
    let mut connection = connect(config).await?.with_long_timeout();
    let mut found = Found::default();
    let mut zones = Zones::default();
    let system_zone: String = connection.one("SELECT @@system_time_zone").await?;
    for table in tables(&mut connection, server, schemas).await? {
        let sql = format!("SHOW CREATE TABLE {}", table.quoted());
        let create = connection.row::<(String, Vec<u8>)>(&sql).await;
        let create = create.map_err(|error| match server_code(&error) {
            Some(OUT_OF_DOMAIN) => Error::source(format!(
                "cannot dump {table}: it is partitioned by a difference of unsigned numbers, which may not be negative \
                 in the session of the dump program (NO_UNSIGNED_SUBTRACTION)"
            ))
            .hint("partition it by a column of a signed type, or exclude its schema")
            .caused_by(error),
            _ => error,
        })?;
        let Some((_, create)) = create else {
            continue;
        };
        let expressions = computed::of_table(&create);
        if expressions.is_empty() {
            continue;
        }
        let lossy = &mut found.lossy;
        lossy.extend(by_system_zone(&system_zone, &table, &expressions));
        let mut search = Search {
            connection: &mut connection,
            mariadb: server.is_mariadb(),
            table: &table,
            zones: &mut zones,
            collates: false,
        };
        let mut needs = search.needs(&expressions, lossy).await?;
        // With the plain client, values of unusual settings are recomputed, too.
        if needs.recomputes() || !needs.is_default() {
            if !server.is_mariadb() {
                let checks = expressions.iter().filter(|one| one.place == Place::Check);
                needs.checks = checks.map(|one| one.name.clone()).collect();
            }
            needs.partitions = partitions(&create);
        }
        found.needs.insert(table, needs);
    }
    connection.close().await;
    Ok(found)
}

/// The expressions that convert from or to the zone of the server's machine, which no session sets.
fn by_system_zone<'a>(
    zone: &'a str,
    table: &'a ObjectId,
    expressions: &'a [Computed],
) -> impl Iterator<Item = String> + 'a {
    let found = expressions.iter().filter(move |one| {
        let text = one.expression.to_ascii_lowercase();
        let has = |word: &[u8]| memchr::memmem::find(&text, word).is_some();
        zone != "UTC" && has(b"convert_tz") && has(b"'system'")
    });
    found.map(move |one| {
        format!(
            "{}.{}.{}: CONVERT_TZ with 'SYSTEM' reads the time zone of the machine, here {zone}: a server on a machine in \
             another zone, such as the scratch server of a drill, computes other values (exit 7)",
            table.schema, table.name, one.name
        )
    })
}

/// Tables with generated columns, CHECKs, functional indexes or partitions by a difference.
async fn tables(
    connection: &mut Connection,
    server: &ServerVersion,
    schemas: &[String],
) -> Result<BTreeSet<ObjectId>> {
    let generated = format!(
        "SELECT DISTINCT table_schema, table_name FROM information_schema.columns \
         WHERE table_schema IN ({}) AND generation_expression <> ''",
        literals(schemas)
    );
    let mut queries = vec![generated.as_str()];
    queries.push(if server.is_mariadb() {
        // Only this table lists column CHECKs.
        "SELECT DISTINCT constraint_schema, table_name FROM information_schema.check_constraints"
    } else {
        // Empty on a server without CHECK constraints.
        "SELECT DISTINCT table_schema, table_name FROM information_schema.table_constraints \
         WHERE constraint_type = 'CHECK'"
    });
    let has_functional_indexes = connection
        .has_column("information_schema", "STATISTICS", "EXPRESSION")
        .await?;
    if has_functional_indexes {
        queries.push(
            "SELECT DISTINCT table_schema, table_name FROM information_schema.statistics \
             WHERE expression IS NOT NULL",
        );
    }
    queries.push(
        "SELECT DISTINCT table_schema, table_name FROM information_schema.partitions \
         WHERE partition_expression LIKE '%-%' OR subpartition_expression LIKE '%-%'",
    );
    let mut tables = BTreeSet::new();
    for query in queries {
        let rows: Vec<(String, String)> = connection.rows(query).await?;
        tables.extend(
            rows.into_iter()
                .filter(|(schema, _)| schemas.contains(schema))
                .map(|(schema, name)| ObjectId::table(schema, name)),
        );
    }
    Ok(tables)
}

/// The PARTITION clause of a table that is partitioned by a computed value.
fn partitions(create: &[u8]) -> Option<String> {
    let table = CreateTable::parse(create);
    let clause = table.partitions()?;
    let computed = computed::is_partitioned_by_computed(&table);
    computed.then(|| String::from_utf8_lossy(clause).into_owned())
}

/// Search for the settings of one table.
struct Search<'a> {
    connection: &'a mut Connection,
    mariadb: bool,
    table: &'a ObjectId,
    zones: &'a mut Zones,
    /// Whether [`DEFAULT_COLLATION`] is set in the session.
    collates: bool,
}

impl Search<'_> {
    async fn needs(&mut self, expressions: &[Computed], lossy: &mut Vec<String>) -> Result<Needs> {
        let variables: BTreeSet<&str> = expressions.iter().flat_map(Computed::variables).collect();
        let mut needs = Needs::default();
        for &variable in &variables {
            let value = self.global_value(variable, expressions).await?;
            let value = value.map(|value| (variable.to_owned(), value));
            needs.settings.extend(value);
        }
        let all: Vec<&Computed> = expressions.iter().collect();
        if !self.agrees(&all, &needs.settings).await? {
            self.search(&all, &mut needs.settings).await?;
            self.report_unlike(expressions, &mut needs, lossy).await?;
        }
        needs.differs_when_loading = self.depends_on_any_day(&all, &needs).await?;
        self.set(&Settings::new()).await?;
        Ok(needs)
    }

    /// Searches settings for as many expressions as possible: CHECKs first, since rows that do not pass one cannot be
    /// restored, then those with the fewest dependencies.
    async fn search(&mut self, all: &[&Computed], settings: &mut Settings) -> Result<()> {
        let mut order = all.to_vec();
        order.sort_by_key(|one| (one.place != Place::Check, one.dependencies.len()));
        let mut settled: Vec<&Computed> = Vec::new();
        for one in order {
            if self.agrees(&[one], settings).await? {
                settled.push(one);
                continue;
            }
            for (variable, trial) in self.trials(one, settings).await? {
                // Expressions that do not depend on this variable still agree.
                let mut affected: Vec<&Computed> = vec![one];
                affected.extend(
                    settled
                        .iter()
                        .filter(|other| other.variables().contains(variable)),
                );
                if self.agrees(&affected, &trial).await? {
                    *settings = trial;
                    settled.push(one);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Variations of the settings: each value of each variable that the expression depends on.
    async fn trials(
        &mut self,
        one: &Computed,
        settings: &Settings,
    ) -> Result<Vec<(&'static str, Settings)>> {
        let mut trials = Vec::new();
        for variable in one.variables() {
            for value in self.values(variable, one, settings).await? {
                let mut trial = settings.clone();
                trial.insert(variable.to_owned(), value);
                if trial != *settings {
                    trials.push((variable, trial));
                }
            }
        }
        Ok(trials)
    }

    /// Counts and reports the rows that the settings found do not reproduce.
    async fn report_unlike(
        &mut self,
        expressions: &[Computed],
        needs: &mut Needs,
        lossy: &mut Vec<String>,
    ) -> Result<()> {
        self.set(&needs.settings).await?;
        let settings: Vec<String> = needs
            .settings
            .iter()
            .map(|(name, value)| match value.as_str() {
                "" => format!("{name}=''"),
                value => format!("{name}={value}"),
            })
            .collect();
        // None of the variables that decide these expressions exists on this server.
        let settings = match settings.is_empty() {
            true => "the settings of its own session".to_owned(),
            false => settings.join(", "),
        };
        for one in expressions {
            let Some(condition) = computed::mismatch_condition(one).filter(|_| one.is_shown())
            else {
                continue;
            };
            let table = self.table;
            let sql = format!("SELECT COUNT(*) FROM {} WHERE {condition}", table.quoted());
            let counted_rows = match self.connection.one::<u64>(&sql).await {
                Ok(rows) => Some(rows),
                Err(error) if is_data_error(&error) => None,
                Err(error) => return Err(error),
            };
            if counted_rows == Some(0) {
                continue;
            }
            needs.mismatched_rows = needs
                .mismatched_rows
                .saturating_add(counted_rows.unwrap_or(1));
            needs.mismatched.push(one.name.clone());
            let name = &one.name;
            let rows = counted_rows.map_or("rows".to_owned(), |rows| counted(rows, "row"));
            // MariaDB's dump program prints stored values, MySQL's none that are computed.
            let compared = match self.mariadb && one.is_kept() {
                true => ", and the comparison reports them (exit 7)",
                false => "",
            };
            let line = match one.place {
                Place::Check => format!(
                    "{rows} not passing the CHECK {name} under any session settings: MySQL only accepts them if it is \
                     NOT ENFORCED"
                ),
                _ => format!(
                    "{rows} with values that no session settings reproduce: a restore recomputes them with {settings}{compared}",
                ),
            };
            let of = match one.place {
                Place::Check => format!("{}.{}", table.schema, table.name),
                _ => format!("{}.{}.{name}", table.schema, table.name),
            };
            lossy.push(format!("{of}: {line}"));
        }
        Ok(())
    }

    /// Whether values would differ with [`ALLOW_INVALID_DATES`], with which rows are loaded.
    async fn depends_on_any_day(&mut self, all: &[&Computed], needs: &Needs) -> Result<bool> {
        let allowed = |modes: &String| modes.split(',').any(|mode| mode == ALLOW_INVALID_DATES);
        if needs.settings.get(SQL_MODE).is_some_and(allowed) {
            return Ok(false);
        }
        let dependent: Vec<&Computed> = all
            .iter()
            .copied()
            .filter(|one| {
                one.is_shown()
                    && one.dependencies.contains(ALLOW_INVALID_DATES)
                    && !needs.is_mismatched(&one.name)
            })
            .collect();
        if dependent.is_empty() {
            return Ok(false);
        }
        let mut settings = needs.settings.clone();
        let modes = settings.entry(SQL_MODE.to_owned()).or_default();
        *modes = [modes, ALLOW_INVALID_DATES].join(",");
        Ok(!self.agrees(&dependent, &settings).await?)
    }

    /// Whether the expressions yield the stored values of all rows under these settings.
    async fn agrees(&mut self, expressions: &[&Computed], settings: &Settings) -> Result<bool> {
        let conditions = expressions
            .iter()
            .copied()
            .filter_map(computed::mismatch_condition);
        let conditions: Vec<String> = conditions.collect();
        if conditions.is_empty() {
            return Ok(true);
        }
        if !self.set(settings).await? {
            return Ok(false);
        }
        let sql = format!(
            "SELECT 1 FROM {} WHERE {} LIMIT 1",
            self.table.quoted(),
            conditions.join(" OR ")
        );
        match self.connection.row::<u8>(&sql).await {
            Ok(row) => Ok(row.is_none()),
            // The row cannot have been written with these settings.
            Err(error) if is_data_error(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Applies the settings to the session. False if the server does not support a value, or denies it to the account.
    async fn set(&mut self, settings: &Settings) -> Result<bool> {
        let needs = Needs {
            settings: settings.clone(),
            ..Needs::default()
        };
        // Reset variables of an earlier trial.
        let mut statements = vec!["SET SESSION sql_mode = ''".to_owned()];
        let collates = settings.contains_key(DEFAULT_COLLATION);
        if std::mem::replace(&mut self.collates, collates) && !collates {
            statements.push(format!("SET SESSION {DEFAULT_COLLATION} = DEFAULT"));
        }
        statements.extend(needs.set_statement());
        for sql in statements {
            match self.connection.run(&sql).await {
                Ok(()) => {}
                Err(error) if is_unsupported(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// The global value of a variable in a form that other servers accept.
    async fn global_value(
        &mut self,
        variable: &str,
        expressions: &[Computed],
    ) -> Result<Option<String>> {
        let value: Option<(String, String)> = self
            .connection
            .row(&format!("SHOW GLOBAL VARIABLES LIKE {}", literal(variable)))
            .await?;
        let Some((_, value)) = value else {
            return Ok(None);
        };
        let builtin = VARIABLES
            .iter()
            .any(|(name, own)| *name == variable && *own == value);
        Ok(match variable {
            TIME_ZONE if value == "SYSTEM" => Some(self.zones.system(self.connection).await?),
            DEFAULT_COLLATION if builtin => None,
            SQL_MODE => {
                let signed = self.needs_signed(expressions);
                let modes = MODES.into_iter().filter(|mode| {
                    *mode != ALLOW_INVALID_DATES && value.split(',').any(|one| one == *mode)
                        || *mode == NO_UNSIGNED_SUBTRACTION && signed
                });
                Some(modes.collect::<Vec<_>>().join(","))
            }
            _ => Some(value),
        })
    }

    /// Whether the server accepts, or may have accepted, the definition only with [`NO_UNSIGNED_SUBTRACTION`].
    fn needs_signed(&self, expressions: &[Computed]) -> bool {
        expressions.iter().any(|one| {
            one.may_be_unsigned && (one.place == Place::Partition || self.mariadb && one.is_kept())
        })
    }

    /// Values that a variable may have had when an expression was computed, the most likely first.
    async fn values(
        &mut self,
        variable: &str,
        expression: &Computed,
        settings: &Settings,
    ) -> Result<Vec<String>> {
        let own = VARIABLES.iter().find(|(name, _)| *name == variable);
        let mut all: Vec<String> = own
            .map(|(_, value)| (*value).to_owned())
            .into_iter()
            .collect();
        match variable {
            TIME_ZONE => all.extend(self.zones.all(self.connection).await?.iter().cloned()),
            "lc_time_names" => all.extend(LOCALES.split_whitespace().map(str::to_owned)),
            "div_precision_increment" => all.extend((0..=30).map(|digits| digits.to_string())),
            "block_encryption_mode" => {
                for bits in ["128", "192", "256"] {
                    let modes = ["ecb", "cbc", "cfb1", "cfb8", "cfb128", "ofb"];
                    all.extend(modes.map(|mode| format!("aes-{bits}-{mode}")));
                }
            }
            DEFAULT_COLLATION => all.push("utf8mb4_general_ci".to_owned()),
            DEFAULT_REGEX_FLAGS => all.extend(subsets(REGEX_FLAGS)),
            SQL_MODE => {
                let current = settings.get(SQL_MODE).map_or("", String::as_str);
                let relevant: Vec<&str> = MODES
                    .into_iter()
                    .filter(|mode| expression.dependencies.contains(mode))
                    .collect();
                let others = current
                    .split(',')
                    .filter(|mode| !mode.is_empty() && !relevant.contains(mode));
                let others: Vec<&str> = others.collect();
                all = subsets(&relevant)
                    .map(|chosen| {
                        let chosen = chosen.split(',').filter(|mode| !mode.is_empty());
                        others
                            .iter()
                            .copied()
                            .chain(chosen)
                            .collect::<Vec<_>>()
                            .join(",")
                    })
                    .collect();
            }
            _ => {}
        }
        Ok(all)
    }
}

/// Flags of [`DEFAULT_REGEX_FLAGS`].
const REGEX_FLAGS: &[&str] = &[
    "DOTALL",
    "DUPNAMES",
    "EXTENDED",
    "EXTENDED_MORE",
    "EXTRA",
    "MULTILINE",
    "UNGREEDY",
];

/// All subsets of a few words, comma-separated.
fn subsets<'a>(words: &'a [&'a str]) -> impl Iterator<Item = String> + 'a {
    (0..1_usize << words.len()).map(move |chosen| {
        let chosen = words
            .iter()
            .enumerate()
            .filter(|(at, _)| chosen >> at & 1 == 1);
        chosen.map(|(_, word)| *word).collect::<Vec<_>>().join(",")
    })
}

/// Whether a server does not support a value of a variable, or denies it to the account: MariaDB has no time zone
/// `+14:00`.
pub(super) fn is_unsupported(error: &Error) -> bool {
    /// ER_UNKNOWN_SYSTEM_VARIABLE, ER_SPECIFIC_ACCESS_DENIED, ER_WRONG_VALUE_FOR_VAR, ER_WRONG_TYPE_FOR_VAR,
    /// ER_UNKNOWN_COLLATION, ER_UNKNOWN_TIME_ZONE, ER_UNKNOWN_LOCALE.
    const UNSUPPORTED: [u16; 7] = [1193, 1227, 1231, 1232, 1273, 1298, 1649];
    server_code(error).is_some_and(|code| UNSUPPORTED.contains(&code))
}

/// Whether an expression cannot be computed for a row: out of range, invalid JSON, invalid regular expression.
fn is_data_error(error: &Error) -> bool {
    server_code(error).is_some_and(|code| {
        matches!(
            code,
            1139 | 1264 | 1265 | 1292 | 1300 | 1301 | 1365 | 1366 | 1367 | 1411 | 1690 | 3033..=3064
                | 3140..=3160 | 3516..=3618 | 3685..=3702 | 3732 | 3854 | 3903 | 3904
        )
    })
}
