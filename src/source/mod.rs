//! The server that is backed up: what it is, what it holds, and how it is dumped.
