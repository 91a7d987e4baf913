//! What is a directory's own: what lies there in the meantime, who may read it, and full disks.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use drctl::store::file::FileStore;
use drctl::store::{Store, StoreError, StoreUrl};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};

use super::contract::{keys, noise, upload_of};
use crate::support::lab::ScratchDir;

/// Everything below a directory, unfinished files as well.
fn everything(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything(&path));
        }
        if path.file_name().is_some_and(|name| name != ".drctl-store") {
            found.push(path);
        }
    }
    found
}

/// A store that a first backup has begun in.
async fn marked(directory: &Path) -> FileStore {
    let store = FileStore::new(directory);
    store.init(false).await.unwrap();
    store
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn nobody_else_can_read_a_backup_whatever_the_umask() {
    let directory = ScratchDir::new();
    let root = directory.path().join("made/by/us");
    let store = FileStore::new(&root);
    store.init(true).await.unwrap();
    store.put_new("t/put_new", "x".into()).await.unwrap();
    store.put("t/put", "x".into()).await.unwrap();
    let upload = upload_of(&store, "t/upload", ["x"]).await;
    for path in everything(&directory.path().join("made")) {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
    upload.complete().await.unwrap();
    assert_eq!(mode(&root.join("t/upload")), 0o600);
}

#[tokio::test]
async fn a_directory_that_was_there_keeps_its_mode() {
    let directory = ScratchDir::new();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o750)).unwrap();
    let store = marked(directory.path()).await;
    store.put_new("a", "x".into()).await.unwrap();
    assert_eq!(mode(directory.path()), 0o750);
}

#[tokio::test]
async fn an_unfinished_upload_is_a_file_that_nobody_lists_and_that_goes_when_dropped() {
    let directory = ScratchDir::new();
    let store = marked(directory.path()).await;
    let upload = upload_of(&store, "t/dump", [noise(100)]).await;
    let found = everything(directory.path());
    assert_eq!(
        found.len(),
        2,
        "a directory and a temporary file: {found:?}"
    );
    assert_eq!(keys(&store, "").await, [""; 0]);
    drop(upload);
    assert_eq!(everything(directory.path()).len(), 1, "the empty directory");
    let upload = upload_of(&store, "t/dump", [noise(100)]).await;
    upload.abort().await.unwrap();
    assert!(everything(directory.path()).is_empty());
}

#[tokio::test]
async fn what_a_killed_run_left_is_swept_by_its_age() {
    let directory = ScratchDir::new();
    let store = marked(directory.path()).await;
    store.put_new("t/manifest.json", "{}".into()).await.unwrap();
    // As a SIGKILL leaves them: nobody's destructor ran.
    for name in [
        "t/.drctl-tmp-old",
        "t/.drctl-tmp-new",
        "t/gone/.drctl-tmp-old",
    ] {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = fs::File::create(path).unwrap();
        if name.ends_with("old") {
            let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(90_000);
            file.set_modified(long_ago).unwrap();
        }
    }
    let a_day_ago = Timestamp::now() - SignedDuration::from_hours(24);
    assert_eq!(store.abort_stale_uploads("t/", a_day_ago).await.unwrap(), 2);
    let mut left = everything(directory.path());
    left.sort();
    let names = ["t", "t/.drctl-tmp-new", "t/manifest.json"];
    assert_eq!(left, names.map(|name| directory.path().join(name)));
}

#[tokio::test]
async fn puts_survive_deletes_that_take_their_directory_away() {
    let directory = ScratchDir::new();
    let store = marked(directory.path()).await;
    let rounds = (0..8).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..50 {
                let key = format!("t/deep/{n}-{round}");
                store.put_new(&key, "x".into()).await.unwrap();
                store.delete(&key).await.unwrap();
            }
        })
    });
    for done in join_all(rounds).await {
        done.unwrap();
    }
    assert!(everything(directory.path()).is_empty());
}

