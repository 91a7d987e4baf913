//! What to select of each table, as a dump program does, and whether the reader supports the table.

use std::collections::{BTreeMap, BTreeSet};

use crate::Result;
use crate::mysql::connect::{NamedRow, literals};
use crate::mysql::{Connection, Flavour, ServerVersion};
use crate::sql::statement::{ObjectId, quote};

/// Types that the reader writes as a dump program does, by their names in information_schema; tested one by one.
const TYPES: &[&str] = &[
    "bigint",
    "binary",
    "bit",
    "blob",
    "char",
    "date",
    "datetime",
    "decimal",
    "double",
    "enum",
    "float",
    "geomcollection",
    "geometry",
    "geometrycollection",
    "inet4",
    "inet6",
    "int",
    "json",
    "linestring",
    "longblob",
    "longtext",
    "mediumblob",
    "mediumint",
    "mediumtext",
    "multilinestring",
    "multipoint",
    "multipolygon",
    "point",
    "polygon",
    "set",
    "smallint",
    "text",
    "time",
    "timestamp",
    "tinyblob",
    "tinyint",
    "tinytext",
    "uuid",
    "varbinary",
    "varchar",
    "vector",
    "year",
];

/// Engines whose rows the reader reads. Of others, dump programs may leave out the rows.
const ENGINES: &[&str] = &[
    "ARCHIVE",
    "ARIA",
    "BLACKHOLE",
    "CSV",
    "INNODB",
    "MEMORY",
    "MYISAM",
];

/// The period of a system-versioned table that declares none, as MariaDB's program lists it.
const IMPLICIT_PERIOD: &str = ", row_start, row_end";

/// The rows of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRows {
    /// The table.
    pub table: ObjectId,
    /// The list of columns, quoted, where the program writes one.
    pub columns: Option<String>,
    /// Bytes of rows, as the server estimates them; 0 if it does not.
    pub bytes: u64,
    /// Number of rows, as the server estimates it.
    pub rows: u64,
    /// Whether the history of a system-versioned table is read.
    pub history: bool,
    /// Whether several queries see the rows of one moment, and their order does not matter to a restore.
    pub is_divisible: bool,
}

impl TableRows {
    /// The query for all rows.
    pub fn select(&self) -> String {
        let columns = self.columns.as_deref().unwrap_or("*");
        let table = self.table.quoted();
        let history = match self.history {
            true => " FOR SYSTEM_TIME ALL",
            false => "",
        };
        format!("SELECT /*!40001 SQL_NO_CACHE */ {columns} FROM {table}{history}")
    }
}

/// The tables whose rows are dumped, the largest first; `history`: with those of system-versioned ones. `Err` in the
/// result: why the reader does not support one.
pub async fn of(
    connection: &mut Connection,
    server: &ServerVersion,
    program: Flavour,
    schemas: &[String],
    history: bool,
) -> Result<std::result::Result<Vec<TableRows>, String>> {
    if server.flavour != program {
        return Ok(Err(format!("the dump program is {program}'s")));
    }
    if schemas.is_empty() {
        return Ok(Ok(Vec::new()));
    }
    let mut tables = BTreeMap::new();
    for table in base_tables(connection, schemas).await? {
        let id = ObjectId::table(table.schema, table.name);
        let is_supported = |engine: &&str| table.engine.eq_ignore_ascii_case(engine);
        if !ENGINES.iter().any(is_supported) {
            return Ok(Err(format!("{id} has the engine {}", table.engine)));
        }
        let rows = TableRows {
            table: id.clone(),
            columns: None,
            bytes: table.bytes,
            rows: table.rows,
            history: history && table.versioned,
            is_divisible: table.engine.eq_ignore_ascii_case("InnoDB") && !table.versioned,
        };
        tables.insert(id, rows);
    }
    if let Some((schema, table, kind)) = unsupported(connection, schemas).await? {
        return Ok(Err(format!("{schema}.{table} has a column of type {kind}")));
    }
    let mut with_period = BTreeSet::new();
    for (schema, table, column, expression) in listed(connection, server, history, schemas).await? {
        let table = ObjectId::table(schema, table);
        if let Some(rows) = tables.get_mut(&table) {
            let list = rows.columns.get_or_insert_default();
            if !list.is_empty() {
                list.push_str(", ");
            }
            list.push_str(&quote(&column));
        }
        if expression.is_some_and(|expression| expression == "ROW START") {
            with_period.insert(table);
        }
    }
    for rows in tables.values_mut().filter(|rows| rows.history) {
        if let Some(list) = rows.columns.as_mut()
            && !with_period.contains(&rows.table)
        {
            list.push_str(IMPLICIT_PERIOD);
        }
    }
    let mut tables: Vec<TableRows> = tables.into_values().collect();
    tables.sort_by_key(|rows| std::cmp::Reverse(rows.bytes));
    Ok(Ok(tables))
}

