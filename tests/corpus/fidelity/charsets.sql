-- Character sets and collations of the schema, the table, the column, the default, the comment.
ALTER DATABASE charsets CHARACTER SET latin2 COLLATE latin2_croatian_ci;
CREATE TABLE of_the_schema (id INT PRIMARY KEY, t VARCHAR(20));
CREATE TABLE of_the_table (id INT PRIMARY KEY, t VARCHAR(20)) COLLATE utf8mb4_unicode_ci;
INSERT INTO of_the_schema VALUES (1, 'šđčćž'), (2, NULL);
CREATE TABLE many (id INT PRIMARY KEY, a VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_german2_ci, b VARCHAR(20) CHARACTER SET utf8mb3, c VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, d VARCHAR(20) CHARACTER SET ucs2, e VARCHAR(20) CHARACTER SET utf16, f VARCHAR(20) CHARACTER SET utf32, g VARCHAR(20) CHARACTER SET koi8r, h VARCHAR(20) CHARACTER SET big5, i VARCHAR(20) CHARACTER SET gbk, j VARCHAR(20) CHARACTER SET ascii, k VARCHAR(20) CHARACTER SET binary, l VARCHAR(20) CHARACTER SET cp1251, m VARCHAR(20) CHARACTER SET euckr, n VARCHAR(20) CHARACTER SET utf16le, o VARCHAR(20) CHARACTER SET hebrew, p VARCHAR(20) CHARACTER SET latin5 COMMENT 'Şğı 🦀', q CHAR(5) CHARACTER SET tis620, r ENUM('é','ä') CHARACTER SET latin1, s TEXT CHARACTER SET latin7, u VARCHAR(20) CHARACTER SET swe7, KEY (a), KEY (c(3))) DEFAULT CHARACTER SET cp1250 COMMENT 'Žluťoučký ''kůň'' 🦀';
INSERT INTO many VALUES (1,'äöüß€','中文','🦀','中','🦀𝄞','🦀𝄞','привет','中文','中文','ascii',0x00ff,'привет','한국어','🦀','שלום','Şğı','ไทย','é','ā','abc');
INSERT INTO many (id) VALUES (2);
INSERT INTO many (id,a,h,i) VALUES (3, UNHEX('8081a0ff'), _big5 0xa55c, _gbk 0x815c);
CREATE TABLE defaults (id INT PRIMARY KEY, a VARCHAR(20) CHARACTER SET latin1 DEFAULT 'größe', b VARCHAR(20) CHARACTER SET utf8mb4 DEFAULT '🦀''\\', c VARCHAR(9) CHARACTER SET gbk DEFAULT '中') DEFAULT CHARACTER SET koi8r;
INSERT INTO defaults (id) VALUES (1);
CREATE TABLE `ключ` (`стол` INT PRIMARY KEY, `café` VARCHAR(20) CHARACTER SET latin1) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci;
INSERT INTO `ключ` VALUES (1,'é'),(2,'e');
