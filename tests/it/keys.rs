//! Encrypted and signed backups, with the keys of `age-keygen` and `ssh-keygen`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::fidelity::{backup_in, follow_restore_txt};
use crate::support::backup::{listed, server_of, walk};
use crate::support::{Drctl, Flavour, Server};
use crate::{need, on_both};

/// Keys, in files of drctl's home.
pub struct Keys {
    dir: PathBuf,
    /// The recipient of `identity.txt`.
    pub recipient: String,
}

impl Keys {
    /// An identity, a signing key, and the signers of whom that is the only one.
    pub fn new(drctl: &Drctl) -> Keys {
        let dir = drctl.home().join("keys");
        fs::create_dir(&dir).unwrap();
        let mut keys = Keys {
            dir,
            recipient: String::new(),
        };
        keys.recipient = keys.age("identity.txt");
        let public = keys.ssh("signer");
        fs::write(keys.path("allowed_signers"), format!("ops {public}")).unwrap();
        keys
    }

    /// A file of that name.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Its path, as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Makes an identity; its recipient.
    pub fn age(&self, name: &str) -> String {
        run(Command::new("age-keygen").arg("-o").arg(self.path(name)));
        let shown = run(Command::new("age-keygen").arg("-y").arg(self.path(name)));
        shown.trim().to_owned()
    }

