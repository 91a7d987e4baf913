-- lossy
-- FLOAT is printed with six digits (docs/proof.md).
CREATE TABLE f (id INT PRIMARY KEY, f FLOAT); INSERT INTO f VALUES (1,16777215),(2,0.5);
