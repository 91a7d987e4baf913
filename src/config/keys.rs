//! Every key of the configuration: its path, how the environment spells a value, what it means.
//!
//! One table, from which unknown keys are told apart, variables are read, and docs/config.md is
//! made. Key `a.b_c` is the variable `DRCTL_A_B_C`. Kubernetes injects `DRCTL_PORT=tcp://…` and
//! `DRCTL_SERVICE_…` for a Service called drctl: no key is called `port` or begins with `service`.

use crate::config::key::{ConfigKey, Form, key};
use crate::config::{notify, pod, promises, restore, retention, serve, verify};

/// Those of this file, in the order of the documentation.
const KEYS: &[ConfigKey] = &[
    key(
        "target",
        Form::Text,
        "Short name of the protected server; the prefix of everything it owns in the store.",
    ),
    key(
        "store.url",
        Form::Text,
        "Where archives live: `s3://bucket/prefix` or `file:///dir`. `store: URL` and `DRCTL_STORE` are short for it.",
    ),
    key(
        "store.part_bytes",
        Form::Scalar,
        "Bytes of each part of an upload to S3, at least 5242880; memory for uploads is (`store.parts_in_flight` + 2) times that. Default 8388608.",
    ),
    key(
        "store.parts_in_flight",
        Form::Scalar,
        "Parts uploaded at once. Default 3.",
    ),
    key(
        "store.s3.endpoint_url",
        Form::Text,
        "URL of an S3 server that is not AWS; else `AWS_ENDPOINT_URL`.",
    ),
    key(
        "store.s3.region",
        Form::Text,
        "The bucket's region; else `AWS_REGION`.",
    ),
    key(
        "store.s3.ca_file",
        Form::Text,
        "File of certificate authorities in PEM that the server may be trusted by, beside the system's; else `AWS_CA_BUNDLE` or `ca_bundle` of the AWS profile. `SSL_CERT_FILE` and `SSL_CERT_DIR` replace the system's.",
    ),
    key(
        "store.s3.path_style",
        Form::Text,
        "`auto` (default), `on` or `off`: whether the bucket stands in the path of requests.",
    ),
    key(
        "store.s3.checksum",
        Form::Text,
        "`crc64nvme` (default) or `off`: what the server checks each object against.",
    ),
    key(
        "store.s3.kms_key_id",
        Form::Text,
        "KMS key for server-side encryption.",
    ),
    key(
        "store.s3.storage_class",
        Form::Text,
        "Storage class of archive segments.",
    ),
    key("store.s3.tags", Form::Pairs, "Tags of every object."),
    key(
        "store.s3.object_lock.mode",
        Form::Text,
        "`governance` or `compliance`: retention put on every object.",
    ),
    key(
        "store.s3.object_lock.days",
        Form::Scalar,
        "Days of that retention.",
    ),
    key(
        "store.s3.connect_timeout_seconds",
        Form::Scalar,
        "Default 10.",
    ),
    key(
        "store.s3.attempt_timeout_seconds",
        Form::Scalar,
        "Default 60.",
    ),
    key(
        "store.s3.operation_timeout_seconds",
        Form::Scalar,
        "Default 300.",
    ),
    key(
        "store.s3.stall_seconds",
        Form::Scalar,
        "Seconds without a byte after which a transfer counts as stalled. Default 30.",
    ),
    key(
        "store.s3.max_attempts",
        Form::Scalar,
        "How often a request is sent before it counts as failed. Default 5.",
    ),
    key(
        "source.url",
        Form::Text,
        "The server to dump: `mysql://user@host:3306` or `mysql://user@localhost/?socket=/path`. No password in it. TLS: `?tls=disabled`, `preferred` (default), `required` or `verify`; `ca=/file.pem` to verify by, `cert=/file.pem&key=/file.pem` to log in with a client's certificate.",
    ),
    key(
        "source.password",
        Form::Text,
        "Its password. Prefer `source.password_file`.",
    ),
    key(
        "source.password_file",
        Form::Text,
        "A file whose content, less one final newline, is the password.",
    ),
    key(
        "source.client_dir",
        Form::Text,
        "Directory of mysqldump and mysql; default: searched in PATH.",
    ),
    key(
        "into.url",
        Form::Text,
        "The server to restore into, as in `source.url`. Default: the source's address with `into.user`.",
    ),
    key(
        "into.user",
        Form::Text,
        "Account to restore with, at the source's address.",
    ),
    key(
        "into.password",
        Form::Text,
        "Its password. Prefer `into.password_file`.",
    ),
    key(
        "into.password_file",
        Form::Text,
        "A file whose content, less one final newline, is the password.",
    ),
    key(
        "into.client_dir",
        Form::Text,
        "Directory of the clients for that server; default: `source.client_dir`.",
    ),
    key(
        "backup.schemas",
        Form::List,
        "Only these schemas. Default: all but the server's own.",
    ),
    key(
        "backup.exclude_schemas",
        Form::List,
        "All schemas but these.",
    ),
    key(
        "backup.codec",
        Form::Text,
        "`zstd` (default), `gzip` or `none`.",
    ),
    key(
        "backup.level",
        Form::Scalar,
        "The codec's level. Default: 1 for zstd, 3 for gzip.",
    ),
    key(
        "backup.coordinates",
        Form::Text,
        "`auto` (default), `require` or `off`: the snapshot's place in the binary log.",
    ),
    key(
        "backup.accounts",
        Form::Text,
        "`auto` (default), `require` or `off`: CREATE USER and GRANT of all accounts.",
    ),
    key(
        "backup.ddl",
        Form::Text,
        "`detect` (default) notices DDL under the dump and tries again, `block` holds DDL back.",
    ),
    key(
        "backup.churn",
        Form::List,
        "Tables that come and go, as `schema.pattern` with `%`; their DDL does not fail a backup.",
    ),
    key(
        "backup.non_transactional",
        Form::Text,
        "`refuse` (default) or `allow`: tables whose rows a snapshot cannot hold still.",
    ),
    key(
        "backup.read_back",
        Form::Text,
        "`sample` (default) or `full`: how much is read again before the commit.",
    ),
    key(
        "backup.shrink_limit",
        Form::Scalar,
        "A backup that lost more than this share of rows or bytes is suspect. Default 0.5.",
    ),
    key(
        "backup.attempts",
        Form::Scalar,
        "How often a dump is begun when the server's objects move under it. Default 3.",
    ),
    key(
        "backup.max_lag_seconds",
        Form::Scalar,
        "A replica that lags more is refused. Default 300.",
    ),
    key(
        "backup.connect_seconds",
        Form::Scalar,
        "How long the first connection to the server is tried for: it may be restarting. Default 60; 0 for one attempt.",
    ),
    key(
        "backup.deadline_seconds",
        Form::Scalar,
        "The run is ended after this. Default: never, as is 0.",
    ),
    key(
        "backup.labels",
        Form::Pairs,
        "Labels of every backup; `--label` adds to them.",
    ),
];

