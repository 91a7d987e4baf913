-- MySQL: what tables compute from session variables, each written under one setting throughout
SET NAMES utf8mb4; CREATE DATABASE computed; USE computed;
SET SESSION lc_time_names = 'de_DE', div_precision_increment = 10, block_encryption_mode = 'aes-256-cbc', time_zone = '+05:30';
CREATE TABLE names (id INT PRIMARY KEY, d DATE, day VARCHAR(20) AS (DAYNAME(d)) STORED, UNIQUE KEY (day, id));
INSERT INTO names (id, d) VALUES (1, '2026-01-03'), (2, '2026-03-04');
CREATE TABLE quotients (id INT PRIMARY KEY, a INT, b INT, q VARCHAR(40) AS (a / b) STORED); INSERT INTO quotients (id, a, b) VALUES (1, 22, 7);
CREATE TABLE secrets (id INT PRIMARY KEY, a VARCHAR(20), s VARBINARY(64) AS (AES_ENCRYPT(a, 'k', '0123456789abcdef')) STORED); INSERT INTO secrets (id, a) VALUES (1, 'x');
CREATE TABLE zoned (id INT PRIMARY KEY, ts TIMESTAMP NULL, day DATE AS (DATE(ts)) STORED, h INT AS (HOUR(ts)) VIRTUAL, UNIQUE KEY (day), KEY (h), KEY ((MINUTE(ts))), CONSTRAINT z CHECK (HOUR(ts) = 0), CONSTRAINT e CHECK (id > 0), CONSTRAINT never CHECK (id > 5) NOT ENFORCED);
INSERT INTO zoned (id, ts) VALUES (1, '2026-07-01 00:30:00'), (2, '2026-01-01 00:30:00'), (3, NULL);
CREATE TABLE child (id INT PRIMARY KEY, day DATE, FOREIGN KEY (day) REFERENCES zoned (day)); INSERT INTO child VALUES (1, '2026-07-01');
CREATE TABLE zeros (id INT AUTO_INCREMENT PRIMARY KEY, ts TIMESTAMP NULL, z DATE, day DATE AS (ts) STORED); SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO';
INSERT INTO zeros (id, ts, z) VALUES (0, '2026-07-01 00:30:00', '0000-00-00'), (2, '2026-01-01 00:30:00', '2026-02-00'); ALTER TABLE zeros AUTO_INCREMENT = 77;
CREATE TABLE padded (id INT PRIMARY KEY, c CHAR(5), l INT AS (CHAR_LENGTH(c)) STORED); SET sql_mode = 'PAD_CHAR_TO_FULL_LENGTH'; INSERT INTO padded (id, c) VALUES (1, 'ab');