    /// Makes a key pair; its public key.
    pub fn ssh(&self, name: &str) -> String {
        let file = self.path(name);
        run(Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "a key", "-f"])
            .arg(&file));
        fs::read_to_string(file.with_extension("pub")).unwrap()
    }

    /// What a backup has: it can write, and read nothing.
    pub fn for_backups(&self, drctl: Drctl) -> Drctl {
        drctl
            .env("DRCTL_ENCRYPTION_RECIPIENTS", &self.recipient)
            .env("DRCTL_SIGNING_KEY_FILE", &self.text("signer"))
    }

    /// What a copier has: it can judge, and neither read nor write.
    pub fn for_copies(&self, drctl: Drctl) -> Drctl {
        drctl.env("DRCTL_ALLOWED_SIGNERS_FILE", &self.text("allowed_signers"))
    }

    /// What a restore has.
    pub fn for_restores(&self, drctl: Drctl) -> Drctl {
        drctl
            .env("DRCTL_IDENTITY_FILE", &self.text("identity.txt"))
            .env("DRCTL_ALLOWED_SIGNERS_FILE", &self.text("allowed_signers"))
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A server with a schema of every kind of object, its name, and drctl that backs it up.
pub fn begin(flavour: Flavour) -> (String, Drctl, Keys) {
    let server = server_of(flavour);
    let schema = server.fresh_schema("vault");
    server.exec(&format!(
        "USE {schema}; CREATE TABLE secrets (id INT PRIMARY KEY, word VARCHAR(40));
         INSERT INTO secrets VALUES (1, 'xyzzy'), (2, 'plugh');
         CREATE VIEW words AS SELECT word FROM secrets;
         CREATE TRIGGER shout BEFORE INSERT ON secrets FOR EACH ROW SET NEW.word = UPPER(NEW.word)"
    ));
    let drctl = Drctl::new(&schema.replace('_', "-"))
        .source(server)
        .env("DRCTL_BACKUP_SCHEMAS", &schema)
        .env("DRCTL_BACKUP_ACCOUNTS", "require");
    let keys = Keys::new(&drctl);
    (schema, drctl, keys)
}

/// The only backup.
fn only(drctl: &Drctl) -> serde_json::Value {
    let mut all = listed(drctl);
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

/// Whether a file contains one of these words.
pub fn contains(file: &Path, words: &[&str]) -> bool {
    let bytes = fs::read(file).unwrap();
    let within = |word: &&str| bytes.windows(word.len()).any(|at| at == word.as_bytes());
    words.iter().any(within)
}

on_both!(
    fn an_encrypted_and_signed_backup_is_verified_and_comes_back(flavour) {
        let (schema, drctl, keys) = begin(flavour);
        let drctl = keys.for_backups(drctl);
        drctl.run(["backup"]).ok();
        let seen = only(&drctl);
        assert_eq!((&seen["encrypted"], &seen["authenticated"]), (&true.into(), &false.into()));

        // Nothing in the store says what is in it.
        let mut files = Vec::new();
        walk(&drctl.store_dir(), &mut files);
        for file in &files {
            let words = ["xyzzy", "secrets", "shout", "CREATE TABLE"];
            assert!(!contains(Path::new(file), &words), "{file}");
        }
        let data: Vec<&String> = files.iter().filter(|file| file.ends_with(".age")).collect();
        assert_eq!(data.len(), 3, "{files:?}");

        // Who can write it cannot read it.
        for args in [&["cat", "--latest"][..], &["verify", "--latest"], &["show", "--latest", "--objects"]] {
            drctl.run(args).refused(2, &["no identity is configured", "DRCTL_IDENTITY_FILE"]);
        }
        let other = keys.age("other.txt");
        let theirs = drctl.clone().env("DRCTL_IDENTITY_FILE", &keys.text("other.txt"));
        theirs.run(["verify", "--latest"]).refused(2, &["not encrypted to any identity"]);
        assert_ne!(other, keys.recipient);

        // Who has the keys can.
        let drctl = keys.for_restores(drctl);
        assert_eq!(only(&drctl)["signed"], "by ops");
        let page = drctl.run(["verify", "--latest"]).ok().stdout;
        assert!(page.contains("signed  by ops"), "{page}");
        drctl.run(["verify", "--latest", "--level", "archive"]).ok();
        let reports = drctl.run(["report", "--output", "json"]).ok().stdout;
        assert!(reports.contains("\"signed\": \"by ops\""), "{reports}");
        let page = drctl.run(["report"]).ok().stdout;
        assert!(page.contains("<dt>Signed</dt><dd>by ops</dd>"), "{page}");
        let shown = drctl.run(["show", "--latest"]).ok();
        assert!(shown.stdout.contains(&keys.recipient) && shown.stdout.contains("by ops"), "{shown:#?}");
        let target = Server::start(flavour);
        drctl.clone().into(&target).run(["restore", "--latest", "--accounts"]).ok();
        assert_eq!(target.value(&format!("SELECT word FROM {schema}.words ORDER BY 1 LIMIT 1")), "plugh");
        // The next one is compared with it without an identity.
        let drctl = drctl.without("DRCTL_IDENTITY_FILE");
        drctl.run(["backup"]).ok();
        server_of(flavour).exec(&format!(
            "DROP VIEW {schema}.words; DROP TABLE {schema}.secrets"
        ));
        drctl.run(["backup"]).fails(9, "suspect");
        let newest = listed(&drctl).remove(0);
        let reasons = newest["suspect_reasons"].to_string();
        assert!(reasons.contains("0 tables, 1 before"), "{reasons}");
    }
);

on_both!(
    fn restore_txt_works_with_age_ssh_keygen_and_the_client_alone(flavour) {
        let (schema, drctl, keys) = begin(flavour);
        let drctl = keys.for_backups(drctl);
        drctl.run(["backup"]).ok();
        let backup = backup_in(&drctl.store_dir());
        for name in ["identity.txt", "allowed_signers"] {
            fs::copy(keys.path(name), backup.join(name)).unwrap();
        }
        let text = fs::read_to_string(backup.join("RESTORE.txt")).unwrap();
        assert!(text.contains("age -d -i identity.txt") && text.contains("ssh-keygen -Y verify"), "{text}");
        let plain = Server::start(flavour);
        follow_restore_txt(&backup, &plain);
        assert_eq!(plain.value(&format!("SELECT COUNT(*) FROM {schema}.words")), "2");
    }
);

#[test]
fn instructions_that_name_objects_are_encrypted_too() {
    need!(MariaDb);
    let (schema, drctl, keys) = begin(Flavour::MariaDb);
    // Its value was computed in another session.
    server_of(Flavour::MariaDb).exec(&format!(
        "CREATE TABLE {schema}.hidden_name (at TIMESTAMP, day DATE AS (DATE(at)) STORED);
         INSERT INTO {schema}.hidden_name (at) VALUES ('2026-01-01 00:00:00')"
    ));
    let drctl = keys.for_backups(drctl);
    drctl.run(["backup"]).ok();
    let backup = backup_in(&drctl.store_dir());
    if backup.join("RESTORE.txt.age").exists() {
        let text = fs::read_to_string(backup.join("RESTORE.txt")).unwrap();
        assert!(
            text.contains("age -d -i identity.txt RESTORE.txt.age"),
            "{text}"
        );
        fs::copy(keys.path("identity.txt"), backup.join("identity.txt")).unwrap();
        let full = run(Command::new("age")
            .args(["-d", "-i", "identity.txt", "RESTORE.txt.age"])
            .current_dir(&backup));
        assert!(full.contains("hidden_name"), "{full}");
    }
    assert!(!contains(&backup.join("RESTORE.txt"), &["hidden_name"]));
    assert!(!contains(&backup.join("manifest.json"), &["hidden_name"]));
    keys.for_restores(drctl).run(["verify", "--latest"]).ok();
}

/// Replaces a text in the manifest of a backup and seals it again, as somebody who can write to the store would.
pub fn forge(backup: &Path, from: &str, to: &str) {
    let path = backup.join("manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    let mut text = text.replacen(from, to, 1);
    text.truncate(text.rfind(",\n  \"sha256\"").unwrap());
    let sha256 = <sha2::Sha256 as sha2::Digest>::digest(text.as_bytes());
    text += &format!(",\n  \"sha256\": \"{}\"\n}}\n", hex::encode(sha256));
    fs::write(path, text).unwrap();
}

#[test]
fn a_consistent_forgery_is_refused_and_never_the_latest() {
    need!(MariaDb);
    let (schema, drctl, keys) = begin(Flavour::MariaDb);
    let drctl = keys.for_backups(drctl);
    drctl.run(["backup"]).ok();
    let good = backup_in(&drctl.store_dir());
    let first = only(&drctl)["id"].as_str().unwrap().to_owned();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    drctl.run(["backup"]).ok();
    let second = listed(&drctl)[0]["id"].as_str().unwrap().to_owned();
    let drctl = keys.for_restores(drctl);
    assert_eq!(
        drctl
            .run(["show", "--latest", "--output", "json"])
            .ok()
            .json()["id"],
        second
    );

    let dir = good.parent().unwrap().join(&second);
    let name = format!("\"target\": \"{}\"", schema.replace('_', "-"));
    let labels = format!("{name},\n  \"labels\": {{\"forged\": \"yes\"}}");
    forge(&dir, &name, &labels);
    // Without keys nobody can tell.
    let unkeyed = drctl.clone().env("DRCTL_TRUST", "off");
    assert_eq!(
        unkeyed
            .run(["show", "--latest", "--output", "json"])
            .ok()
            .json()["id"],
        second
    );
    // Who requires a signature is not deceived.
    let words = [
        "does not match its signature",
        "find out who wrote this one",
    ];
    drctl.run(["verify", &second]).refused(6, &words);
    drctl
        .run([
            "restore",
            &second,
            "--into",
            &server_of(Flavour::MariaDb).url(),
        ])
        .refused(6, &words);
    drctl.run(["cat", &second]).refused(6, &words);
    drctl.run(["accept", &second]).refused(6, &words);
    assert_eq!(
        drctl
            .run(["show", "--latest", "--output", "json"])
            .ok()
            .json()["id"],
        first
    );
    let rows = listed(&drctl);
    assert_eq!(rows[0]["suspect"], true);
    assert!(
        rows[0]["suspect_reasons"]
            .to_string()
            .contains("does not match its signature"),
        "{rows:#?}"
    );
    // Who is warned goes on.
    let warned = drctl.clone().env("DRCTL_TRUST", "warn");
    let run = warned.run(["verify", &second, "--level", "archive"]).ok();
    assert!(
        run.stderr.contains("does not match its signature"),
        "{run:#?}"
    );

    // The signature of another backup does not fit, and neither does none.
    fs::copy(
        good.join("manifest.json.sig"),
        dir.join("manifest.json.sig"),
    )
    .unwrap();
    drctl.run(["verify", &second]).refused(6, &words);
    fs::remove_file(dir.join("manifest.json.sig")).unwrap();
    drctl
        .run(["verify", &second])
        .refused(6, &["is not signed"]);
    // A signature that was valid until its key was removed.
    let public = keys.ssh("next");
    fs::write(keys.path("allowed_signers"), format!("ops {public}")).unwrap();
    drctl
        .run(["verify", "--latest"])
        .refused(6, &["can be trusted", "is not signed"]);
}

#[test]
fn a_backup_whose_objects_are_those_of_another_is_refused() {
    need!(MariaDb);
    let (_, drctl, keys) = begin(Flavour::MariaDb);
    let drctl = keys.for_backups(drctl);
    drctl.run(["backup"]).ok();
    let first = backup_in(&drctl.store_dir());
    std::thread::sleep(std::time::Duration::from_millis(1100));
    drctl.run(["backup"]).ok();
    let id = listed(&drctl)[0]["id"].as_str().unwrap().to_owned();
    let second = first.parent().unwrap().join(&id);
    let drctl = keys.for_restores(drctl);
    for (name, words) in [
        ("dump.sql.zst.age", "dump.sql.zst.age"),
        ("index.jsonl.zst.age", "the index "),
        ("accounts.sql.zst.age", "accounts.sql "),
        ("RESTORE.txt", "do not agree with the manifest"),
        ("SHA256SUMS", "do not agree with the manifest"),
    ] {
        let kept = fs::read(second.join(name)).unwrap();
        fs::copy(first.join(name), second.join(name)).unwrap();
        let run = drctl.run(["verify", &id, "--level", "archive"]);
        run.fails(6, words);
        fs::write(second.join(name), kept).unwrap();
    }
    drctl.run(["verify", &id, "--level", "archive"]).ok();
    // A whole backup under the name of another.
    for entry in fs::read_dir(&first).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, second.join(path.file_name().unwrap())).unwrap();
        }
    }
    drctl
        .run(["verify", &id, "--level", "archive"])
        .fails(6, "is the manifest of");
}

