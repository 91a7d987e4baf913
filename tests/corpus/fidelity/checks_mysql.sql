-- only: mysql
-- A CHECK that is not enforced, and rows that break it.
CREATE TABLE lax (id INT PRIMARY KEY, a INT, CONSTRAINT never CHECK (a > 100) /*!80016 NOT ENFORCED */); INSERT INTO lax VALUES (1,1);
