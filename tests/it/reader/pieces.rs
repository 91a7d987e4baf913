//! A table that is read in ranges of its key has all its rows once.

use crate::on_both;
use crate::support::{Drctl, Server};

/// Keys that divide a table, and how the key of row `n` is computed.
const KEYS: [(&str, &str, &str); 7] = [
    ("ints", "id INT, PRIMARY KEY (id)", "n"),
    (
        "negative",
        "id BIGINT, PRIMARY KEY (id)",
        "n * 1000003 - 150000000000",
    ),
    (
        "prefix",
        "id VARCHAR(60) CHARACTER SET ascii, PRIMARY KEY (id(10))",
        "LEFT(SHA2(n, 256), 40)",
    ),
    ("two", "a INT, id INT, PRIMARY KEY (a, id)", "n DIV 100, n"),
    (
        "hexes",
        "id CHAR(32) CHARACTER SET ascii, PRIMARY KEY (id)",
        "LEFT(SHA2(n, 256), 32)",
    ),
    (
        "bytes",
        "id BINARY(16), PRIMARY KEY (id)",
        "UNHEX(LEFT(SHA2(n, 256), 32))",
    ),
    (
        "words",
        "id VARCHAR(40) CHARACTER SET utf8mb4, PRIMARY KEY (id)",
        "CONCAT('Order ', n)",
    ),
];

on_both!(
    fn a_table_read_in_ranges_has_each_row_once(flavour) {
        let source = Server::start_with(flavour, &["--skip-log-bin"]);
        let mut sql = "CREATE DATABASE d; USE d; CREATE TABLE numbers (n INT PRIMARY KEY); INSERT numbers VALUES (0);".to_owned();
        for bit in 0..17 {
            sql += &format!("INSERT numbers SELECT n + (1 << {bit}) FROM numbers;");
        }
        for (name, columns, key) in KEYS {
            sql += &format!("CREATE TABLE `{name}` ({columns}, pad CHAR(100)); INSERT `{name}` SELECT {key}, REPEAT('x', 100) FROM numbers; ANALYZE TABLE `{name}`;");
        }
        source.exec(&sql);
        let backup = |name: &str, jobs: &str| {
            let drctl = Drctl::new(name).source(&source);
            drctl.run(["backup", "--jobs", jobs]).ok();
            let objects = drctl.run(["cat", "--latest"]).ok().stdout;
            let mut rows: Vec<String> = objects
                .lines()
                .filter(|line| line.starts_with("INSERT") || line.starts_with('('))
                .flat_map(|line| line.split("),(").map(str::to_owned).collect::<Vec<_>>())
                .map(|row| {
                    let row = row.trim_start_matches('(');
                    row.trim_end_matches([')', ',', ';']).rsplit('(').next().unwrap_or_default().to_owned()
                })
                .filter(|row| row.contains(','))
                .collect();
            let inserts = objects.matches("INSERT INTO `hexes`").count();
            rows.sort_unstable();
            (rows, inserts)
        };
        let (whole, few) = backup("whole", "1");
        let (divided, many) = backup("divided", "4");
        assert_eq!(whole.len(), KEYS.len() << 17);
        assert!(whole == divided);
        // Each range begins a statement of its own.
        assert!(many > few, "{many} statements in ranges, {few} of the whole table");
    }
);
