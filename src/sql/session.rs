//! The USE and SETs in force at a place in a dump.
