//! Which definition lines of a CREATE TABLE can wait until the rows are in.
