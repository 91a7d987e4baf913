-- No primary key, rows that are there twice, tables without rows, a table of one column of defaults.
CREATE TABLE twice (a INT, b TEXT); INSERT INTO twice VALUES (1,'x'),(1,'x'),(NULL,NULL),(NULL,NULL),(1,'x');
CREATE TABLE without_rows (id INT AUTO_INCREMENT PRIMARY KEY) AUTO_INCREMENT=77; CREATE TABLE emptied (id INT AUTO_INCREMENT PRIMARY KEY); INSERT INTO emptied VALUES (41); DELETE FROM emptied;
CREATE TABLE wide_rows (a INT); INSERT INTO wide_rows SELECT 7 FROM information_schema.character_sets a, information_schema.character_sets b;
