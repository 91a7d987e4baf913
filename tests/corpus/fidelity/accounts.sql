-- Accounts, roles and their grants; objects that belong to them.
CREATE TABLE t (id INT PRIMARY KEY, a INT); INSERT INTO t VALUES (1,1);
CREATE USER 'app;'@'%' IDENTIFIED BY 'se''cret'; CREATE USER definer@localhost IDENTIFIED BY 'x'; CREATE ROLE reader; GRANT SELECT, UPDATE (a) ON accounts.t TO reader; GRANT reader TO 'app;'@'%'; GRANT ALL ON `accounts`.* TO definer@localhost WITH GRANT OPTION; GRANT SELECT ON *.* TO definer@localhost;
CREATE DEFINER=definer@localhost VIEW v AS SELECT * FROM t; CREATE DEFINER='app;'@'%' PROCEDURE p() SELECT 1; CREATE DEFINER=definer@localhost TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1; CREATE DEFINER=definer@localhost EVENT ev ON SCHEDULE EVERY 1 YEAR STARTS '2030-01-01 00:00:00' DO SELECT 1;
GRANT EXECUTE ON PROCEDURE accounts.p TO reader;
