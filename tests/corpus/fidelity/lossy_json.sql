-- only: mysql
-- lossy
-- Types inside of JSON that its text does not show (docs/proof.md).
CREATE TABLE j (id INT PRIMARY KEY, j JSON);
INSERT INTO j VALUES (1, CAST(CAST(1.5 AS DECIMAL(5,1)) AS JSON)), (2, CAST(DATE '2026-01-01' AS JSON)), (3, CAST(TIME '01:02:03' AS JSON)), (4, CAST(CAST(18446744073709551615 AS UNSIGNED) AS JSON)), (5, '1.5'), (6, '"2026-01-01"');
