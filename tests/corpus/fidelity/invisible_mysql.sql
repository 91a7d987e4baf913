-- only: mysql
-- Invisible primary keys that the server made, invisible generated columns, invisible indexes.
SET SESSION sql_generate_invisible_primary_key = ON;
CREATE TABLE gipk (a INT, b VARCHAR(9), KEY (a));
INSERT INTO gipk (a, b) VALUES (1,'x'),(1,'x'),(2,NULL); DELETE FROM gipk WHERE my_row_id = 2; INSERT INTO gipk (a) VALUES (9);
CREATE TABLE gipk_empty (a INT);
CREATE TABLE hidden_index (id INT PRIMARY KEY, a INT, g INT GENERATED ALWAYS AS (a+1) VIRTUAL INVISIBLE, KEY k (a) INVISIBLE, KEY (g));
INSERT INTO hidden_index (id, a) VALUES (1,2),(2,3);