#[test]
fn keys_of_every_kind_are_taken_and_those_that_are_none_are_refused_before_the_dump() {
    need!(MariaDb);
    let (_, drctl, keys) = begin(Flavour::MariaDb);
    // Several recipients, of age and of OpenSSH, in a list and in a file.
    let ssh = keys.ssh("reader");
    fs::write(keys.path("recipients"), format!("# the operators\n\n{ssh}")).unwrap();
    let both = keys.for_backups(drctl.clone());
    let both = both.env("DRCTL_ENCRYPTION_RECIPIENTS_FILE", &keys.text("recipients"));
    both.run(["backup"]).ok();
    for identity in ["identity.txt", "reader"] {
        let reader = drctl
            .clone()
            .env("DRCTL_IDENTITY_FILE", &keys.text(identity));
        reader
            .run(["verify", "--latest", "--level", "archive"])
            .ok();
    }
    let wrong = |name: &str, value: &str, words: &[&str]| {
        let run = keys
            .for_backups(drctl.clone())
            .env(name, value)
            .run(["backup"]);
        let run = run.refused(2, words);
        let secret = fs::read_to_string(keys.path("identity.txt")).unwrap();
        let secret = secret.lines().last().unwrap();
        assert!(!format!("{run:?}").contains(secret));
    };
    let secret = fs::read_to_string(keys.path("identity.txt")).unwrap();
    let secret = secret.lines().last().unwrap().to_owned();
    for (name, value, words) in [
        ("DRCTL_ENCRYPTION_RECIPIENTS", "age1xyz", &["malformed"][..]),
        (
            "DRCTL_ENCRYPTION_RECIPIENTS",
            &secret,
            &["is a private key"],
        ),
        (
            "DRCTL_ENCRYPTION_RECIPIENTS_FILE",
            &keys.text("identity.txt"),
            &["line 3", "private key"],
        ),
        (
            "DRCTL_ENCRYPTION_RECIPIENTS_FILE",
            "/nowhere",
            &["cannot read"],
        ),
        ("DRCTL_SIGNING_KEY_FILE", "/nowhere", &["cannot read"]),
        (
            "DRCTL_SIGNING_KEY_FILE",
            &keys.text("identity.txt"),
            &["no private key in OpenSSH's format"],
        ),
        (
            "DRCTL_SIGNING_KEY_FILE",
            &keys.text("signer.pub"),
            &["public key", "SSH_AUTH_SOCK"],
        ),
        (
            "DRCTL_TRUST",
            "require",
            &["no allowed signers are configured"],
        ),
        ("DRCTL_TRUST", "maybe", &["trust is invalid"]),
    ] {
        wrong(name, value, words);
    }
    // A key with a passphrase.
    let file = keys.path("locked");
    run(Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "hunter2", "-f"])
        .arg(&file));
    wrong(
        "DRCTL_SIGNING_KEY_FILE",
        &keys.text("locked"),
        &["has a passphrase"],
    );
    let locked = drctl
        .clone()
        .env("DRCTL_IDENTITY_FILE", &keys.text("locked"));
    locked
        .run(["verify", "--latest"])
        .refused(2, &["has a passphrase"]);
    assert_eq!(listed(&drctl).len(), 1, "nothing else was committed");
}

