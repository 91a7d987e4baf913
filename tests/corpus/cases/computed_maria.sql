-- MariaDB: values that hang on the flags of regular expressions, and definitions that it takes under one sql_mode only
CREATE DATABASE computed_maria; USE computed_maria;
SET default_regex_flags = 'DOTALL,MULTILINE';
CREATE TABLE flags (id INT PRIMARY KEY, a TEXT, c INT AS (a REGEXP '^b') PERSISTENT); INSERT INTO flags (id, a) VALUES (1, 'a\nb');
SET default_regex_flags = '', sql_mode = 'NO_UNSIGNED_SUBTRACTION';
CREATE TABLE casts (id INT PRIMARY KEY, a INT, c BIGINT AS (CAST(a AS UNSIGNED) - 10) STORED, d INT AS ((a & 7) - 9) STORED); INSERT INTO casts (id, a) VALUES (1, 3);
CREATE TABLE never_negative (id INT PRIMARY KEY, a INT UNSIGNED, c BIGINT AS (a - 1) VIRTUAL, KEY (c)); INSERT INTO never_negative (id, a) VALUES (1, 3);
