-- only: mysql
-- Functional keys, parsers of full text, several tables' options.
CREATE TABLE functional (id INT PRIMARY KEY, a INT, s VARCHAR(50), KEY f ((a + 1), s), KEY g ((LOWER(s))), UNIQUE KEY h ((CONCAT(s, ';''', a))));
INSERT INTO functional VALUES (1,1,'A'),(2,NULL,'B'),(3,3,NULL);
CREATE TABLE ngrams (id INT PRIMARY KEY, t TEXT, FULLTEXT KEY (t) WITH PARSER ngram COMMENT 'a;b') ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8 STATS_PERSISTENT=1;
INSERT INTO ngrams VALUES (1,'中文字符'),(2,'abc');
CREATE TABLE attributes (id INT PRIMARY KEY SECONDARY_ENGINE_ATTRIBUTE '{"a":1}', b INT, KEY (b) SECONDARY_ENGINE_ATTRIBUTE '{"k":";"}') SECONDARY_ENGINE_ATTRIBUTE='{"key": "v''"}';
INSERT INTO attributes VALUES (1,1);