/// A table of a server; sizes are estimates.
struct BaseTable {
    schema: String,
    name: String,
    engine: String,
    bytes: u64,
    rows: u64,
    versioned: bool,
}

async fn base_tables(connection: &mut Connection, schemas: &[String]) -> Result<Vec<BaseTable>> {
    // MySQL shows estimates that are up to a day old.
    let expiry = connection.variable(&["information_schema_stats_expiry"]);
    let expires = expiry.await?.is_some();
    if expires {
        let sql = "SET SESSION information_schema_stats_expiry = 0";
        connection.run(sql).await?;
    }
    // Read as text, since the types of the columns depend on the version.
    let rows = connection
        .named_rows(&format!(
            "SELECT table_schema s, table_name n, table_type t, engine e, data_length d, table_rows r \
             FROM information_schema.tables WHERE table_schema IN ({}) \
             AND table_type NOT IN ('VIEW', 'SYSTEM VIEW', 'SEQUENCE') AND table_type NOT LIKE 'TEMPORARY%'",
            literals(schemas)
        ))
        .await?;
    if expires {
        let sql = "SET SESSION information_schema_stats_expiry = DEFAULT";
        connection.run(sql).await?;
    }
    let text = |row: &NamedRow, column| row.get(column).unwrap_or_default().to_owned();
    let number = |row: &NamedRow, column| text(row, column).parse().unwrap_or(0);
    let rows = rows
        .iter()
        .filter(|row| is_listed(schemas, &text(row, "s")));
    let tables = rows.map(|row| BaseTable {
        schema: text(row, "s"),
        name: text(row, "n"),
        engine: text(row, "e"),
        bytes: number(row, "d"),
        rows: number(row, "r"),
        versioned: text(row, "t") == "SYSTEM VERSIONED",
    });
    Ok(tables.collect())
}

/// The first column of a type that the reader does not support.
async fn unsupported(
    connection: &mut Connection,
    schemas: &[String],
) -> Result<Option<(String, String, String)>> {
    let found: Vec<(String, String, String)> = connection
        .rows(&format!(
            "SELECT c.table_schema, c.table_name, c.data_type FROM information_schema.columns c \
             JOIN information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name \
             WHERE c.table_schema IN ({}) AND c.data_type NOT IN ({}) \
             AND t.table_type NOT IN ('VIEW', 'SEQUENCE')",
            literals(schemas),
            literals(TYPES)
        ))
        .await?;
    let mut found = found.into_iter();
    Ok(found.find(|(schema, ..)| is_listed(schemas, schema)))
}

/// A column of a list: schema, table, name, and the expression that generates it.
type Listed = (String, String, String, Option<String>);

/// The columns that are dumped of the tables for which a list of columns is written, in order.
async fn listed(
    connection: &mut Connection,
    server: &ServerVersion,
    history: bool,
    schemas: &[String],
) -> Result<Vec<Listed>> {
    // MariaDB's program dumps the values of generated columns, which its servers ignore.
    let generated = "c.extra LIKE '%GENERATED%' AND c.extra NOT LIKE '%DEFAULT_GENERATED%'";
    let (needs_list, is_dumped) = match server.flavour {
        Flavour::MySql => (
            format!("({generated} OR c.extra LIKE '%INVISIBLE%')"),
            format!("NOT ({generated})"),
        ),
        Flavour::MariaDb => ("c.extra LIKE '%INVISIBLE%'".to_owned(), "1".to_owned()),
    };
    let versioned = match history {
        true => {
            "OR (c.table_schema, c.table_name) IN (SELECT table_schema, table_name \
             FROM information_schema.tables WHERE table_type = 'SYSTEM VERSIONED')"
        }
        false => "",
    };
    let schemas = literals(schemas);
    let select = "FROM information_schema.columns c WHERE c.table_schema IN";
    connection
        .rows(&format!(
            "SELECT c.table_schema, c.table_name, c.column_name, c.generation_expression \
             {select} ({schemas}) AND {is_dumped} AND ((c.table_schema, c.table_name) IN \
             (SELECT c.table_schema, c.table_name {select} ({schemas}) AND {needs_list}) {versioned}) \
             ORDER BY c.table_schema, c.table_name, c.ordinal_position"
        ))
        .await
}

/// Whether the schema is one of these. information_schema may ignore case.
fn is_listed(schemas: &[String], schema: &str) -> bool {
    schemas.iter().any(|listed| listed == schema)
}
