-- Every type of text, with all that could be taken for syntax.
CREATE TABLE texts (id INT PRIMARY KEY AUTO_INCREMENT, a CHAR(255), b VARCHAR(4000), c TINYTEXT, d TEXT, e MEDIUMTEXT, f LONGTEXT) DEFAULT CHARACTER SET utf8mb4;
SET @t = CONCAT('''"`\\;;/*!50000 */ -- # \n\r\t', CHAR(0 USING utf8mb4), CHAR(26 USING utf8mb4), 'DELIMITER ;;\n),(''x'',NULL);\nINSERT INTO `t` VALUES (1);\n\\! false\n\\', '%_\\%\\_é中🦀👩‍👩‍👧');
INSERT INTO texts (a,b,c,d,e,f) VALUES ('','','','','',''),(NULL,NULL,NULL,NULL,NULL,NULL),(@t,@t,@t,@t,@t,@t),('NULL','NULL','''','\\''','\\\\','\\\''),('a ',' a ','a','','0x41','_binary ''x'''),('-- Dump completed','\n-- Dump completed on 2026-01-01  0:00:00\n','\nDELIMITER //\n','*/','/*','/*!');
INSERT INTO texts (f) VALUES (REPEAT(@t, 2000)), (REPEAT('''', 70001)), (REPEAT('\\', 70001));
INSERT INTO texts (a) VALUES (REPEAT('🦀',255)), (REPEAT('\n',255));
CREATE TABLE sets (id INT PRIMARY KEY, a ENUM('','a','b,c','it''s','q"t','back\\slash','é','🦀','par)en(') , b SET('x','y','it''s','(',')','é','z z') NOT NULL DEFAULT 'x,y', c ENUM('0','1','2') DEFAULT '1', d SET('1','2','3','4','5','6','7','8','9','10','11','12','13','14','15','16','17','18','19','20','21','22','23','24','25','26','27','28','29','30','31','32','33','34','35','36','37','38','39','40','41','42','43','44','45','46','47','48','49','50','51','52','53','54','55','56','57','58','59','60','61','62','63','64')) DEFAULT CHARACTER SET utf8mb4;
INSERT INTO sets VALUES (1,'','','0','1,64'),(2,'it''s','x,y,it''s,(,),é,z z','1','64'),(3,'back\\slash','x','2',''),(4,NULL,'y',NULL,NULL),(5,'🦀','é','1','2,3'),(6,'par)en(',')','0',18446744073709551615),(7,'b,c','(','0','1');
SET SESSION sql_mode = '';
INSERT IGNORE INTO sets VALUES (8,'no such value','no such','7','no such');