on_both!(
    fn a_backup_given_to_other_recipients_is_theirs_alone_and_proven(flavour) {
        let (schema, drctl, keys) = begin(flavour);
        let drctl = keys.for_backups(drctl);
        drctl.run(["backup"]).ok();
        let old = only(&drctl)["id"].as_str().unwrap().to_owned();
        let next = keys.age("next.txt");
        let public = keys.ssh("next");
        fs::write(keys.path("allowed_signers"), format!("next {public}")).unwrap();
        let rekeys = drctl
            .clone()
            .env("DRCTL_ENCRYPTION_RECIPIENTS", &next)
            .env("DRCTL_SIGNING_KEY_FILE", &keys.text("next"));
        rekeys.run(["rekey", &old]).refused(2, &["no identity is configured"]);
        let rekeys = rekeys.env("DRCTL_IDENTITY_FILE", &keys.text("identity.txt"));
        rekeys.run(["rekey", &old]).ok();
        let rows = listed(&drctl);
        assert_eq!(rows.len(), 2);
        let new = rows.iter().map(|row| row["id"].as_str().unwrap());
        let new = new.into_iter().find(|id| **id != old).unwrap().to_owned();
        let by = |identity: &str| drctl.clone().env("DRCTL_IDENTITY_FILE", &keys.text(identity));
        let trusting = by("next.txt").env("DRCTL_ALLOWED_SIGNERS_FILE", &keys.text("allowed_signers"));
        trusting.run(["verify", &new]).ok();
        trusting.run(["verify", &new, "--level", "archive"]).ok();
        trusting.run(["verify", &old]).refused(6, &["not an allowed signer"]);
        by("identity.txt").run(["verify", &new]).refused(2, &["not encrypted to any identity"]);
        by("identity.txt").run(["verify", &old]).ok();
        let shown = trusting.run(["show", &new, "--output", "json"]).ok().json();
        assert_eq!(shown["rekeyed_from"], old);
        assert_eq!(shown["recipients"], serde_json::json!([next]));
        // The standard tools read it, too.
        let backup = drctl.store_dir().join(schema.replace('_', "-")).join(&new);
        fs::copy(keys.path("next.txt"), backup.join("identity.txt")).unwrap();
        fs::copy(keys.path("allowed_signers"), backup.join("allowed_signers")).unwrap();
        let plain = Server::start(flavour);
        follow_restore_txt(&backup, &plain);
        assert_eq!(plain.value(&format!("SELECT COUNT(*) FROM {schema}.words")), "2");
        // Damage is not given a new header.
        let data = drctl.store_dir().join(schema.replace('_', "-")).join(&old).join("dump.sql.zst.age");
        let mut bytes = fs::read(&data).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&data, bytes).unwrap();
        rekeys.run(["rekey", &old]).refused(6, &["does not match its SHA-256"]);
        assert_eq!(listed(&drctl).len(), 2);
    }
);

