//! Cache of initialised data directories: a server started from a copy accepts logins in about a second.
//!
//! The key of an entry covers everything that its contents depend on: the program (path, size, time,
//! `--version` output), the options, MariaDB's definitions of the system tables. An entry contains the data
//! of an empty server, with `root@localhost` without a password, but no key, certificate or server UUID.
//! Entries are written under a temporary name and renamed when complete; each file is checked against its
//! digest when it is copied. An unusable entry is removed, and the data are initialised as without a cache:
//! the cache makes drills faster, but never makes one fail.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use xxhash_rust::xxh3::Xxh3;

use crate::util::error::Result;
use crate::verify::scratch::data_dir;
use crate::verify::scratch::orphans::PrivateDir;
use crate::verify::scratch::programs::Program;

/// Changed whenever another version of drctl would initialise other data.
const FORMAT: &str = "1";

/// Name prefix of entries.
const ENTRY: &str = "data-";

/// Name prefix of incomplete entries.
const INCOMPLETE: &str = "new-";

/// The list of an entry's files, written last. Its modification time is that of the entry's last use.
const FILES: &str = "files.json";

/// Entries unused for this long are removed.
const UNUSED: Duration = Duration::from_secs(30 * 86_400);

/// An incomplete entry of this age belongs to a killed process.
const STALE: Duration = Duration::from_secs(86_400);

/// Whether a server recreates a missing file and must not share it with another server: its UUID, keys,
/// certificates.
fn is_of_one_server(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "auto.cnf")
        || path.extension().is_some_and(|end| end == "pem")
}

/// Contents of an entry.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Files {
    /// Directories, parents first.
    dirs: Vec<PathBuf>,
    /// Size in bytes and XXH3 of each file.
    files: BTreeMap<PathBuf, (u64, String)>,
}

/// Provides the data directory: a copy of the cached entry, else initialised by the program and then added
/// to the cache. `None`: no cache.
pub async fn provide(
    cache: Option<&Path>,
    program: &Program,
    dir: &PrivateDir,
    options: &[String],
) -> Result<()> {
    let definitions = data_dir::definitions(program)?;
    let data = dir.path().join("data");
    let entry = cache.and_then(|cache| {
        let key = key(program, options, definitions.as_deref());
        match key.and_then(|key| Ok(private(cache)?.join(key))) {
            Ok(entry) => Some(entry),
            Err(error) => {
                tracing::debug!(%error, cache = %cache.display(), "initialised data directories are not cached");
                None
            }
        }
    });
    if let Some(entry) = &entry
        && copy_entry(entry, &data).await
    {
        return Ok(());
    }
    data_dir::initialise(program, dir, options, definitions).await?;
    if let Some(entry) = entry {
        let add = move || add(&data, &entry);
        match tokio::task::spawn_blocking(add).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(%error, "the initialised data directory is not cached")
            }
            Err(error) => tracing::debug!(%error, "the initialised data directory is not cached"),
        }
    }
    Ok(())
}

/// Copies an entry; returns whether that succeeded. Removes an unusable entry, and an incomplete copy.
async fn copy_entry(entry: &Path, data: &Path) -> bool {
    if !entry.exists() {
        return false;
    }
    let (from, to) = (entry.to_owned(), data.to_owned());
    let copied = tokio::task::spawn_blocking(move || copy_checked(&from, &to)).await;
    let why = match copied {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    tracing::warn!(why, entry = %entry.display(), "removed an unusable entry of the cache of data directories");
    let _ = fs::remove_dir_all(entry);
    let _ = fs::remove_dir_all(data);
    false
}

/// Name of the entry for this program and these options.
fn key(program: &Program, options: &[String], definitions: Option<&str>) -> io::Result<String> {
    let path = program.path.canonicalize()?;
    let file = path.metadata()?;
    let mut digest = Sha256::new();
    let mut add = |part: &[u8]| {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    };
    add(FORMAT.as_bytes());
    add(path.as_os_str().as_encoded_bytes());
    add(program.banner.as_bytes());
    add(format!("{} {} {}", file.size(), file.mtime(), file.mtime_nsec()).as_bytes());
    for option in program.own_options().iter().chain(options) {
        add(option.as_bytes());
    }
    add(definitions.unwrap_or_default().as_bytes());
    let digest = hex::encode(&digest.finalize()[..16]);
    Ok(format!("{ENTRY}{digest}"))
}

/// The cache directory, checked to be owned by this user and not writable by others.
fn private(cache: &Path) -> io::Result<PathBuf> {
    let dir = cache.join("scratch");
    DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
    require_private(&dir)?;
    Ok(dir)
}

fn require_private(dir: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(dir)?;
    let ours = meta.uid() == rustix::process::geteuid().as_raw();
    if meta.is_dir() && ours && meta.mode() & 0o022 == 0 {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "{} is not a directory that only this user can write to",
            dir.display()
        )))
    }
}

