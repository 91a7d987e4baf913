-- Foreign keys: cycles, to itself, to another schema, of several columns; with every action.
CREATE TABLE a (id INT PRIMARY KEY, b_id INT, KEY (b_id)); CREATE TABLE b (id INT PRIMARY KEY, a_id INT, CONSTRAINT `b to "a"` FOREIGN KEY (a_id) REFERENCES a (id) ON DELETE SET NULL ON UPDATE CASCADE);
INSERT INTO a VALUES (1,NULL),(2,NULL); INSERT INTO b VALUES (1,1),(2,2);
UPDATE a SET b_id = id; ALTER TABLE a ADD CONSTRAINT a_to_b FOREIGN KEY (b_id) REFERENCES b (id) ON DELETE RESTRICT;
CREATE TABLE tree (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES tree (id) ON DELETE CASCADE); INSERT INTO tree VALUES (1,NULL),(2,1),(3,2);
CREATE TABLE z_parent (x INT NOT NULL, y VARCHAR(20) NOT NULL, extra INT, UNIQUE KEY xy (x, y)); INSERT INTO z_parent VALUES (1,'a',1),(2,'b',2);
CREATE TABLE a_child (x INT, y VARCHAR(20), z INT, CONSTRAINT two FOREIGN KEY (x, y) REFERENCES z_parent (x, y) ON UPDATE NO ACTION, KEY longer (x, y, z)); INSERT INTO a_child VALUES (1,'a',1),(NULL,'q',2),(2,'b',3),(2,'b',3);
CREATE DATABASE foreign_keys_other; CREATE TABLE foreign_keys_other.abroad (id INT PRIMARY KEY, a_id INT, FOREIGN KEY (a_id) REFERENCES foreign_keys.a (id)); INSERT INTO foreign_keys_other.abroad VALUES (1,1);
SET foreign_key_checks = 0; CREATE TABLE orphan (id INT PRIMARY KEY, a_id INT, CONSTRAINT broken FOREIGN KEY (a_id) REFERENCES a (id)); INSERT INTO orphan VALUES (1, 999);
