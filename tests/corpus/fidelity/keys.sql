-- Every kind of key, and rows in an order of their own.
CREATE TABLE many_keys (id INT NOT NULL, a VARCHAR(200), b TEXT, c INT NOT NULL, d INT NOT NULL DEFAULT 0, PRIMARY KEY (id, c DESC), UNIQUE KEY u (a(20), c), KEY p (b(7), a(3) DESC), KEY de (d DESC, c), KEY `odd ``name``` (c), FULLTEXT KEY f1 (a, b), FULLTEXT KEY f2 (b)) COMMENT='KEY `x` (`y`),';
INSERT INTO many_keys VALUES (3,'c','word of text',1,2),(1,'a','another; word',9,8),(2,'b','it''s text',5,5),(1,'aa',NULL,8,0);
CREATE TABLE auto_second (g INT, id INT NOT NULL AUTO_INCREMENT, v INT, PRIMARY KEY (g, id), KEY (id)) AUTO_INCREMENT=1000;
INSERT INTO auto_second (g, v) VALUES (1,1),(1,2),(2,3); DELETE FROM auto_second WHERE v = 3;
CREATE TABLE auto_keyed (id INT NOT NULL AUTO_INCREMENT, v INT, KEY k (v, id), KEY (id));
INSERT INTO auto_keyed (v) VALUES (5),(5),(6);
SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO';
CREATE TABLE auto_zero (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, v INT);
INSERT INTO auto_zero VALUES (0,0),(-5,1),(3,2);
CREATE TABLE fts_id (FTS_DOC_ID BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, t TEXT, FULLTEXT KEY (t));
INSERT INTO fts_id (t) VALUES ('one two'),('three');
CREATE TABLE nullable_unique (a INT, b INT, UNIQUE KEY (a, b), UNIQUE KEY ub (b));
INSERT INTO nullable_unique VALUES (NULL,1),(NULL,2),(1,NULL),(1,NULL);
CREATE TABLE unique_not_null (a INT NOT NULL, b INT, UNIQUE KEY (a), KEY (b)); INSERT INTO unique_not_null VALUES (2,1),(1,2);