/// All of them, in the order of the documentation.
pub fn all() -> impl Iterator<Item = &'static ConfigKey> {
    let sections = [
        KEYS,
        restore::KEYS,
        verify::KEYS,
        pod::KEYS,
        promises::KEYS,
        retention::KEYS,
        notify::KEYS,
        serve::KEYS,
    ];
    sections.into_iter().flatten()
}

/// The variable of a key.
pub fn variable(path: &str) -> String {
    format!("DRCTL_{}", path.replace('.', "_").to_ascii_uppercase())
}

/// The known key that a person most likely meant.
pub fn nearest(path: &str) -> &'static str {
    let distance = |key: &&ConfigKey| strsim::damerau_levenshtein(path, key.path);
    all().min_by_key(distance).map_or("target", |key| key.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/config.md.
    fn page() -> String {
        let mut page = String::from(
            "# Configuration\n\n\
             Made from `src/config/keys.rs` by `make docs`; a test holds it to that.\n\n\
             One YAML file is one target: `--config FILE`, else `DRCTL_CONFIG`, `./drctl.yaml`,\n\
             `/etc/drctl/drctl.yaml`. A flag beats a variable, a variable beats the file. An unknown key of\n\
             the file is an error. An example: [drctl.yaml](drctl.yaml).\n\n\
             A list as a variable is separated by commas (`a,b`), pairs are `name=value,name=value`.\n\n\
             | key | variable | meaning |\n|---|---|---|\n",
        );
        for key in all() {
            let (path, variable) = (key.path, variable(key.path));
            page.push_str(&format!("| `{path}` | `{variable}` | {} |\n", key.doc));
        }
        page
    }

    #[test]
    fn the_documentation_is_made_of_these_keys() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.md");
        if std::env::var_os("DRCTL_WRITE_DOCS").is_some() {
            std::fs::write(file, page()).unwrap();
        }
        let written = std::fs::read_to_string(file).unwrap_or_default();
        assert!(written == page(), "run make docs");
    }

    #[test]
    fn a_typo_is_led_to_the_key_that_was_meant() {
        assert_eq!(nearest("source.passwordfile"), "source.password_file");
        assert_eq!(nearest("backup.schema"), "backup.schemas");
    }
}
