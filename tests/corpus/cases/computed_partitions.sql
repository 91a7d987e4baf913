-- servers whose default time zone is +02:00; rows in partitions by what is computed from a TIMESTAMP, and by unsigned differences
CREATE DATABASE computed_partitions; USE computed_partitions;
CREATE TABLE by_key (id INT, ts TIMESTAMP NOT NULL, d INT AS (DAY(ts)) VIRTUAL, KEY (id)) PARTITION BY KEY (d) PARTITIONS 3;
CREATE TABLE by_columns (id INT, ts TIMESTAMP NOT NULL, d INT AS (DAY(ts)) VIRTUAL) PARTITION BY RANGE COLUMNS (d, id) (PARTITION p1 VALUES LESS THAN (2, 1), PARTITION p2 VALUES LESS THAN (3, 1) COMMENT = 'PARTITION BY (d);');
CREATE TABLE `s;t'a` (id INT, ts TIMESTAMP NOT NULL, d INT AS (DAY(ts)) VIRTUAL) COMMENT = 'a
/*!50100 PARTITION BY' PARTITION BY KEY (d);
CREATE TABLE elsewhere (id INT) PARTITION BY HASH (id) PARTITIONS 2; INSERT INTO elsewhere VALUES (1), (2);
INSERT INTO by_key (id, ts) VALUES (1, '2026-07-01 00:30:00'), (2, '2026-07-01 12:00:00'), (3, '2026-07-02 00:30:00');
INSERT INTO by_columns (id, ts) SELECT id, ts FROM by_key; INSERT INTO `s;t'a` (id, ts) SELECT id, ts FROM by_key;
SET sql_mode = 'NO_UNSIGNED_SUBTRACTION';
CREATE TABLE differences (a INT UNSIGNED) PARTITION BY HASH (a - 10) PARTITIONS 3; INSERT INTO differences VALUES (1), (20);