/// Copies the data of an entry and checks the digest of each file.
fn copy_checked(entry: &Path, data: &Path) -> io::Result<()> {
    require_private(entry)?;
    let list = entry.join(FILES);
    let files: Files = serde_json::from_slice(&fs::read(&list)?)?;
    copy(&entry.join("data"), data, &files)?;
    File::options()
        .append(true)
        .open(list)?
        .set_modified(SystemTime::now())
}

fn copy(from: &Path, to: &Path, files: &Files) -> io::Result<()> {
    let create = |dir: &Path| DirBuilder::new().mode(0o700).create(dir);
    create(to)?;
    for dir in &files.dirs {
        create(&to.join(inside(dir)?))?;
    }
    for (name, (size, digest)) in &files.files {
        let name = inside(name)?;
        let found = copy_file(&from.join(name), Some(&to.join(name)))?;
        if found != (*size, digest.clone()) {
            return Err(io::Error::other(format!("{} is damaged", name.display())));
        }
    }
    Ok(())
}

/// Rejects a path that leaves its directory.
fn inside(path: &Path) -> io::Result<&Path> {
    use std::path::Component::Normal;
    if path.components().all(|part| matches!(part, Normal(_))) {
        Ok(path)
    } else {
        Err(io::Error::other(format!(
            "{} is not a valid path in an entry",
            path.display()
        )))
    }
}

/// Copies a file; returns its size in bytes and its digest.
fn copy_file(from: &Path, to: Option<&Path>) -> io::Result<(u64, String)> {
    let mut from = File::open(from)?;
    let mut to = to.map(File::create_new).transpose()?;
    let (mut size, mut digest) = (0, Xxh3::new());
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok((size, format!("{:016x}", digest.digest())));
        }
        let part = &buffer[..read];
        digest.update(part);
        size += read as u64;
        if let Some(to) = &mut to {
            to.write_all(part)?;
        }
    }
}

/// Adds a copy of initialised data to the cache, and removes unused entries. If a concurrent drill adds the
/// same entry, the first one stays.
fn add(data: &Path, entry: &Path) -> io::Result<()> {
    let cache = entry.parent().unwrap_or(entry);
    remove_unused(cache);
    let new = cache.join(format!("{INCOMPLETE}{:08x}", rand::random::<u32>()));
    DirBuilder::new().mode(0o700).create(&new)?;
    let done = fill(data, &new).and_then(|()| match fs::rename(&new, entry) {
        Err(_) if entry.exists() => fs::remove_dir_all(&new),
        renamed => renamed,
    });
    if done.is_err() {
        let _ = fs::remove_dir_all(&new);
    }
    done
}

fn fill(data: &Path, new: &Path) -> io::Result<()> {
    let mut files = Files::default();
    list(data, Path::new(""), &mut files)?;
    copy(data, &new.join("data"), &files)?;
    fs::write(new.join(FILES), serde_json::to_vec(&files)?)
}

fn list(data: &Path, below: &Path, files: &mut Files) -> io::Result<()> {
    for one in fs::read_dir(data.join(below))? {
        let one = one?;
        let name = below.join(one.file_name());
        let kind = one.file_type()?;
        if is_of_one_server(&name) {
            continue;
        }
        if kind.is_dir() {
            files.dirs.push(name.clone());
            list(data, &name, files)?;
        } else if kind.is_file() {
            let found = copy_file(&data.join(&name), None)?;
            files.files.insert(name, found);
        } else {
            return Err(io::Error::other(format!(
                "{} is not a file",
                name.display()
            )));
        }
    }
    Ok(())
}

