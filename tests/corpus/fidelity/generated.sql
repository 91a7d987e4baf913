-- Generated columns, virtual and stored, in keys; defaults that are expressions.
CREATE TABLE g (id INT PRIMARY KEY, a INT, b INT GENERATED ALWAYS AS (a + 1) VIRTUAL, c INT GENERATED ALWAYS AS (a * 2) STORED, d VARCHAR(50) GENERATED ALWAYS AS (CONCAT('x;''', a, ')')) VIRTUAL, KEY (b), UNIQUE KEY (c), KEY (d));
INSERT INTO g (id, a) VALUES (1,1),(2,NULL),(3,-5);
CREATE TABLE generated_first (g INT GENERATED ALWAYS AS (a) STORED, a INT, h INT AS (a), KEY (h, g));
INSERT INTO generated_first (a) VALUES (1),(1),(2);
CREATE TABLE expressions (id INT PRIMARY KEY, a VARCHAR(40) DEFAULT (CONCAT('a', 'b;')), b INT DEFAULT (1 + 2), c VARCHAR(36) DEFAULT (UUID()), d DATETIME DEFAULT (CURRENT_TIMESTAMP + INTERVAL 1 DAY));
INSERT INTO expressions (id) VALUES (1),(2); INSERT INTO expressions VALUES (3,NULL,NULL,NULL,NULL);
