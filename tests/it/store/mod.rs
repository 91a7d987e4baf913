//! Stores: one contract over every backend, and what each backend has of its own.

mod contract;
mod file;
mod outcomes;
mod s3;
