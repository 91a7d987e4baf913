-- Data and definitions made by a session of ANSI_QUOTES and NO_BACKSLASH_ESCAPES. MySQL itself
-- cannot keep a quote or backslash of that mode in an expression of a table.
SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES';
CREATE TABLE "t ""q""" ("id" INT PRIMARY KEY, "a" VARCHAR(50) DEFAULT 'back\' COMMENT 'slash\', "b" TEXT, CONSTRAINT c CHECK ("a" <> 'it;s')) COMMENT='table\';
INSERT INTO "t ""q""" VALUES (1,'\','it''s'),(2,'\n','"'),(3,'\''','\\');
CREATE TABLE e (a ENUM('\','x\y') , g VARCHAR(20) GENERATED ALWAYS AS (CONCAT("a", 'x"')) STORED, h VARCHAR(20) DEFAULT (CONCAT('"', '`')));
INSERT INTO e (a) VALUES ('\'),('x\y');
CREATE VIEW v AS SELECT '\' AS "a\", "id" FROM "t ""q""" WHERE "a" <> 'x\';
