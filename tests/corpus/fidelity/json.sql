-- JSON of every shape.
CREATE TABLE documents (id INT PRIMARY KEY, j JSON, k JSON NOT NULL);
INSERT INTO documents VALUES (1,'{"a":1,"b":[1,2.5,null,true,"x;''\\"\\\\"],"é":"🦀","":{}}','[]'),(2,NULL,'null'),(3,'"\\u0000\\n"','"NULL"'),(4,'18446744073709551615','-9223372036854775808'),(5,'1e100','0.1'),(6,'{"z":1,"aa":2,"b":3}','{}'),(7,'[[[[[[[]]]]]]]','1');
