//! Tables with DATA DIRECTORY or INDEX DIRECTORY; on a scratch server there are none.

use std::collections::BTreeSet;

use crate::mysql::Flavour;
use crate::restore::inspect::checks::Checks;
use crate::restore::inspect::refusal::Refusal;
use crate::sql::placement::directories;
use crate::util::format::some_of;

impl Checks<'_> {
    /// A directory in a table's definition that MySQL's InnoDB does not know.
    pub(super) fn unknown_directory(&self) -> Option<Refusal> {
        if self.facts.version.flavour == Flavour::MariaDb {
            return None;
        }
        let variables = [
            "datadir",
            "innodb_data_home_dir",
            "innodb_undo_directory",
            "innodb_directories",
        ];
        let known: Vec<&str> = variables
            .iter()
            .flat_map(|variable| self.facts.variable(variable).split(';'))
            .map(|path| path.trim().trim_end_matches('/'))
            .filter(|path| path.starts_with('/'))
            .collect();
        let is_known = |path: &String| {
            known.iter().any(|known| {
                let below = path.strip_prefix(known);
                below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
            })
        };
        let is_innodb = |sql: &[u8]| memchr::memmem::find(sql, b"ENGINE=InnoDB").is_some();
        let tables = self.survey.with_directories.iter();
        let (table, path) = tables
            .filter(|(_, sql)| is_innodb(sql))
            .find_map(|(table, sql)| {
                let path = directories(sql).into_iter().find(|path| !is_known(path))?;
                Some((table, path))
            })?;
        Some(Refusal::new(
            format!("{table} is stored in {path}, which is not in innodb_directories"),
            format!("create the directory, and start the server with innodb_directories={path}"),
        ))
    }

    pub(super) fn directory_warning(&self) -> Option<String> {
        let tables = &self.survey.with_directories;
        if tables.is_empty() {
            return None;
        }
        let paths: BTreeSet<String> = tables.values().flat_map(|sql| directories(sql)).collect();
        Some(format!(
            "tables are stored in separate directories, which must exist and be writable by the server: {}",
            some_of(paths.iter())
        ))
    }
}