#[tokio::test]
async fn what_a_link_leads_to_is_listed_as_it_is_read() {
    let (directory, disk) = (ScratchDir::new(), ScratchDir::new());
    let (root, disk) = (directory.path(), disk.path());
    let store = marked(root).await;
    store.put_new("t/a/dump", "dump".into()).await.unwrap();
    store.put_new("t/b/dump", "other".into()).await.unwrap();
    fs::rename(root.join("t/a/dump"), disk.join("dump")).unwrap();
    symlink(disk.join("dump"), root.join("t/a/dump")).unwrap();
    fs::rename(root.join("t/b"), disk.join("b")).unwrap();
    symlink(disk.join("b"), root.join("t/b")).unwrap();
    assert_eq!(keys(&store, "t/").await, ["t/a/dump", "t/b/dump"]);
    for object in store.list("t/").await.unwrap() {
        assert_eq!(store.head(&object.key).await.unwrap(), object);
        let body = store.get(&object.key, None).await.unwrap();
        assert_eq!(body.len() as u64, object.size);
    }
    // The whole target.
    fs::rename(root.join("t"), disk.join("t")).unwrap();
    symlink(disk.join("t"), root.join("t")).unwrap();
    assert_eq!(keys(&store, "t/").await, ["t/a/dump", "t/b/dump"]);
    store.put_new("t/a/pin", "".into()).await.unwrap();
    store.delete("t/a/dump").await.unwrap();
    assert_eq!(keys(&store, "t/").await, ["t/a/pin", "t/b/dump"]);
    assert!(
        disk.join("dump").exists(),
        "the link goes, what it led to stays"
    );
}

/// What may lie at a name and is neither an object nor a directory, and what is said of it.
const STRANGE: &[(&str, &str)] = &[
    ("dangling", "which cannot be followed: No such file"),
    ("itself", "which cannot be followed: "),
    ("fifo", "a FIFO, not a regular file"),
    ("socket", "a socket, not a regular file"),
    ("device", "a device, not a regular file"),
];

fn make_strange(kind: &str, path: &Path) {
    match kind {
        "dangling" => symlink("/no/such/disk/x", path).unwrap(),
        "itself" => symlink(path, path).unwrap(),
        "fifo" => {
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            rustix::fs::mkfifoat(rustix::fs::CWD, path, mode).unwrap();
        }
        "socket" => drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
        _ => symlink("/dev/zero", path).unwrap(),
    }
}

#[tokio::test]
async fn what_is_neither_a_file_nor_a_directory_is_no_absence_to_any_operation() {
    for (kind, said) in STRANGE {
        let directory = ScratchDir::new();
        let store = marked(directory.path()).await;
        store.put_new("t/a", "x".into()).await.unwrap();
        make_strange(kind, &directory.path().join("t/odd"));
        let named = |error: StoreError| {
            let text = error.to_string();
            assert!(matches!(error, StoreError::NotAnObject { .. }), "{error:?}");
            assert!(text.contains("/t/odd: ") && text.contains(said), "{text}");
        };
        named(store.list("t/").await.unwrap_err());
        named(store.head("t/odd").await.unwrap_err());
        named(store.get("t/odd", None).await.unwrap_err());
        named(store.get_at_most("t/odd", 10).await.unwrap_err());
        named(
            store
                .abort_stale_uploads("t/", Timestamp::now())
                .await
                .unwrap_err(),
        );
        if ["dangling", "itself"].contains(kind) {
            named(store.list("t/odd/").await.unwrap_err());
            named(store.head("t/odd/x").await.unwrap_err());
            named(store.get("t/odd/x", None).await.unwrap_err());
            named(store.put_new("t/odd/x", "x".into()).await.unwrap_err());
            named(store.upload("t/odd/x").await.map(drop).unwrap_err());
        }
    }
}

#[tokio::test]
async fn a_file_where_a_directory_is_listed_is_no_empty_list() {
    let directory = ScratchDir::new();
    let store = marked(directory.path()).await;
    fs::write(directory.path().join("t"), "x").unwrap();
    let text = store.list("t/").await.unwrap_err().to_string();
    assert!(text.ends_with("/t: not a directory"), "{text}");
    assert_eq!(keys(&store, "u/").await, [""; 0]);
}

