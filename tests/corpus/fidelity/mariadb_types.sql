-- only: mariadb
-- Types of MariaDB's own, compressed columns, dynamic columns, CHECK of a column.
CREATE TABLE types (id INT PRIMARY KEY, u UUID, a INET6, b INET4, c TEXT COMPRESSED, d BLOB, e INT CHECK (e > 0 OR e IS NULL), f VARCHAR(30) COMPRESSED, g UUID DEFAULT UUID());
INSERT INTO types VALUES (1,'123e4567-e89b-12d3-a456-426655440000','2001:db8::1','10.0.0.1',REPEAT('x;''',1000),COLUMN_CREATE('a',1,'b','x'),1,'abc','00000000-0000-0000-0000-000000000000'),(2,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL),(3,'ffffffff-ffff-ffff-ffff-ffffffffffff','::','255.255.255.255','','',2,'',NULL);
CREATE TABLE compressed_pages (id INT PRIMARY KEY, t TEXT) PAGE_COMPRESSED=1;
INSERT INTO compressed_pages VALUES (1, REPEAT('a',5000));
CREATE TABLE periods (id INT, s DATE, e DATE, PERIOD FOR valid (s, e), UNIQUE (id, valid WITHOUT OVERLAPS));
INSERT INTO periods VALUES (1,'2026-01-01','2026-02-01'),(1,'2026-02-01','2026-03-01');
CREATE TABLE ignored_key (id INT PRIMARY KEY, a INT, KEY k (a) IGNORED);
INSERT INTO ignored_key VALUES (1,1);
CREATE TABLE long_unique (id INT PRIMARY KEY, t TEXT, UNIQUE KEY (t));
INSERT INTO long_unique VALUES (1, REPEAT('a',5000)), (2, REPEAT('b',5000));
