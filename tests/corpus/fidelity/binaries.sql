-- Blobs of all 256 byte values, in every type that holds bytes.
CREATE TABLE bytes (id INT PRIMARY KEY, a BINARY(16), b VARBINARY(1000), c TINYBLOB, d BLOB, e MEDIUMBLOB, f LONGBLOB);
SET @all = '';
CREATE TABLE n (i INT PRIMARY KEY);
INSERT INTO n VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9),(10),(11),(12),(13),(14),(15);
SET SESSION group_concat_max_len = 100000;
SET @all = (SELECT UNHEX(GROUP_CONCAT(LPAD(HEX(x.i * 16 + y.i), 2, '0') ORDER BY x.i, y.i SEPARATOR '')) FROM n x, n y);
INSERT INTO bytes VALUES (1,SUBSTR(@all,1,16),@all,SUBSTR(@all,2),@all,@all,@all),(2,'','','','','',''),(3,NULL,NULL,NULL,NULL,NULL,NULL),(4,0x00,0x00,0x00,0x00,0x00,0x00),(5,'\'','0x','NULL',0x5c,0x27,0x275c27),(6,0xff,0xfffe,0xefbbbf,0xf0,0xc0,0xed40),(7,1,1,1,REVERSE(@all),REPEAT(@all,5000),REPEAT(REVERSE(@all),5000));
CREATE TABLE by_bytes (k VARBINARY(300), v BLOB, PRIMARY KEY (k), KEY (v(10)));
INSERT INTO by_bytes SELECT UNHEX(LPAD(HEX(x.i * 16 + y.i), 2, '0')), @all FROM n x, n y;
CREATE TABLE bytes_of_default (id INT PRIMARY KEY, a BINARY(4) NOT NULL DEFAULT 'a\0\'\\', b VARBINARY(9) DEFAULT 0x00ff);
INSERT INTO bytes_of_default (id) VALUES (1);
