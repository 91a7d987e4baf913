-- Real data that Debian ships: the ISO codes of countries, their parts, languages, currencies and
-- scripts (iso-codes), every character of Unicode (unicode-data), and the world's time zones, which
-- demo.sh appends. With what a schema has besides tables: foreign keys, a view, triggers, a
-- function, a procedure and an event.
-- Runs on MySQL >= 8.0 and MariaDB >= 10.6; the server reads the files itself.

CREATE DATABASE world CHARACTER SET utf8mb4;
USE world;

CREATE TABLE country (
    alpha_2 CHAR(2) CHARACTER SET ascii PRIMARY KEY,
    alpha_3 CHAR(3) CHARACTER SET ascii NOT NULL UNIQUE,
    number SMALLINT UNSIGNED NOT NULL UNIQUE,
    flag VARCHAR(8) NOT NULL,
    name VARCHAR(80) NOT NULL,
    official_name VARCHAR(120),
    KEY by_name (name)
) COMMENT 'ISO 3166-1';

INSERT INTO country
SELECT * FROM JSON_TABLE(
    CONVERT(LOAD_FILE('/usr/share/iso-codes/json/iso_3166-1.json') USING utf8mb4),
    '$."3166-1"[*]' COLUMNS (
        alpha_2 CHAR(2) PATH '$.alpha_2', alpha_3 CHAR(3) PATH '$.alpha_3',
        number INT PATH '$.numeric', flag VARCHAR(8) PATH '$.flag',
        name VARCHAR(80) PATH '$.name', official_name VARCHAR(120) PATH '$.official_name')) AS source;

CREATE TABLE subdivision (
    code VARCHAR(6) CHARACTER SET ascii PRIMARY KEY,
    country CHAR(2) CHARACTER SET ascii NOT NULL,
    parent VARCHAR(6) CHARACTER SET ascii,
    name VARCHAR(120) NOT NULL,
    kind VARCHAR(60) NOT NULL,
    KEY by_country (country, kind),
    KEY by_parent (parent),
    FULLTEXT KEY by_word (name),
    CONSTRAINT of_country FOREIGN KEY (country) REFERENCES country (alpha_2)
) COMMENT 'ISO 3166-2';

INSERT INTO subdivision
SELECT code, SUBSTRING_INDEX(code, '-', 1), parent, name, kind FROM JSON_TABLE(
    CONVERT(LOAD_FILE('/usr/share/iso-codes/json/iso_3166-2.json') USING utf8mb4),
    '$."3166-2"[*]' COLUMNS (
        code VARCHAR(6) PATH '$.code', parent VARCHAR(6) PATH '$.parent',
        name VARCHAR(120) PATH '$.name', kind VARCHAR(60) PATH '$.type')) AS source;

CREATE TABLE language (
    alpha_3 CHAR(3) CHARACTER SET ascii PRIMARY KEY,
    alpha_2 CHAR(2) CHARACTER SET ascii UNIQUE,
    name VARCHAR(120) NOT NULL,
    scope ENUM ('I', 'M', 'S') NOT NULL COMMENT 'individual, macrolanguage, special',
    kind ENUM ('A', 'C', 'E', 'H', 'L', 'S') NOT NULL COMMENT 'ancient, constructed, extinct, historical, living, special',
    KEY by_name (name)
) COMMENT 'ISO 639-3';

INSERT INTO language
SELECT * FROM JSON_TABLE(
    CONVERT(LOAD_FILE('/usr/share/iso-codes/json/iso_639-3.json') USING utf8mb4),
    '$."639-3"[*]' COLUMNS (
        alpha_3 CHAR(3) PATH '$.alpha_3', alpha_2 CHAR(2) PATH '$.alpha_2',
        name VARCHAR(120) PATH '$.name', scope CHAR(1) PATH '$.scope', kind CHAR(1) PATH '$.type')) AS source;

CREATE TABLE currency (
    alpha_3 CHAR(3) CHARACTER SET ascii PRIMARY KEY,
    number SMALLINT UNSIGNED NOT NULL,
    name VARCHAR(120) NOT NULL
) COMMENT 'ISO 4217';

INSERT INTO currency
SELECT * FROM JSON_TABLE(
    CONVERT(LOAD_FILE('/usr/share/iso-codes/json/iso_4217.json') USING utf8mb4),
    '$."4217"[*]' COLUMNS (
        alpha_3 CHAR(3) PATH '$.alpha_3', number INT PATH '$.numeric', name VARCHAR(120) PATH '$.name')) AS source;