/// Removes entries unused for a long time, and incomplete ones of killed processes.
fn remove_unused(cache: &Path) {
    let entries = fs::read_dir(cache).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let (time, limit) = match name {
            name if name.starts_with(ENTRY) => (path.join(FILES), UNUSED),
            name if name.starts_with(INCOMPLETE) => (path.clone(), STALE),
            _ => continue,
        };
        let modified = time.metadata().and_then(|meta| meta.modified());
        let age = modified.ok().and_then(|time| time.elapsed().ok());
        if age.is_some_and(|age| age > limit) {
            let _ = fs::remove_dir_all(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Initialised data that include files of one server only, and an empty cache.
    fn data() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("made");
        fs::create_dir_all(data.join("mysql/inner")).unwrap();
        for (name, text) in [
            ("ibdata1", "pages"),
            ("mysql/user.frm", "root"),
            ("auto.cnf", "uuid"),
            ("server-key.pem", "secret"),
        ] {
            fs::write(data.join(name), text).unwrap();
        }
        let cache = private(home.path()).unwrap();
        (home, data, cache)
    }

    #[test]
    fn an_entry_is_copied_without_the_files_of_one_server() {
        let (home, data, cache) = data();
        let entry = cache.join("data-x");
        add(&data, &entry).unwrap();
        add(&data, &entry).unwrap();
        assert_eq!(
            fs::read_dir(&cache).unwrap().count(),
            1,
            "nothing incomplete stays"
        );
        let copy = home.path().join("copy");
        copy_checked(&entry, &copy).unwrap();
        assert_eq!(fs::read(copy.join("mysql/user.frm")).unwrap(), b"root");
        assert!(copy.join("mysql/inner").is_dir());
        for never in ["auto.cnf", "server-key.pem"] {
            assert!(!copy.join(never).exists() && !entry.join("data").join(never).exists());
        }
    }

    #[tokio::test]
    async fn a_damaged_entry_is_removed() {
        let damages: [fn(&Path); 5] = [
            |entry| fs::write(entry.join("data/ibdata1"), "pagex").unwrap(),
            |entry| fs::write(entry.join("data/ibdata1"), "page").unwrap(),
            |entry| fs::remove_file(entry.join("data/mysql/user.frm")).unwrap(),
            |entry| fs::write(entry.join(FILES), "{").unwrap(),
            |entry| fs::write(entry.join(FILES), r#"{"dirs": ["../out"], "files": {}}"#).unwrap(),
        ];
        for (number, damage) in damages.into_iter().enumerate() {
            let (home, data, cache) = data();
            let entry = cache.join("data-x");
            add(&data, &entry).unwrap();
            damage(&entry);
            let copied = copy_entry(&entry, &home.path().join("copy")).await;
            assert!(!copied, "{number}");
            assert!(
                !entry.exists() && !home.path().join("out").exists(),
                "{number}"
            );
        }
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_not_used() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().unwrap();
        let dir = private(home.path()).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        private(home.path()).unwrap_err();
    }

    #[test]
    fn what_was_not_used_for_long_is_removed() {
        let (_home, data, cache) = data();
        let age = |path: &Path, by: Duration| {
            let time = SystemTime::now().checked_sub(by).unwrap();
            File::open(path).unwrap().set_modified(time).unwrap();
        };
        let hour = Duration::from_secs(3600);
        for (name, by) in [("data-old", UNUSED + hour), ("data-used", UNUSED - hour)] {
            add(&data, &cache.join(name)).unwrap();
            age(&cache.join(name).join(FILES), by);
        }
        for (name, by) in [("new-killed", STALE + hour), ("new-running", hour)] {
            fs::create_dir(cache.join(name)).unwrap();
            age(&cache.join(name), by);
        }
        add(&data, &cache.join("data-x")).unwrap();
        let mut left: Vec<_> = fs::read_dir(&cache)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["data-used", "data-x", "new-running"]);
    }

    #[test]
    fn another_program_version_option_or_definition_has_another_entry() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("mysqld");
        fs::write(&path, "1").unwrap();
        let program = Program {
            path: path.clone(),
            version: crate::mysql::ServerVersion::parse("9.7.4", "").unwrap(),
            banner: "Ver 9.7.4".to_owned(),
            layout: Default::default(),
        };
        let options = ["--lower-case-table-names=1".to_owned()];
        let mut seen = std::collections::BTreeSet::new();
        seen.insert(key(&program, &[], None).unwrap());
        seen.insert(key(&program, &options, None).unwrap());
        seen.insert(key(&program, &[], Some("CREATE")).unwrap());
        let newer = Program {
            banner: "Ver 9.7.5".to_owned(),
            ..program.clone()
        };
        seen.insert(key(&newer, &[], None).unwrap());
        fs::write(&path, "12").unwrap();
        seen.insert(key(&program, &[], None).unwrap());
        assert_eq!(seen.len(), 5, "{seen:?}");
    }
}
