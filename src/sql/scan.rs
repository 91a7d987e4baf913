//! Bytes of a dump to statements of known kinds.
