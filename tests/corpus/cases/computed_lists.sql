-- MySQL servers whose default time zone is +02:00; lists of days that have no place for the days of UTC
CREATE DATABASE computed_lists; USE computed_lists;
CREATE TABLE by_virtual (id INT, ts TIMESTAMP NOT NULL, d INT AS (DAY(ts)) VIRTUAL) PARTITION BY LIST (d) (PARTITION p1 VALUES IN (1), PARTITION p2 VALUES IN (2));
CREATE TABLE by_stored (id INT, ts TIMESTAMP NOT NULL, d INT AS (DAY(ts)) STORED, CONSTRAINT of_summer CHECK (MONTH(ts) = 7)) PARTITION BY LIST (d) SUBPARTITION BY HASH (id) SUBPARTITIONS 2 (PARTITION p1 VALUES IN (1), PARTITION p2 VALUES IN (2));
CREATE TABLE by_two (id INT, ts TIMESTAMP NOT NULL, d INT AS (DAY(ts)) STORED) PARTITION BY RANGE (id) SUBPARTITION BY KEY (d) SUBPARTITIONS 3 (PARTITION p1 VALUES LESS THAN (10));
INSERT INTO by_virtual (id, ts) VALUES (1, '2026-07-01 00:30:00'), (2, '2026-07-01 12:00:00'), (3, '2026-07-02 00:30:00');
INSERT INTO by_stored (id, ts) SELECT id, ts FROM by_virtual; INSERT INTO by_two (id, ts) SELECT id, ts FROM by_virtual;
