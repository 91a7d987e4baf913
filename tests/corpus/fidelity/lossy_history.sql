-- only: mariadb
-- lossy
-- History of system-versioned tables comes back where the client knows --dump-history (docs/proof.md).
CREATE TABLE v (id INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING; INSERT INTO v VALUES (1,1),(2,2); UPDATE v SET v = 10 WHERE id = 1; DELETE FROM v WHERE id = 2;