#[tokio::test]
async fn a_link_to_a_directory_above_it_is_named_and_not_followed_for_ever() {
    let directory = ScratchDir::new();
    let store = marked(directory.path()).await;
    store.put_new("t/a/b", "x".into()).await.unwrap();
    symlink("..", directory.path().join("t/a/up")).unwrap();
    symlink("../a", directory.path().join("t/a/same")).unwrap();
    let text = store.list("t/").await.unwrap_err().to_string();
    assert!(
        text.contains("a link to a directory that contains it"),
        "{text}"
    );
}

#[tokio::test]
async fn only_a_regular_file_is_the_mark() {
    for kind in ["directory", "dangling", "fifo"] {
        let directory = ScratchDir::new();
        let mark = directory.path().join(".drctl-store");
        match kind {
            "directory" => fs::create_dir(&mark).unwrap(),
            kind => make_strange(kind, &mark),
        }
        let store = FileStore::new(directory.path());
        for refused in [store.check().await, store.init(true).await] {
            let text = refused.unwrap_err().to_string();
            assert!(
                text.contains("marker .drctl-store is not a regular file"),
                "{text}"
            );
        }
    }
    let directory = ScratchDir::new();
    fs::write(directory.path().join("file"), "x").unwrap();
    let store = FileStore::new(directory.path().join("file"));
    let text = store.check().await.unwrap_err().to_string();
    assert!(text.ends_with("it is not a directory"), "{text}");
}

#[tokio::test]
async fn a_file_in_the_way_is_an_error_that_names_the_path() {
    let directory = ScratchDir::new();
    let store = marked(directory.path()).await;
    store.put_new("t", "x".into()).await.unwrap();
    let error = store
        .put_new("t/a", "x".into())
        .await
        .unwrap_err()
        .to_string();
    let path = directory.path().join("t/a");
    let expected = format!("put {}: Not a directory", path.display());
    assert!(error.starts_with(&expected), "{error}");
    assert!(store.upload("t/a").await.is_err());
}

#[test]
fn a_location_is_the_url_it_was_opened_by() {
    let url: StoreUrl = "file:///a%20b/c".parse().unwrap();
    let StoreUrl::File(path) = &url else {
        panic!("{url:?}");
    };
    assert_eq!(FileStore::new(path).location(), url.to_string());
}

/// The most that a file may have in [`fill_the_disk`], in KiB.
const LIMIT_KIB: u64 = 64;

#[test]
fn a_full_disk_is_a_clear_error_and_leaves_nothing() {
    // A limit on files fails a write like a full disk does, and needs no file system of its own;
    // it is the whole process's, so the test runs itself again in one.
    if let Some(directory) = std::env::var_os("DRCTL_TEST_DIRECTORY") {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        return runtime.block_on(fill_the_disk(Path::new(&directory)));
    }
    let directory = ScratchDir::new();
    let blocks = LIMIT_KIB * 2;
    let output = Command::new("/bin/sh")
        .args([
            "-c",
            &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\""),
        ])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "store::file::a_full_disk_is_a_clear_error_and_leaves_nothing",
        ])
        .env("DRCTL_TEST_DIRECTORY", directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
    assert_eq!(
        everything(directory.path()).len(),
        2,
        "it was there: t and t/a"
    );
}

async fn fill_the_disk(directory: &Path) {
    let store = marked(directory).await;
    let full = |result: Result<(), StoreError>| {
        let text = result.unwrap_err().to_string();
        assert!(
            text.contains("File too large") && text.contains("/t/a"),
            "{text}"
        );
        assert!(everything(directory).is_empty());
    };
    let kib = |kib: u64| noise((kib << 10) as usize);
    full(store.put_new("t/a", kib(LIMIT_KIB + 1)).await);
    full(store.put("t/a", kib(LIMIT_KIB + 1)).await);
    let mut upload = store.upload("t/a").await.unwrap();
    upload.part(kib(LIMIT_KIB)).await.unwrap();
    full(upload.part(kib(1)).await);
    // The bytes that fitted are no object.
    let text = upload.complete().await.unwrap_err().to_string();
    assert!(text.contains("an earlier part failed"), "{text}");
    assert_eq!(keys(&store, "").await, [""; 0]);
    store.put_new("t/a", kib(LIMIT_KIB)).await.unwrap();
}
