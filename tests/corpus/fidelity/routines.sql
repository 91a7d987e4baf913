-- Bodies that could be taken for syntax; modes, character sets and comments of their own.
CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1);
DELIMITER $$
CREATE PROCEDURE `nasty ``one```(IN `in;put` VARCHAR(20), OUT o INT, INOUT io TEXT) COMMENT 'it''s; */ -- # "q"' BEGIN
  DECLARE s TEXT DEFAULT 'a;;b'; /* comment ;; with $ and ' an apostrophe */
  -- don't; stop
  # nor "here;
  SET s = "*/ /*!50000 x */ DELIMITER ;;";
  SET s = '
DELIMITER ;;
-- Dump completed on 2026-01-01
/*!50003 CREATE*/';
  label: LOOP LEAVE label; END LOOP;
  SELECT s, '\\', '\'', '''', `id` FROM t WHERE 1 /*! AND 2 */ /*!99999 AND garbage */;
  SET o = 1;
END$$
CREATE FUNCTION f(a INT) RETURNS VARCHAR(20) CHARACTER SET latin1 DETERMINISTIC NO SQL SQL SECURITY INVOKER RETURN 'é🦀'$$
CREATE FUNCTION g() RETURNS INT READS SQL DATA BEGIN RETURN (SELECT COUNT(*) FROM t); END$$
CREATE PROCEDURE nothing() BEGIN END$$
CREATE PROCEDURE one() SELECT 1$$
CREATE PROCEDURE `название 中`() SELECT 'é'$$
SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'$$
CREATE PROCEDURE " an""si"() BEGIN SELECT "id", 'back\' FROM "t"; SELECT '\'; END$$
SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'$$
CREATE PROCEDURE no_escapes() SELECT '\', "\", ';'$$
SET SESSION sql_mode = 'ANSI'$$
CREATE PROCEDURE ansi() SELECT 'a' || "id" FROM t$$
SET SESSION sql_mode = 'IGNORE_SPACE,STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO'$$
CREATE PROCEDURE strict() SELECT 1$$
SET SESSION sql_mode = ''$$
SET NAMES latin1$$
CREATE PROCEDURE of_latin1() SELECT 'x'$$
SET NAMES utf8mb4 COLLATE utf8mb4_bin$$
CREATE PROCEDURE of_bin() SELECT 'é'$$
CREATE PROCEDURE windows_lines() BEGIN
SELECT 1;
SELECT ' two ';
END$$
DELIMITER ;
