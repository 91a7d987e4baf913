-- MySQL: values that hang on a setting by a way that the text of the expression does not show at first sight
SET NAMES utf8mb4; CREATE DATABASE computed_settings; USE computed_settings;
SET time_zone = '+02:00';
CREATE TABLE moments (id INT PRIMARY KEY, dt DATETIME, ts TIMESTAMP AS (dt) STORED NULL); INSERT INTO moments (id, dt) VALUES (1, '2026-07-01 00:30:00'), (2, '2026-01-01 12:00:00');
SET time_zone = DEFAULT, sql_mode = 'TIME_TRUNCATE_FRACTIONAL';
CREATE TABLE fractions (id INT PRIMARY KEY, t TIME(6), s VARCHAR(40), a INT AS (SECOND(s)) STORED, b BIGINT AS (t) STORED, c VARCHAR(20) AS (ADDTIME(s, '00:00:00')) STORED); INSERT INTO fractions (id, t, s) VALUES (1, '10:11:12.9', '12:00:00.99999999');
SET sql_mode = 'NO_UNSIGNED_SUBTRACTION';
CREATE TABLE years (id INT PRIMARY KEY, y YEAR, c INT AS (y - 3000) STORED); INSERT INTO years (id, y) VALUES (1, 2000);
CREATE TABLE casts (id INT PRIMARY KEY, a INT, s VARCHAR(9), c BIGINT AS (CAST(a AS UNSIGNED) - 10) STORED, d INT AS ((a & 7) - 9) STORED, e BIGINT AS (CRC32(s) - 4294967299) STORED, KEY ((CAST(a AS UNSIGNED) - 12))); INSERT INTO casts (id, a, s) VALUES (1, 3, 'x');
SET sql_mode = DEFAULT, default_collation_for_utf8mb4 = utf8mb4_general_ci; SET NAMES utf8mb4;
CREATE TABLE literals (id INT PRIMARY KEY, b INT AS (CONCAT(id, 'a ') = '1a') STORED, CONSTRAINT k CHECK (CONCAT(id, ' ') = '1')); INSERT INTO literals (id) VALUES (1);
SET default_collation_for_utf8mb4 = DEFAULT, div_precision_increment = 9, lc_time_names = 'de_DE', block_encryption_mode = 'aes-256-cbc';
CREATE TABLE zeros (id INT PRIMARY KEY, a INT, b INT, d DECIMAL(20,12) AS (a / b) STORED, x DOUBLE AS (a / b) STORED, bi BINARY(20) AS (a / b) STORED, tb TINYBLOB AS (a / b) STORED, vb VARBINARY(20) AS (a / b) STORED); INSERT INTO zeros (id, a, b) VALUES (1, 1, 3);
CREATE TABLE days (id INT PRIMARY KEY, d DATE, n VARCHAR(20) AS (DAYNAME(d)) STORED, bi BINARY(20) AS (DAYNAME(d)) STORED); INSERT INTO days (id, d) VALUES (1, '2026-07-01');
CREATE TABLE several (id INT PRIMARY KEY, a INT, b INT, d DATE, q VARCHAR(40) AS (a / b) STORED, n VARCHAR(40) AS (MONTHNAME(d)) STORED, e VARBINARY(64) AS (AES_ENCRYPT(a, 'kkk', REPEAT('i', 16))) STORED); INSERT INTO several (id, a, b, d) VALUES (1, 1, 3, '2026-05-01');
SET div_precision_increment = DEFAULT, lc_time_names = DEFAULT, block_encryption_mode = DEFAULT;
CREATE TABLE usual (id INT PRIMARY KEY, s VARCHAR(20), i INT AS (s) STORED, t TINYINT AS (id * 1000) STORED, f DOUBLE(10,2) AS (id / 3) STORED, bi BINARY(9) AS (id / 3) STORED, j JSON AS (JSON_OBJECT('a', id / 3)) STORED, bt BIT(4) AS (id / 1) STORED, e ENUM('a','b') AS (IF(id / 1 > 1, 'a', 'b')) STORED, y YEAR AS (YEAR('2026-01-01') - id) STORED); SET sql_mode = ''; INSERT INTO usual (id, s) VALUES (1, '1.5'), (2, '-2.5e0');
