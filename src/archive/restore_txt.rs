//! `RESTORE.txt`: for somebody with the objects of a backup and no drctl.

use crate::archive::manifest::Manifest;

/// The text: how to check, and how to restore, with which commands.
pub fn restore_txt(manifest: &Manifest) -> String {
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
    text.push_str(&format!(
        "{step}. Restore into a server that has none of its schemas. Its longest statement has\n\
         \x20  {longest} bytes, so the server must be started with max_allowed_packet={packet}M or more.\n\
         \x20  --binary-mode keeps the client from interpreting what is in the rows, --comments from\n\
         \x20  dropping comments out of routines.\n\
         \n\
         \x20   {decode} {dump} | {client} --binary-mode --comments --max-allowed-packet=1G -u root -p\n",
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
