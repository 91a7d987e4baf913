//! One INSERT as its row tuples.
