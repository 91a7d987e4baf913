//! Sections `encryption` and `signing`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// How backups and the archived log are encrypted.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct EncryptionSection {
    /// Public keys of those who can decrypt new backups: age (`age1…`) or OpenSSH (`ssh-ed25519 …`, `ssh-rsa …`). With any,
    /// everything that holds data is encrypted.
    pub(super) recipients: Vec<String>,
    /// File with more of them, one per line.
    pub(super) recipients_file: Option<PathBuf>,
    /// Maximum number of days without a drill that used the identity of each recipient of the newest backup, also of one
    /// that is kept offline: `doctor` and `serve` report it if it is exceeded. Default: not checked.
    #[schemars(range(min = 1, max = 3_650))]
    pub(super) drill_days: Option<u32>,
}

/// How backups and the archived log are signed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct SigningSection {
    /// File with the Ed25519 private key that signs new backups, in OpenSSH's format and without a passphrase; or with
    /// the public key of one that the agent at `SSH_AUTH_SOCK` has.
    pub(super) key_file: Option<PathBuf>,
}
