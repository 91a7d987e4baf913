-- What a database of PostgreSQL can hold, and a dump of it must bring back.
CREATE ROLE app LOGIN PASSWORD 'app-secret' CONNECTION LIMIT 7 VALID UNTIL '2099-01-01';
CREATE ROLE readers NOLOGIN;
CREATE ROLE "odd ""role"" o'neil";
GRANT readers TO app WITH ADMIN OPTION;
ALTER ROLE app SET search_path = shop, public;
CREATE DATABASE "sh op" OWNER app ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0 CONNECTION LIMIT 50;
ALTER DATABASE "sh op" SET work_mem = '8MB';
ALTER ROLE app IN DATABASE "sh op" SET statement_timeout = '7s';
COMMENT ON DATABASE "sh op" IS 'a ''comment''
-- PostgreSQL database dump complete';
\connect "sh op"
CREATE EXTENSION IF NOT EXISTS hstore;
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS citext;
CREATE SCHEMA shop AUTHORIZATION app;
CREATE SCHEMA "Sch""ema; --";
ALTER DEFAULT PRIVILEGES FOR ROLE app IN SCHEMA shop GRANT SELECT ON TABLES TO readers;
CREATE TYPE shop.mood AS ENUM ('sad', 'o''k', 'ha"ppy', '');
CREATE DOMAIN shop.positive AS numeric(20,5) CHECK (VALUE > 0) NOT NULL;
CREATE TYPE shop.pair AS (a integer, b text);
CREATE TYPE shop.floatrange AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE COLLATION shop.german (provider = libc, locale = 'C');
CREATE TABLE shop.kinds (
    id bigint GENERATED ALWAYS AS IDENTITY (START WITH 17 INCREMENT BY 3) PRIMARY KEY,
    n numeric, f4 real, f8 double precision, b bytea, t text COLLATE shop.german, c character(5), v varchar(9),
    d date, ts timestamp, tz timestamptz, i interval, tm timetz, bits bit varying(70), u uuid, ip inet, mac macaddr,
    j json, jb jsonb, x xml, a integer[][], ta text[], m shop.mood, ma shop.mood[], p shop.pair, r int4range,
    mr nummultirange, fr shop.floatrange, h hstore, ci citext, pt point, poly polygon, vec tsvector, q tsquery, mny money,
    o oid, dom shop.positive DEFAULT 1, g text GENERATED ALWAYS AS (coalesce(t, 'null') || '!') STORED
);
INSERT INTO shop.kinds (n, f4, f8, b, t, c, v, d, ts, tz, i, tm, bits, u, ip, mac, j, jb, x, a, ta, m, ma, p, r, mr, fr, h, ci,
    pt, poly, vec, q, mny, o)
