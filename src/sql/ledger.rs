//! What a dump holds, as digests that restored data are held against.
