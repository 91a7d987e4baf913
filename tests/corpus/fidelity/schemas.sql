-- Schemas: without anything in it, and with properties of its own.
CREATE DATABASE schemas_empty CHARACTER SET ucs2; CREATE DATABASE schemas_collated CHARACTER SET utf8mb4 COLLATE utf8mb4_bin; CREATE DATABASE `schemas only routine`;
CREATE PROCEDURE `schemas only routine`.p() SELECT 1;