VALUES
    (12345678901234567890.123456789, 0.1, 0.1, '\x00ff5c0a', E'tab\there\nnewline \\ backslash \\. \\N end', 'ab', 'x', '0044-03-15 BC',
     'infinity', '-infinity', '1 year -3 days 04:05:06.789', '13:00+02', B'10101', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
     '10.1.2.3/24', '08:00:2b:01:02:03', '{"b": 1, "a": 1, "a": 2}', '{"b": 1, "a": [null, "\u00e9"]}', '<a>&amp;</a>',
     '{{1,2},{3,NULL}}', '{"a,b","{}",NULL,"NULL","\\"}', 'o''k', '{sad,""}', '(1,"x,""y""")', '[1,10)', '{[1,2),[5,)}',
     '(1.5,2.5]', 'a=>NULL, "b c"=>"d"', 'CiText', '(1,2)', '((0,0),(1,1),(1,0))', 'fat:2A cat', 'fat & !rat', 12.34, 4294967295),
    ('NaN', 'NaN', '-Infinity', '', '', '', '', 'infinity', NULL, '2026-03-29 02:30:00+01', '178000000 years', NULL, B'', NULL, NULL,
     NULL, 'null', 'null', NULL, '{}', '{}', '', NULL, NULL, 'empty', '{}', NULL, '', '', NULL, NULL, '', NULL, -0.01, 0),
    (NULL, 1e-45, 5e-324, NULL, '-- Name: fake; Type: TABLE; Schema: shop; Owner: app', NULL, E'\u00e9\U0001F600', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
     NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO shop.kinds (t) SELECT repeat(md5(n::text), 1 + n % 40) FROM generate_series(1, 2000) n;
UPDATE shop.kinds SET v = 'moved' WHERE id % 5 = 0;
DELETE FROM shop.kinds WHERE id % 7 = 3 AND id > 100;
CREATE TABLE shop.parent (id serial PRIMARY KEY, name text);
CREATE TABLE shop.child (extra integer) INHERITS (shop.parent);
INSERT INTO shop.parent (name) VALUES ('p');
INSERT INTO shop.child (name, extra) VALUES ('c', 1);
CREATE TABLE shop.parts (day date NOT NULL, k integer, PRIMARY KEY (day, k)) PARTITION BY RANGE (day);
CREATE TABLE shop.parts_2025 PARTITION OF shop.parts FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE shop.parts_rest PARTITION OF shop.parts DEFAULT PARTITION BY HASH (k);
CREATE TABLE shop.parts_rest_0 PARTITION OF shop.parts_rest FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE shop.parts_rest_1 PARTITION OF shop.parts_rest FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO shop.parts SELECT '2025-06-01'::date + n, n FROM generate_series(1, 400) n;
CREATE TABLE shop.chicken (id integer PRIMARY KEY, egg integer);
CREATE TABLE shop.egg (id integer PRIMARY KEY, chicken integer REFERENCES shop.chicken DEFERRABLE INITIALLY DEFERRED);
INSERT INTO shop.chicken VALUES (1, 1);
INSERT INTO shop.egg VALUES (1, 1);
ALTER TABLE shop.chicken ADD FOREIGN KEY (egg) REFERENCES shop.egg NOT VALID;
ALTER TABLE shop.chicken ADD CONSTRAINT late CHECK (id < 100) NOT VALID;
CREATE TABLE shop.booked (room integer, during tstzrange, EXCLUDE USING gist (during WITH &&) WHERE (room > 0));
CREATE INDEX ON shop.kinds USING gin (jb jsonb_path_ops);
CREATE INDEX "odd index" ON shop.kinds (lower(t) text_pattern_ops DESC NULLS LAST) INCLUDE (v) WHERE n IS NOT NULL;
CREATE STATISTICS shop.stats (dependencies, mcv) ON k, day FROM shop.parts;
ALTER TABLE shop.kinds ALTER COLUMN t SET STATISTICS 500, ALTER COLUMN b SET STORAGE EXTERNAL;
ALTER TABLE shop.kinds REPLICA IDENTITY FULL, SET (fillfactor = 70);
CREATE VIEW shop.one AS SELECT id, t FROM shop.kinds WHERE id > 20;
CREATE VIEW shop.two WITH (security_barrier) AS SELECT * FROM shop.one WITH LOCAL CHECK OPTION;
CREATE MATERIALIZED VIEW shop.filled AS SELECT count(*) AS n, max(id) AS top FROM shop.two;
CREATE MATERIALIZED VIEW shop.empty AS SELECT 1 AS x WITH NO DATA;
CREATE UNIQUE INDEX ON shop.filled (n);
CREATE FUNCTION shop.add(a integer, b integer DEFAULT 2) RETURNS integer LANGUAGE sql IMMUTABLE BEGIN ATOMIC SELECT a + b; END;
CREATE FUNCTION shop.noisy() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = shop AS $body$
BEGIN
-- PostgreSQL database dump complete
    NEW.name := coalesce(NEW.name, $$it's $1 \$$);
    RETURN NEW;
END $body$;
CREATE PROCEDURE shop.proc(INOUT x integer) LANGUAGE plpgsql AS 'BEGIN x := x + 1; COMMIT; END';
CREATE AGGREGATE shop.total(integer) (sfunc = int4pl, stype = integer, initcond = '0');
CREATE OPERATOR shop.### (leftarg = integer, rightarg = integer, function = shop.add);
CREATE CAST (integer AS shop.mood) WITH INOUT AS ASSIGNMENT;
CREATE TRIGGER noisy BEFORE INSERT OR UPDATE OF name ON shop.parent FOR EACH ROW WHEN (NEW.id > 0) EXECUTE FUNCTION shop.noisy();
ALTER TABLE shop.parent DISABLE TRIGGER noisy;
CREATE FUNCTION shop.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER watched ON ddl_command_end WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION shop.on_ddl();
CREATE RULE silent AS ON DELETE TO shop.parent WHERE OLD.id = 1 DO INSTEAD NOTHING;
ALTER TABLE shop.kinds ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON shop.kinds FOR SELECT TO app, readers USING (id % 2 = 0);
GRANT SELECT (id, t), UPDATE (v) ON shop.kinds TO readers WITH GRANT OPTION;
REVOKE ALL ON FUNCTION shop.add FROM PUBLIC;
CREATE SEQUENCE "Sch""ema; --"."s e q" AS smallint MINVALUE -5 MAXVALUE 5 CYCLE CACHE 3 START -2;
SELECT nextval('"Sch""ema; --"."s e q"');
CREATE TABLE "Sch""ema; --"."ta;ble
-- Name: fake; Type: TABLE" ("co""l" integer, "select" text);
INSERT INTO "Sch""ema; --"."ta;ble
-- Name: fake; Type: TABLE" VALUES (1, 'x');
COMMENT ON COLUMN shop.kinds.t IS E'line\nline \\ ''quoted''';
CREATE UNLOGGED TABLE shop.unlogged (a integer);
INSERT INTO shop.unlogged VALUES (1);
CREATE PUBLICATION pub FOR TABLE shop.parent (id) WHERE (id > 1);
CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER far FOREIGN DATA WRAPPER nothing OPTIONS (host 'x');
CREATE FOREIGN TABLE shop.far (a integer) SERVER far;
SELECT lo_from_bytea(0, '\x00ff0a5c');
CREATE TEXT SEARCH CONFIGURATION shop.conf (COPY = simple);
ALTER SEQUENCE shop.parent_id_seq RESTART WITH 4711;
