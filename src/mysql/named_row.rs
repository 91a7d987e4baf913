//! Rows of SHOW statements, whose columns differ between versions.

use mysql_async::Row;

/// A row whose columns are read by name, ignoring case.
#[derive(Debug, Clone)]
pub struct NamedRow(Vec<(String, Option<String>)>);

impl NamedRow {
    pub(super) fn new(row: Row) -> Self {
        let names: Vec<String> = row
            .columns_ref()
            .iter()
            .map(|column| column.name_str().into_owned())
            .collect();
        let values = row.unwrap_raw().into_iter().map(|value| {
            value.and_then(|value| match value {
                mysql_async::Value::NULL => None,
                mysql_async::Value::Bytes(bytes) => {
                    Some(String::from_utf8_lossy(&bytes).into_owned())
                }
                other => Some(other.as_sql(true).trim_matches('\'').to_owned()),
            })
        });
        NamedRow(names.into_iter().zip(values).collect())
    }

    /// A row for tests.
    #[cfg(test)]
    pub fn of(columns: &[(&str, Option<&str>)]) -> Self {
        let owned = columns
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)));
        NamedRow(owned.collect())
    }

    /// Text of a column; `None` if the column is NULL or does not exist.
    pub fn get(&self, column: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(column))
            .and_then(|(_, value)| value.as_deref())
    }

    /// Text of the first existing column of several alternative names.
    pub fn any(&self, columns: &[&str]) -> Option<&str> {
        columns.iter().find_map(|column| self.get(column))
    }

    /// Text of a column by its index, from 0.
    pub fn at(&self, index: usize) -> Option<&str> {
        self.0.get(index).and_then(|(_, value)| value.as_deref())
    }
}
