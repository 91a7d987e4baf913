-- lossy
-- cp932 goes through utf8mb4, and some characters do not come back (docs/proof.md).
CREATE TABLE c (id INT PRIMARY KEY, t VARCHAR(20) CHARACTER SET cp932); INSERT INTO c VALUES (1, _cp932 0xED40), (2, _cp932 0x88C0);
