//! That a table whose keys waited is the table that was dumped, to the letter of SHOW CREATE TABLE.

use std::collections::BTreeSet;

use drctl::sql::create_table::CreateTable;

use crate::on_both;
use crate::support::{Flavour, Server};

/// Tables of both servers: name and definitions.
const BOTH: &[(&str, &str)] = &[
    (
        "plain",
        "(id int primary key auto_increment, a int, b varchar(20), key b (b), unique key a (a), key ab (a, b))",
    ),
    (
        "no_primary",
        "(a int not null, b int, c int not null, key b (b), unique key c (c), unique key a (a), unique key ub (b))",
    ),
    ("nothing_unique", "(a int, b int, key b (b), key a (a))"),
    (
        "counter",
        "(id int not null auto_increment, a int not null, primary key (a, id), key a (a), key c (id, a), key d (a, id))",
    ),
    (
        "counter_unique",
        "(id bigint unsigned not null auto_increment, a int, unique key n (a), unique key i (id), key k (a))",
    ),
    (
        "prefix",
        "(id int primary key, a text, b blob, c varchar(300), key a (a(10)), unique key b (b(20)), key c (c(5), id))",
    ),
    (
        "prefix_only",
        "(a varchar(300) not null, b varchar(300) not null, unique key a (a(10)), unique key b (b), key c (a))",
    ),
    (
        "descending",
        "(id int primary key, a int, b int, key d (a desc, b), unique key e (b desc))",
    ),
    (
        "comments",
        "(id int primary key, a int comment 'KEY `a`, (''x\\n),', key a (a) comment 'c, KEY `b` (`id`),\\n', key b (a, id))",
    ),
    (
        "na`me, (x",
        "(`i``d` int primary key, `a, b` int, `KEY` int, key `k``, (` (`a, b`), unique key `UNIQUE` (`KEY`))",
    ),
    (
        "newline",
        "(id int primary key, `a\n b` int, key `k\n,` (`a\n b`))",
    ),
    (
        "fulltexts",
        "(id int primary key, a text, b varchar(99), key b (b), fulltext key f (a), fulltext key g (b), fulltext key h (a, b))",
    ),
    (
        "fulltext_id",
        "(FTS_DOC_ID bigint unsigned not null auto_increment primary key, a text, b int, fulltext key f (a), unique key FTS_DOC_ID_INDEX (FTS_DOC_ID), key b (b))",
    ),
    (
        "spatial",
        "(id int primary key, g geometry not null, p point not null, a int, spatial key g (g), key a (a), spatial key p (p))",
    ),
    (
        "generated",
        "(id int primary key, s int as (id + 1) stored, v int as (id * 2) virtual, unique key s (s), key v (v))",
    ),
    (
        "btree",
        "(id int, a int, key a (a) using btree, unique key u (id) using hash, key b (id) key_block_size=4)",
    ),
    (
        "parent",
        "(id int primary key, u int, n int not null, unique key u (u), unique key n (n))",
    ),
    (
        "child",
        "(id int primary key, p int, u int, n int, s int, key s (s), constraint zz foreign key (p) references parent (id) on delete cascade, constraint aa foreign key (u) references parent (u), constraint mm foreign key (n) references parent (n) on update cascade on delete set null, foreign key (s) references child (id), check (p > 0))",
    ),
    (
        "fk_by_prefix",
        "(id int primary key, a int, b int, key ab (a, b), constraint f foreign key (a) references parent (id))",
    ),
    (
        "partitioned",
        "(id int, a int, key a (a)) partition by hash (id) partitions 2",
    ),
    ("myisam", "(id int, a int, key a (a)) engine=MyISAM"),
    (
        "row_format",
        "(id int primary key, a varchar(99), key a (a)) row_format=compressed charset=latin1 comment='PARTITION BY, KEY'",
    ),
];