/// An agent; stopped when dropped. It is setgid, so that the kernel does not stop it with the test.
struct Agent(Child);

impl Agent {
    fn start(socket: &str) -> Agent {
        let mut agent = Command::new("ssh-agent");
        agent.args(["-D", "-a", socket]);
        agent.stdout(Stdio::null()).stderr(Stdio::null());
        Agent(agent.spawn().unwrap())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn an_agent_signs() {
    need!(MariaDb);
    let (_, drctl, keys) = begin(Flavour::MariaDb);
    let socket = keys.text("agent");
    let agent = Agent::start(&socket);
    crate::support::wait::until("the agent listens", || Path::new(&socket).exists());
    let add = |key: &str| {
        run(Command::new("ssh-add")
            .args(["-q", &keys.text(key)])
            .env("SSH_AUTH_SOCK", &socket));
    };
    let drctl = keys.for_backups(drctl).env("SSH_AUTH_SOCK", &socket);
    let drctl = drctl.env("DRCTL_SIGNING_KEY_FILE", &keys.text("signer.pub"));
    drctl
        .run(["backup"])
        .refused(2, &["does not sign", "ssh-add"]);
    add("signer");
    fs::remove_file(keys.path("signer")).unwrap();
    drctl.run(["backup"]).ok();
    drop(agent);
    drctl.run(["backup"]).refused(2, &["does not sign"]);
    assert_eq!(only(&keys.for_restores(drctl))["signed"], "by ops");
}
