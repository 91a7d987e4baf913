-- only: mysql
-- Reference systems of columns and values; several spatial keys; vectors.
CREATE TABLE places (id INT PRIMARY KEY, p POINT NOT NULL SRID 4326, q GEOMETRY NOT NULL SRID 0, r GEOMETRY, SPATIAL KEY (p), SPATIAL KEY (q));
INSERT INTO places VALUES (1,ST_GeomFromText('POINT(52.5 13.4)',4326),ST_GeomFromText('POINT(1 1)'),ST_GeomFromText('POINT(1 2)',3857)),(2,ST_GeomFromText('POINT(-90 180)',4326),ST_GeomFromText('LINESTRING(0 0,1 1)'),NULL);
CREATE TABLE vectors (id INT PRIMARY KEY, v VECTOR(4), w VECTOR);
INSERT INTO vectors VALUES (1,TO_VECTOR('[1,2.5,-3e10,1e-30]'),TO_VECTOR('[0.1]')),(2,NULL,NULL);
