//! Classification of server errors: caused by the statement, or by the server and its environment.
//!
//! For a drill, a statement of the dump that the server rejects shows that the backup does not restore; a server without
//! memory or disk space shows nothing. Errors not listed here count as caused by the statement.

/// An object to which a privilege or definition refers does not exist: schema, column, table, routine.
pub const GONE: [u16; 4] = [1049, 1054, 1146, 1305];

/// A default role that does not exist, or that the account was not granted: MariaDB, then MySQL.
pub const NO_SUCH_ROLE: [u16; 3] = [1959, 3523, 3530];

/// The authentication plugin of an account is not loaded.
pub const NO_PLUGIN: u16 = 1524;

/// Errors of the operating system or an engine that mean a lack of space, memory, files, permissions, locks or, for
/// MariaDB's encrypted tables, keys (140).
const SHORTAGES: [u16; 22] = [
    2, 5, 11, 12, 13, 17, 23, 24, 27, 28, 30, 122, 126, 127, 135, 136, 140, 144, 145, 146, 149, 184,
];

/// Whether an error is caused by the server or its environment, and might not occur later or elsewhere.
pub fn is_of_the_server(code: u16, message: &str) -> bool {
    match code {
        // These contain another number: cannot create a table or schema, rename, write, error from storage engine,
        // error during COMMIT. The last one contains number 1 if MariaDB finds a duplicate.
        1005 | 1006 | 1025 | 1026 | 1030 | 1180 => {
            inner_code(message).is_none_or(|inner| SHORTAGES.contains(&inner))
        }
        // Numbers of the operating system, from the server's file layer.
        1..=999 => true,
        // Files: cannot lock, open, read, sync; disk full; table full; crashed tables.
        1015..=1019 | 1021 | 1023 | 1024 | 1027 | 1033..=1036 | 1114 | 1194 | 1195 => true,
        // Memory, sort memory, resources, threads, locks.
        1037 | 1038 | 1041 | 1135 | 1206 => true,
        // Connections: too many, not allowed, limits reached, too long a packet.
        1040 | 1129 | 1130 | 1153 | 1203 | 1226 => true,
        // Shutting down, killed, aborted, network, gone away.
        1053
        | 1077..=1080
        | 1152
        | 1154..=1161
        | 1184
        | 1317
        | 1927
        | 2000..=2999
        | 3169
        | 4031 => true,
        // Lock timeouts, deadlocks, statement timeouts.
        1205 | 1213 | 1969 | 3024 | 3572 => true,
        // The account lacks a privilege.
        1044 | 1045 | 1142 | 1143 | 1227 | 1370 | 1419 | 1698 | 3879 => true,
        // The server is read-only, or lacks a plugin, component or engine.
        1128 | 1286 | 1290 | 1524 | 1792 | 1836 | 3100 | 3989 => true,
        // It lacks a character set, a collation, a directory, a keyring, a tablespace.
        1115 | 1273 | 3121 | 3185 | 3510 => true,
        _ => false,
    }
}

/// The number in `Got error 28 from …`, `… (errno: 28 "No space left on device")`.
fn inner_code(message: &str) -> Option<u16> {
    ["errno: ", "error ", "Errcode: "].iter().find_map(|word| {
        let (_, rest) = message.split_once(word)?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        rest[..digits].parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_statements_are_distinguished_from_server_failures() {
        for refused in [
            1022, 1049, 1054, 1062, 1064, 1067, 1071, 1101, 1118, 1146, 1215, 1298, 1305, 1356,
            1366, 1368, 1451, 1452, 3548, 3819, 3780, 4025, 6125,
        ] {
            assert!(!is_of_the_server(refused, ""), "{refused}");
        }
        for trouble in [
            3, 28, 1021, 1037, 1040, 1041, 1045, 1053, 1114, 1153, 1205, 1206, 1213, 1227, 1290,
            1317, 1927, 1969, 2006, 2013, 3024, 3185, 3510, 4031,
        ] {
            assert!(is_of_the_server(trouble, ""), "{trouble}");
        }
    }

    #[test]
    fn an_error_that_contains_another_is_classified_by_that() {
        for (code, message, of_the_server) in [
            (
                1180,
                "Got error 1 \"Operation not permitted\" during COMMIT",
                false,
            ),
            (
                1180,
                "Got error 28 \"No space left on device\" during COMMIT",
                true,
            ),
            (
                1005,
                "Can't create table `a`.`t` (errno: 150 \"Foreign key constraint is incorrectly formed\")",
                false,
            ),
            (
                1005,
                "Can't create table `a`.`t` (errno: 184 \"Tablespace already exists\")",
                true,
            ),
            (
                1030,
                "Got error 28 - 'No space left on device' from storage engine",
                true,
            ),
            (1030, "nothing that is known", true),
        ] {
            assert_eq!(is_of_the_server(code, message), of_the_server, "{message}");
        }
    }
}
