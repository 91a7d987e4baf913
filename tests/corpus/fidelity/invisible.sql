-- Invisible columns: rows are dumped with a list of columns, or without the hidden one's value.
CREATE TABLE invisible (id INT PRIMARY KEY, a INT, h INT INVISIBLE DEFAULT 7, b VARCHAR(9));
INSERT INTO invisible (id, a, h, b) VALUES (1,1,1,'x'),(2,2,NULL,NULL); INSERT INTO invisible VALUES (3,3,'y');
CREATE TABLE invisible_key (id INT INVISIBLE AUTO_INCREMENT PRIMARY KEY, a INT);
INSERT INTO invisible_key (a) VALUES (10),(10),(20); DELETE FROM invisible_key WHERE id = 2;
