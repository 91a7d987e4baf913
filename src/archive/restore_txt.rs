//! `RESTORE.txt`: for somebody with the objects of a backup and no drctl.

use crate::archive::index::InventoryRecord;
use crate::archive::manifest::Manifest;
use crate::sql::computed::Needs;
use crate::sql::statement::{ObjectId, quote};

/// What a plain client sets first, in one statement that both kinds of servers read: what a session of the dumped
/// server may have had when it made its tables, and what tables compute by where nothing else is said. It has no
/// single quotes, and stands in some.
pub const SESSION: &str = "SET SESSION innodb_strict_mode = OFF, completion_type = 0, lc_time_names = en_US, \
    div_precision_increment = 4 /*M!100201 , check_constraint_checks = OFF */ \
    /*!80000 , block_encryption_mode = \"aes-128-ecb\" */ /*!80013 , sql_require_primary_key = OFF */ \
    /*!80030 , sql_generate_invisible_primary_key = OFF */ \
    /*!80400 , restrict_fk_on_non_standard_key = OFF */";

/// How a definition of a CHECK begins in a dump.
pub fn check_line(name: &str) -> String {
    format!("  CONSTRAINT {} CHECK (", quote(name))
}

/// The expression for sed that keeps a CHECK from being enforced while rows come in.
fn edit(name: &str) -> String {
    let mut pattern = String::new();
    for c in check_line(name).chars() {
        if "\\/.*[]^$".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    let quoted = pattern.replace('\'', "'\\''");
    format!("-e '/^{quoted}/s/\\(,\\{{0,1\\}}\\)$/ NOT ENFORCED\\1/'")
}

/// Where the views begin in a dump, which puts them behind everything else.
const VIEWS: &[u8] = b"-- Final view structure for view ";

/// Behind the settings at the head of a dump.
const FIRST_SCHEMA: &[u8] = b"-- Current Database: ";

/// The program of `sed` that [`ViewsAgain`] is: the head, the schema in force, and the views. (`awk` takes minutes for
/// a line of 64 MiB.)
const SED: [&str; 5] = [
    "1,/^-- Current Database: /{/^-- Current Database: /!p;}",
    "/^USE /h",
    "/^-- Final view structure for view /{x;p;x;:a",
    "p;n;ba",
    "}",
];

/// Cuts a dump down to what makes its views again, as the last command of RESTORE.txt does.
#[derive(Debug, Default)]
pub struct ViewsAgain {
    /// Whether the settings at the head are over.
    headed: bool,
    /// Whether the views have begun.
    views: bool,
    /// The last USE before them.
    schema: Vec<u8>,
}

impl ViewsAgain {
    /// What is wanted of the next statements, whole lines.
    pub fn take(&mut self, sql: &[u8]) -> Vec<u8> {
        let mut taken = Vec::new();
        for line in sql.split_inclusive(|byte| *byte == b'\n') {
            self.headed |= line.starts_with(FIRST_SCHEMA);
            if !self.headed {
                taken.extend_from_slice(line);
            }
            if line.starts_with(b"USE ") {
                self.schema = line.to_vec();
            }
            if line.starts_with(VIEWS) && !self.views {
                taken.extend_from_slice(&self.schema);
                self.views = true;
            }
            if self.views {
                taken.extend_from_slice(line);
            }
        }
        taken
    }
}

/// The text: how to check, and how to restore, with which commands.
pub fn restore_txt(manifest: &Manifest, inventory: &[InventoryRecord]) -> String {
    let decode = manifest.codec.decoder_command();
    let names = |files: &[crate::archive::manifest::FileFacts]| {
        files
            .iter()
            .map(|file| file.name.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let dump = names(&manifest.segments);
    let client = match manifest.server.flavour.as_str() {
        "mariadb" => "mariadb",
        _ => "mysql",
    };
    let packet = packet_mib(manifest.totals.largest_statement_bytes);
    let mut text = format!(
        "Backup {id} of {target}, a {flavour} {version} server, as of {snapshot}.\n\
         It is the output of {dumper} ({banner}); no special tool is needed to restore it.\n\
         \n\
         1. Get all objects beside this file, keeping their names.\n\
         2. Check them:\n\
         \n\
         \x20   sha256sum -c SHA256SUMS\n\
         \n",
        id = manifest.id,
        target = manifest.target,
        flavour = manifest.server.flavour,
        version = manifest.server.version,
        snapshot = manifest.snapshot_at,
        dumper = manifest.client.name,
        banner = manifest.client.version,
    );
    let accounts = manifest.accounts.as_ref().map(|accounts| &accounts.name);
    if let Some(accounts) = accounts {
        text.push_str(&format!(
            "3. Views, triggers, routines and events name accounts as their definers. Where the server has\n\
             \x20  none of them, create them first. What is granted on single tables and routines fails for\n\
             \x20  now, since they are not there yet: --force goes on.\n\
             \n\
             \x20   {decode} {accounts} | {client} --binary-mode --force -u root -p\n\
             \n"
        ));
    }
    let needs: Vec<(&ObjectId, &Needs)> = inventory
        .iter()
        .filter_map(|entry| Some((&entry.object, entry.needs.as_ref()?)))
        .filter(|(_, needs)| !needs.is_usual())
        .collect();
    let edits: Vec<String> = needs
        .iter()
        .flat_map(|(_, needs)| &needs.checks)
        .map(|name| edit(name))
        .collect();
    let decoded = match edits.is_empty() {
        true => format!("{decode} {dump}"),
        false => format!("{decode} {dump} | sed {}", edits.join(" ")),
    };
    text.push_str(&format!(
        "{step}. Restore into a server that has none of its schemas. Its longest statement has\n\
         \x20  {longest} bytes, so the server must be started with max_allowed_packet={packet}M or more.\n\
         \x20  --init-command lets the session take what the dumped server took, whatever this one gives to\n\
         \x20  others; --binary-mode keeps the client from interpreting what is in the rows, --comments from\n\
         \x20  dropping comments out of routines. A table of the engine ARCHIVE refuses its own rows (error 1022)\n\
         \x20  unless its counter is taken out on the way, by sed '/^) ENGINE=ARCHIVE /s/ AUTO_INCREMENT=[0-9]*//'.\n\
         \n\
         \x20   {decoded} | {client} --init-command='{session}' --binary-mode --comments --max-allowed-packet=1G -u root -p\n",
        session = SESSION,
        step = if accounts.is_some() { 4 } else { 3 },
        longest = manifest.totals.largest_statement_bytes,
    ));
    let mut step = 4;
    if let Some(accounts) = accounts {
        step = 6;
        text.push_str(&format!(
            "\n5. Now the accounts as a whole. What it says of privileges on schemas, tables, columns and routines\n\
             \x20  that do not exist (errors 1049, 1054, 1146, 1305) is about what the server had kept.\n\
             \n\
             \x20   {decode} {accounts} | {client} --binary-mode --force -u root -p\n"
        ));
    }
    text.push_str(&format!(
        "\n{step}. If the restore stopped at a view (error 1356 or 1368), it was about a later view, or its definer\n\
         \x20  lacked what was granted since. Views are the last things in the dump: make them again, and repeat\n\
         \x20  this until it says nothing. It does no harm where nothing stopped.\n\
         \n\
         \x20   {decode} {dump} | LC_ALL=C sed -n {views} | {client} --binary-mode --comments --force --max-allowed-packet=1G -u root -p\n",
        views = SED.map(|part| format!("-e '{part}'")).join(" "),
    ));
    if !needs.is_empty() {
        text.push_str(
            "\nThese tables hold what their expressions gave in other session settings than those of the dump.\n\
             At the end, this computes them again, and enforces the CHECKs that sed took out:\n\n",
        );
        for (table, needs) in &needs {
            let sql = needs.afterwards(table).unwrap_or_default();
            let quoted = sql.replace('\'', "'\\''");
            text.push_str(&format!("    {client} -u root -p -e '{quoted}'\n"));
        }
    }
    text.push_str(
        "\nWhere the server is another machine, add -h HOST to each client. The pipe hides a failure of its\n\
         first command: look at both exit codes (set -o pipefail).\n\
         With drctl the same is `drctl restore`, which also proves what it restored.\n",
    );
    text
}

/// The packet that a server must take, in MiB: a power of two, and MySQL's most at the most.
fn packet_mib(longest: u64) -> u64 {
    (longest + 4096)
        .div_ceil(1 << 20)
        .next_power_of_two()
        .clamp(64, 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_the_views_again_is_the_head_the_schema_and_all_behind_the_first_view() {
        let dump = "SET NAMES utf8mb4;\n-- Current Database: `a`\nUSE `a`;\nCREATE TABLE t;\nUSE `b`;\nINSERT;\n\
                    -- Final view structure for view `v`\nCREATE VIEW v;\nUSE `c`;\n-- Final view structure for view `w`\n";
        let mut views = ViewsAgain::default();
        let taken: Vec<u8> = dump
            .split_inclusive('\n')
            .flat_map(|part| views.take(part.as_bytes()))
            .collect();
        let wanted = "SET NAMES utf8mb4;\nUSE `b`;\n-- Final view structure for view `v`\nCREATE VIEW v;\nUSE `c`;\n\
                      -- Final view structure for view `w`\n";
        assert_eq!(String::from_utf8(taken).unwrap(), wanted);
        // The same, by what RESTORE.txt says.
        let sed = std::process::Command::new("sed")
            .arg("-n")
            .args(SED.iter().flat_map(|part| ["-e", part]))
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn();
        let mut sed = sed.unwrap();
        let mut to = sed.stdin.take().unwrap();
        std::io::Write::write_all(&mut to, dump.as_bytes()).unwrap();
        drop(to);
        let said = sed.wait_with_output().unwrap().stdout;
        assert_eq!(String::from_utf8(said).unwrap(), wanted);
    }
}
