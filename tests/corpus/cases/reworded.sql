-- MySQL: CHECKs that an ALTER would write in other words, foreign keys among such tables, and what stands beside
SET NAMES utf8mb4, foreign_key_checks = 0; CREATE DATABASE reworded; USE reworded;
CREATE TABLE child (id INT PRIMARY KEY, v VARCHAR(9) CHARACTER SET latin1, p INT, KEY (v), KEY (p), CHECK (v <> 'é'), CONSTRAINT f FOREIGN KEY (p) REFERENCES parent (n)); INSERT INTO child VALUES (1, 'ü', 1);
CREATE TABLE parent (id INT PRIMARY KEY, n INT, m INT, UNIQUE KEY (n), KEY (m), CONSTRAINT g FOREIGN KEY (m) REFERENCES grand (m)); INSERT INTO parent VALUES (1, 1, 1);
CREATE TABLE grand (id INT PRIMARY KEY, m INT, UNIQUE KEY (m)); INSERT INTO grand VALUES (1, 1);
CREATE TABLE many (id INT PRIMARY KEY, n INT, v VARCHAR(20) CHARACTER SET latin1, u VARCHAR(20), b VARBINARY(20), j JSON, e ENUM('a','b') CHARACTER SET latin1,
  g INT AS (v IN (_utf8mb4 'a', _latin1 'b')) VIRTUAL, d VARCHAR(20) CHARACTER SET latin1 DEFAULT (concat('ä', _utf8mb4 'b')), KEY (v), KEY (u), KEY ((concat(v, _utf8mb4 'ü'))),
  CHECK (v IN ('a', 'é')), CHECK (u <> _latin1 'a'), CHECK (b <> 'a'), CHECK (v <> n'a'), CHECK (v COLLATE latin1_bin <> 'a'), CHECK (e <> 'b'), CHECK (v LIKE 'a\\%'),
  CHECK (CAST(u AS CHAR CHARACTER SET latin1) <> 'a'), CHECK (u <> CONVERT('a' USING latin1)), CHECK (concat('ü', 'é') <> v)); INSERT INTO many (id, n, u) VALUES (1, 2, 'x');
CREATE TABLE plain (id INT PRIMARY KEY, u VARCHAR(20), KEY (u), CHECK (u <> 'é'), CHECK (u NOT LIKE 'x\'%')); INSERT INTO plain VALUES (1, 'ü');