const MARIADB: &[(&str, &str)] = &[
    (
        "ignored",
        "(id int primary key, a int, b int, key a (a) ignored, key b (b))",
    ),
    (
        "long_unique",
        "(id int primary key, a text, b int, unique key a (a), key b (b))",
    ),
    (
        "versioned",
        "(id int primary key, a int, key a (a)) with system versioning",
    ),
    (
        "versioned_child",
        "(id int primary key, a int, key a (a), constraint vc foreign key (a) references parent (id)) with system versioning",
    ),
    (
        "period",
        "(a int, s date, e date, period for app (s, e), unique key u (a, app without overlaps), key a (a))",
    ),
    (
        "kinds",
        "(id uuid default uuid() primary key, i inet6, j json, c char(3) character set latin1, unique key i (i), key c (c), constraint ck check (c > 'a, KEY'))",
    ),
    (
        "hidden",
        "(id int primary key, a int invisible, b int without system versioning, key a (a)) engine=InnoDB page_compressed=1",
    ),
];

const MYSQL: &[(&str, &str)] = &[
    (
        "functional",
        "(id int primary key, a varchar(20), key f ((lower(a))), unique key g ((id + 1), a desc), key h (a))",
    ),
    (
        "multi_valued",
        "(id int primary key, j json, key m ((cast(j->'$.a' as unsigned array))), key i (id))",
    ),
    (
        "invisible",
        "(id int primary key, a int invisible, b int, key a (a) invisible, key b (b) visible comment 'x')",
    ),
    (
        "vectors",
        "(id int primary key, v vector(3), a int, key a (a))",
    ),
    (
        "ngram",
        "(id int primary key, a text, fulltext key f (a) with parser ngram, key i (id), fulltext key g (a) comment 'x')",
    ),
    (
        "srid",
        "(id int primary key, g point not null srid 4326, spatial key g (g), key i (id))",
    ),
    (
        "checked",
        "(id int primary key, a int check (a > 0), b int, constraint c check (b <> 3) not enforced, key b (b), key a (a))",
    ),
    (
        "lob",
        "(id int primary key, a int default (1 + 2), b text default ('a,\\n'), key a (a))",
    ),
];

fn show(server: &Server, schema: &str, table: &str) -> String {
    let shown = server.exec(&format!("SHOW CREATE TABLE `{schema}`.{table}"));
    let (_, create) = shown
        .split_once("\tCREATE TABLE")
        .expect("a table's definition");
    format!("CREATE TABLE{}", create.trim_end_matches('\n'))
}

on_both!(
    fn a_table_whose_keys_waited_is_the_same_table(flavour) {
        let server = Server::start(flavour);
        let special = match flavour {
            Flavour::MariaDb => MARIADB,
            Flavour::MySql => MYSQL,
        };
        server.exec("CREATE DATABASE a; CREATE DATABASE b");
        let tables: Vec<_> = BOTH.iter().chain(special).collect();
        let mut dumped = Vec::new();
        for (name, definition) in tables {
            let name = format!("`{}`", name.replace('`', "``"));
            server.exec(&format!("USE a; CREATE TABLE {name} {definition}"));
            let create = show(&server, "a", &name);
            let parsed = CreateTable::parse(create.as_bytes());
            dumped.push((name, create, parsed));
        }
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let checks_off = "USE b; SET foreign_key_checks=0, unique_checks=0";
        let mut waited = 0;
        for (_, _, parsed) in &dumped {
            server.exec(&format!("{checks_off}; {}", text(parsed.kept())));
            waited += usize::from(parsed.defers());
        }
        let none = BTreeSet::new();
        for pass in [CreateTable::key_alters, CreateTable::foreign_key_alters] {
            for (name, _, parsed) in &dumped {
                for alter in pass(parsed, &none) {
                    server.exec(&format!("{checks_off}; ALTER TABLE {name} {}", text(alter)));
                }
            }
        }
        for (name, create, parsed) in &dumped {
            assert_eq!(&show(&server, "b", name), create, "{name}");
            assert!(!parsed.columns().is_empty(), "{name}");
        }
        assert!(waited > dumped.len() / 2, "only {waited} of {} deferred anything", dumped.len());
    }
);
