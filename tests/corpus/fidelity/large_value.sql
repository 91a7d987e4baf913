-- once
-- One value of 64 MB, and one of 40 MB of text that is all quotes.
CREATE TABLE large (id INT PRIMARY KEY, v LONGBLOB, t LONGTEXT);
INSERT INTO large VALUES (1, REPEAT(UNHEX('00ff275c0a0d1a22'), 8388608), NULL);
INSERT INTO large VALUES (2, NULL, REPEAT('it''s', 2500000)), (3, 'small', 'small');
