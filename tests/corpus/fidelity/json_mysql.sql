-- only: mysql
-- Keys over JSON: generated, functional and multi-valued.
CREATE TABLE indexed (id INT PRIMARY KEY, j JSON, name VARCHAR(50) AS (j->>'$.name') STORED, tags JSON DEFAULT (JSON_ARRAY()), KEY (name), KEY multi ((CAST(j->'$.zips' AS UNSIGNED ARRAY))), CONSTRAINT shape CHECK (JSON_TYPE(j) = 'OBJECT'));
INSERT INTO indexed (id, j) VALUES (1,'{"name":"O''Brien;","zips":[1,2,3]}'),(2,'{"zips":[]}');
