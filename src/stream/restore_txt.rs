//! `RESTORE.txt`: for somebody with the objects of a log and no drctl.

use crate::layout::TargetName;

/// The text: how to make the files again, and how to replay them.
pub fn restore_txt(target: &TargetName, mariadb: bool) -> String {
    let (reader, client, skip) = match mariadb {
        true => (
            "mariadb-binlog",
            "mariadb",
            "-- --start-position=GTID and --stop-position=GTID (0-1-59, as shown in the files and noted by backups)\n\
             \x20  choose where to begin and to end; positions in bytes do not fit, since annotations are left out.",
        ),
        false => (
            "mysqlbinlog",
            "mysql",
            "-- A backup notes file, position and GTIDs. --exclude-gtids='SET' leaves out what a backup holds already;\n\
             \x20  --stop-position=N of the last file ends in front of an event.",
        ),
    };
    let skip = skip.trim_start_matches("-- ");
    format!(
        "The binary log of {target}, as the server wrote it, in pieces. No special tool is needed to replay it.\n\
         \n\
         Each directory TIMELINE is an unbroken stretch of the log of one server; its timeline.json says why it began,\n\
         and what is missing before it. Each directory in it is a file of the log.\n\
         \n\
         1. Get the directory of a timeline, keeping the names.\n\
         2. Make the files again. Pieces are zstd, and their names are in the order of the file. Those that end in .age are\n\
         \x20  encrypted (age-encryption.org); identity.txt is the file with the private key of a recipient.\n\
         \n\
         \x20   cd TIMELINE\n\
         \x20   for file in */; do for piece in \"$file\"*.zst*; do case $piece in *.age) age -d -i ../identity.txt \"$piece\";; *) cat \"$piece\";; esac; done | zstd -dcq > \"../${{file%/}}\"; done\n\
         \x20   cd ..\n\
         \n\
         3. Restore the backup from which to replay. Then replay the files behind it in one session, in their order:\n\
         \n\
         \x20   {reader} FILE… | {client} --default-character-set=utf8mb4 --binary-mode -u root -p\n\
         \n\
         \x20  {skip}\n\
         \x20  Look at the log first with {reader} --base64-output=decode-rows -v FILE.\n\
         \n\
         A pipe hides a failure of its first command (set -o pipefail), and {reader} does not notice a file that was\n\
         cut off: compare the length of each file with \"bytes\" in its closed.json.\n"
    )
}
