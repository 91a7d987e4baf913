//! `RESTORE.txt`: instructions for a restore without drctl.
//!
//! Those of an encrypted backup do not name objects of the database. Where a restore must name some, the instructions are
//! in `RESTORE.txt.age`, and `RESTORE.txt` says so.

use crate::archive::codec::Form;
use crate::archive::index::InventoryRecord;
use crate::archive::manifest::{FileFacts, Manifest};
use crate::layout::BackupObject;
use crate::mysql::client::shell::CHARACTER_SET;
use crate::sql::computed::Needs;
use crate::sql::statement::{ObjectId, quote};

/// The first statement of a plain client, for both flavours: settings under which every definition of the dumped server
/// is accepted, and the default settings for expressions. It is enclosed in single quotes, so it contains none.
pub const SESSION: &str = "SET SESSION innodb_strict_mode = OFF, completion_type = 0, lc_time_names = en_US, \
    div_precision_increment = 4 /*M!100201 , check_constraint_checks = OFF, default_regex_flags = \"\" */ \
    /*!80000 , block_encryption_mode = \"aes-128-ecb\" */ /*!80013 , sql_require_primary_key = OFF */ \
    /*!80030 , sql_generate_invisible_primary_key = OFF */ \
    /*!80400 , restrict_fk_on_non_standard_key = OFF */";

/// The beginning of the definition of a CHECK in a dump.
pub fn check_line(name: &str) -> String {
    format!("  CONSTRAINT {} CHECK (", quote(name))
}

/// The sed expression that disables a CHECK while rows are loaded.
fn edit(name: &str) -> String {
    let quoted = in_pattern(&check_line(name));
    format!("-e '/^{quoted}/s/\\(,\\{{0,1\\}}\\)$/ NOT ENFORCED\\1/'")
}

/// The `sql_mode` in the header of a dump, and its replacement if a table was created, or rows were written, under
/// NO_UNSIGNED_SUBTRACTION; the result is the same unless a difference is negative.
pub const SIGNED_HEAD: (&str, &str) = (
    "SQL_MODE='NO_AUTO_VALUE_ON_ZERO'",
    "SQL_MODE='NO_AUTO_VALUE_ON_ZERO,NO_UNSIGNED_SUBTRACTION'",
);

/// The sed expression that removes a table's partitions from its definition.
fn unpartition(table: &ObjectId) -> String {
    let schema = in_pattern(&quote(&table.schema));
    let name = in_pattern(&quote(&table.name));
    format!(
        "-e '/^USE {schema};/,/^USE /{{/^CREATE TABLE {name} (/,/;$/{{/^[\\/*!0-9 ]*PARTITION BY /{{:p' \
         -e '/;$/!{{N;bp' -e '}};s/.*/;/;}};}};}}'"
    )
}

