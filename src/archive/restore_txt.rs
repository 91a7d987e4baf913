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
         \x20  dropping comments out of routines.\n\
         \n\
         \x20   {decoded} | {client} --init-command='{session}' --binary-mode --comments --max-allowed-packet=1G -u root -p\n",
        session = SESSION,
        step = if accounts.is_some() { 4 } else { 3 },
        longest = manifest.totals.largest_statement_bytes,
    ));
    if let Some(accounts) = accounts {
        text.push_str(&format!(
            "\n5. Now the accounts as a whole. If step 4 stopped at a view (error 1356), its definer needed\n\
             \x20  some of this: repeat step 4 after it.\n\
             \n\
             \x20   {decode} {accounts} | {client} --binary-mode -u root -p\n"
        ));
    }
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
