-- CHECK constraints, with text in them.
CREATE TABLE checked (id INT PRIMARY KEY, a INT, b VARCHAR(50), CONSTRAINT positive CHECK (a > 0), CONSTRAINT `odd ``name``` CHECK (b <> ');''' OR b LIKE '%\\_x'), CHECK (a <> 13 OR b IS NULL)) DEFAULT CHARACTER SET utf8mb4;
INSERT INTO checked VALUES (1,1,'x'),(2,NULL,NULL),(3,13,NULL),(4,5,'é🦀');