/// Escapes a text for a sed pattern within single quotes of a shell.
fn in_pattern(text: &str) -> String {
    let mut pattern = String::new();
    for c in text.chars() {
        if "\\/.*[]^$".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.replace('\'', "'\\''")
}

/// The beginning of the views, which are the last objects of a dump.
const VIEWS: &[u8] = b"-- Final view structure for view ";

/// Follows the settings in the header of a dump.
const FIRST_SCHEMA: &[u8] = b"-- Current Database: ";

/// [`ViewsAgain`] as a program of `sed`: prints the header, the current schema and the views. (`awk` takes minutes for a
/// line of 64 MiB.)
const SED: [&str; 5] = [
    "1,/^-- Current Database: /{/^-- Current Database: /!p;}",
    "/^USE /h",
    "/^-- Final view structure for view /{x;p;x;:a",
    "p;n;ba",
    "}",
];

/// Reduces a dump to the statements that recreate its views, like a command of RESTORE.txt.
#[derive(Debug, Default)]
pub struct ViewsAgain {
    /// Whether the header has ended.
    headed: bool,
    /// Whether the views have begun.
    views: bool,
    /// The last USE before them.
    schema: Vec<u8>,
}

impl ViewsAgain {
    /// The part of the next statements, complete lines, that is needed.
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

/// The steps of a restore by a plain client after the dump itself.
#[derive(Debug, Clone)]
pub struct Finish {
    /// How often all views must be created ([`Views::rounds`](crate::sql::view_order::Views::rounds)).
    pub view_rounds: usize,
    /// Statements that revoke roles from the restoring account, which administers them because it created them.
    pub roles: Vec<String>,
}

impl Default for Finish {
    fn default() -> Self {
        Finish {
            view_rounds: 1,
            roles: Vec::new(),
        }
    }
}

/// The text for an encrypted backup whose instructions name objects of the database: where the instructions are.
pub fn pointer_txt(manifest: &Manifest) -> String {
    let mut text = first_steps(manifest);
    text.push_str(&format!(
        "3. The other steps name objects of the database, and are encrypted as its data are. Follow them:\n\
         \n\
         \x20   {AGE} {}\n",
        BackupObject::Readme.encrypted()
    ));
    text
}

/// Decrypts a file with the private key of one of the recipients.
const AGE: &str = "age -d -i identity.txt";

/// The command that prints the contents of some files of the backup, one after the other.
fn decoded(manifest: &Manifest, files: &[FileFacts]) -> String {
    let decode = manifest.codec.decoder_command();
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    let names = names.join(" ");
    match manifest.is_encrypted() {
        true => format!("for f in {names}; do {AGE} $f; done | {decode}"),
        false => format!("{decode} {names}"),
    }
}

/// What the backup is, and how to verify that it is complete and from whom.
fn first_steps(manifest: &Manifest) -> String {
    let (server, client) = (&manifest.server, &manifest.client);
    let source = match manifest.form() {
        Form::Sql => format!("a {} {} server", server.flavour, server.version),
        Form::Bytes => format!("of kind {}", manifest.kind()),
    };
    let dumper = match client.version.as_str() {
        "" => client.name.clone(),
        version => format!("{} ({version})", client.name),
    };
    let mut text = format!(
        "Backup {id} of {target}, {source}, as of {snapshot}.\n\
         It is the output of {dumper}; no special tool is needed to restore it.\n\
         \n\
         1. Download all objects next to this file, keeping their names.\n",
        id = manifest.id,
        target = manifest.target,
        snapshot = manifest.snapshot_at,
    );
    if manifest.is_encrypted() {
        text.push_str(
            "\x20  The files that end in .age are encrypted (age-encryption.org); identity.txt is the file with the private\n\
             \x20  key of one of the recipients, which manifest.json lists.\n",
        );
    }
    text.push_str("2. Verify them:\n\n    sha256sum -c SHA256SUMS\n");
    if manifest.signature != "none" {
        text.push_str(
            "\n\x20  and that manifest.json is signed by one of allowed_signers, a file that you have from elsewhere, and has\n\
             \x20  all of these digests. Do not go on if one of the commands fails:\n\
             \n\
             \x20   ssh-keygen -Y verify -f allowed_signers -n drctl -s manifest.json.sig -I \"$(ssh-keygen -Y find-principals -f allowed_signers -s manifest.json.sig | head -n 1 | cut -d , -f 1)\" < manifest.json\n\
             \x20   (for sum in $(cut -c 1-64 SHA256SUMS); do grep -q $sum manifest.json || exit 1; done) && echo the manifest has the digests\n",
        );
    }
    text.push('\n');
    text
}

/// The text for a stream that is not SQL, which `command` restores from a pipe.
pub fn of_bytes(manifest: &Manifest, command: &str) -> String {
    let mut text = first_steps(manifest);
    text.push_str(&format!(
        "3. Restore it:\n\n    {} | {command}\n\nA pipe hides a failure of its first command: check all exit codes (set -o pipefail).\n",
        decoded(manifest, &manifest.segments)
    ));
    text
}

/// The text: the commands that verify and restore the backup.
pub fn restore_txt(manifest: &Manifest, inventory: &[InventoryRecord], finish: &Finish) -> String {
    let dump = decoded(manifest, &manifest.segments);
    let client = match manifest.server.flavour.as_str() {
        "mariadb" => "mariadb",
        _ => "mysql",
    };
    let client = format!("{client} {CHARACTER_SET}");
    let packet = packet_mib(manifest.totals.largest_statement_bytes);
    let mut text = first_steps(manifest);
    let accounts = manifest.accounts.as_ref();
    let accounts = accounts.map(|facts| decoded(manifest, std::slice::from_ref(facts)));
    if let Some(accounts) = &accounts {
        text.push_str(&format!(
            "3. Create the accounts first, since views, triggers, routines and events refer to them as definers.\n\
             \x20  Grants on single tables and routines fail at this point, because these do not exist yet;\n\
             \x20  --force continues after such errors.\n\
             \n\
             \x20   {accounts} | {client} --binary-mode --force -u root -p\n\
             \n"
        ));
    }
    let needs: Vec<(&ObjectId, &Needs)> = inventory
        .iter()
        .filter_map(|entry| Some((&entry.object, entry.needs.as_ref()?)))
        .filter(|(_, needs)| !needs.is_default())
        .collect();
    let checks = needs.iter().flat_map(|(_, needs)| &needs.checks);
    let mut edits: Vec<String> = checks.map(|name| edit(name)).collect();
    let parted = needs.iter().filter(|(_, needs)| needs.partitions.is_some());
    edits.extend(parted.map(|(table, _)| unpartition(table)));
    if needs
        .iter()
        .any(|(_, needs)| needs.has_signed_subtraction())
    {
        let (from, to) = SIGNED_HEAD;
        edits.push(format!("-e \"1,40s/{from}/{to}/\""));
    }
    let decoded = if edits.is_empty() {
        dump.clone()
    } else {
        format!("{dump} | sed {}", edits.join(" "))
    };
    text.push_str(&format!(
        "{step}. Restore into a server that has none of the schemas. The longest statement has {longest}\n\
         \x20  bytes, so the server must be started with max_allowed_packet={packet}M or more.\n\
         \x20  --init-command makes the session accept every definition of the dumped server; --binary-mode\n\
         \x20  keeps the client from interpreting the contents of rows, and --comments keeps comments in\n\
         \x20  routines. Tables of the engine ARCHIVE reject their own rows (error 1022) unless their counter\n\
         \x20  is removed by sed '/^) ENGINE=ARCHIVE /s/ AUTO_INCREMENT=[0-9]*//' in the pipe.\n\
         \n\
         \x20   {decoded} | {client} --init-command='{session}' --binary-mode --comments --max-allowed-packet=1G -u root -p\n",
        session = SESSION,
        step = if accounts.is_some() { 4 } else { 3 },
        longest = manifest.totals.largest_statement_bytes,
    ));
    let mut step = 4;
    if let Some(accounts) = &accounts {
        step = 6;
        text.push_str(&format!(
            "\n5. Apply the accounts again, now with all grants. Errors about schemas, tables, columns and routines\n\
             \x20  that do not exist (1049, 1054, 1146, 1305) concern grants on objects dropped before the backup, those about\n\
             \x20  default roles (1959, 3530) roles that the account does not have, or only by mandatory_roles.\n\
             \n\
             \x20   {accounts} | {client} --binary-mode --force -u root -p\n"
        ));
    }
    let views = SED.map(|part| format!("-e '{part}'")).join(" ");
    let views = format!(
        "{dump} | LC_ALL=C sed -n {views} | {client} --binary-mode --comments --force --max-allowed-packet=1G -u root -p"
    );
    match finish.view_rounds {
        0 | 1 => text.push_str(&format!(
            "\n{step}. If the restore stopped at a view (error 1356 or 1368), its definer lacked a privilege that was granted\n\
             \x20  since, or the view needs a later view. Create the views again, which are the last objects in the dump,\n\
             \x20  and repeat this until there are no errors. It is harmless if the restore did not stop.\n\
             \n\
             \x20   {views}\n",
        )),
        rounds => {
            let rounds: Vec<String> = (1..=rounds).map(|n| n.to_string()).collect();
            text.push_str(&format!(
                "\n{step}. Create the views again, which are the last objects in the dump, until each was created after the views\n\
                 \x20  that it selects from. If the restore stopped at a view (error 1356 or 1368), this creates the others;\n\
                 \x20  and in MariaDB a view created before one that it selects from is not updatable (errors 1288 and 1471)\n\
                 \x20  until it is created again.\n\
                 \n\
                 \x20   for round in {}; do {views}; done\n",
                rounds.join(" ")
            ));
        }
    }
    step += 1;
    if !finish.roles.is_empty() {
        let sql = finish.roles.join("; ").replace('\'', "'\\''");
        text.push_str(&format!(
            "\n{step}. The creator of a role becomes its administrator. Revoke this for roles that only had other\n\
             \x20  administrators:\n\
             \n\
             \x20   {client} -u root -p -e '{sql}'\n",
        ));
    }
    if !needs.is_empty() {
        text.push_str(
            "\nThe expressions of these tables were computed under other session settings than those of the dump.\n\
             At the end, recompute them, and add the CHECKs and partitions that sed removed:\n\n",
        );
        for (table, needs) in &needs {
            let sql = needs.recomputation(table).unwrap_or_default();
            let quoted = sql.replace('\'', "'\\''");
            text.push_str(&format!("    {client} -u root -p -e '{quoted}'\n"));
        }
    }
    text.push_str(
        "\nIf the server is on another machine, add -h HOST to each client. A pipe hides a failure of its first\n\
         command: check all exit codes (set -o pipefail).\n\
         With drctl, `drctl restore` does all of this and verifies the result.\n",
    );
    text
}

/// The max_allowed_packet that a server needs, in MiB: a power of two, at most the maximum of MySQL.
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
    fn only_the_partitions_are_removed_from_a_definition() {
        let parted = "CREATE TABLE `t/.*` (\n  `d` int\n) ENGINE=InnoDB\n/*!50100 PARTITION BY LIST (`d`)\n\
                      (PARTITION p VALUES IN (1)) */;\n";
        let short = "CREATE TABLE `t/.*` (\n  `d` int\n) ENGINE=InnoDB\n PARTITION BY KEY (`d`);\n";
        let plain = "CREATE TABLE `t/.*` (\n  `d` int\n) ENGINE=InnoDB\n;\n";
        let behind = "INSERT INTO `t/.*` VALUES (1),\n('PARTITION BY ;');\n";
        let table = ObjectId::table("s'a", "t/.*");
        let command = format!("sed {}", unpartition(&table));
        for definition in [parted, short] {
            let other = format!("USE `other`;\n{definition}{behind}");
            let dump = format!("{other}USE `s'a`;\n{definition}{behind}{other}");
            let child = std::process::Command::new("sh")
                .args(["-c", &command])
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn();
            let mut child = child.unwrap();
            let mut to = child.stdin.take().unwrap();
            std::io::Write::write_all(&mut to, dump.as_bytes()).unwrap();
            drop(to);
            let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
            assert_eq!(said, format!("{other}USE `s'a`;\n{plain}{behind}{other}"));
        }
    }

    #[test]
    fn views_are_recreated_by_the_header_the_schema_and_everything_from_the_first_view_on() {
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
        // The same with the sed program of RESTORE.txt.
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