CREATE TABLE `character` (
    code_point INT UNSIGNED PRIMARY KEY,
    glyph VARCHAR(1) COLLATE utf8mb4_bin,
    utf8 VARBINARY(4),
    name VARCHAR(120) NOT NULL,
    category CHAR(2) CHARACTER SET ascii NOT NULL,
    KEY by_category (category),
    KEY by_name (name)
) COMMENT 'Unicode; surrogates, private use and ranges apart';

LOAD DATA INFILE '/usr/share/unicode/UnicodeData.txt' INTO TABLE `character`
    CHARACTER SET utf8mb4 FIELDS TERMINATED BY ';' ESCAPED BY ''
    (@hex, name, category, @rest, @rest, @rest, @rest, @rest, @rest, @rest, @rest, @rest, @rest, @rest, @rest)
    SET code_point = CONV(@hex, 16, 10),
        glyph = IF(category IN ('Cs', 'Co'), NULL, CONVERT(CONVERT(UNHEX(LPAD(@hex, 8, '0')) USING utf32) USING utf8mb4)),
        utf8 = CAST(glyph AS BINARY);
DELETE FROM `character` WHERE glyph IS NULL OR name LIKE '<%, %>';

CREATE TABLE renamed (
    id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY,
    country CHAR(2) CHARACTER SET ascii NOT NULL,
    old_name VARCHAR(80) NOT NULL,
    new_name VARCHAR(80) NOT NULL,
    at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
    KEY by_country (country),
    CONSTRAINT renamed_country FOREIGN KEY (country) REFERENCES country (alpha_2)
) COMMENT 'Filled by a trigger';

CREATE VIEW parts_of AS
SELECT country.flag, country.name AS country, COUNT(*) AS parts, COUNT(DISTINCT subdivision.kind) AS kinds
FROM country JOIN subdivision ON subdivision.country = country.alpha_2
GROUP BY country.alpha_2, country.flag, country.name;

DELIMITER //
CREATE TRIGGER country_renamed AFTER UPDATE ON country FOR EACH ROW
BEGIN
    IF NOT NEW.name <=> OLD.name THEN
        INSERT INTO renamed (country, old_name, new_name) VALUES (NEW.alpha_2, OLD.name, NEW.name);
    END IF;
END//
CREATE TRIGGER country_kept BEFORE DELETE ON country FOR EACH ROW
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'countries don''t vanish; "retire" them'//
CREATE FUNCTION flag_of(code CHAR(2)) RETURNS VARCHAR(8) CHARSET utf8mb4 READS SQL DATA
    RETURN (SELECT flag FROM country WHERE alpha_2 = code)//
CREATE PROCEDURE rename_country(IN code CHAR(2), IN new_name VARCHAR(80))
BEGIN
    UPDATE country SET name = new_name WHERE alpha_2 = code;
END//
CREATE EVENT forget_old_names ON SCHEDULE EVERY 1 DAY
    DO DELETE FROM renamed WHERE at < NOW() - INTERVAL 10 YEAR//
DELIMITER ;

CALL rename_country('TR', 'Turkey');
CALL rename_country('CI', 'Côte d''Ivoire — 🐘');

CREATE DATABASE zones CHARACTER SET utf8mb4;
USE zones;

CREATE TABLE time_zone (
    Time_zone_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    Use_leap_seconds ENUM ('Y', 'N') NOT NULL DEFAULT 'N'
);
CREATE TABLE time_zone_name (
    Name CHAR(64) NOT NULL PRIMARY KEY,
    Time_zone_id INT UNSIGNED NOT NULL,
    KEY by_zone (Time_zone_id)
);
CREATE TABLE time_zone_transition (
    Time_zone_id INT UNSIGNED NOT NULL,
    Transition_time BIGINT NOT NULL,
    Transition_type_id INT UNSIGNED NOT NULL,
    PRIMARY KEY (Time_zone_id, Transition_time),
    KEY by_time (Transition_time)
);
CREATE TABLE time_zone_transition_type (
    Time_zone_id INT UNSIGNED NOT NULL,
    Transition_type_id INT UNSIGNED NOT NULL,
    `Offset` INT NOT NULL DEFAULT 0,
    Is_DST TINYINT UNSIGNED NOT NULL DEFAULT 0,
    Abbreviation CHAR(8) NOT NULL DEFAULT '',
    PRIMARY KEY (Time_zone_id, Transition_type_id)
);
