//! The server that is backed up.
