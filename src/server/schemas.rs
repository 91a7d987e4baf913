//! The schemas of a server that are nobody's data: its own, and the one of drctl.

/// Those that servers keep for themselves.
pub const SYSTEM: &[&str] = &[
    "information_schema",
    "mysql",
    "ndbinfo",
    "performance_schema",
    "sys",
    // What ext4 leaves in the root of a volume, and old servers take for a schema.
    "#mysql50#lost+found",
];

/// The one that marks a server as half restored.
pub const MARKER: &str = "drctl_restore";

/// Whether a schema is the server's own.
pub fn is_system(schema: &str) -> bool {
    SYSTEM
        .iter()
        .any(|system| system.eq_ignore_ascii_case(schema))
}
