//! Forged and damaged tars.

use super::*;

/// A member under any name, and with any target of a link.
fn member(tar: &mut Vec<u8>, name: &[u8], of_type: EntryType, target: &[u8], contents: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(of_type);
    header.set_size(contents.len() as u64);
    header.set_mode(0o755);
    header.set_uid(u64::from(rustix::process::geteuid().as_raw()));
    header.set_gid(u64::from(rustix::process::getegid().as_raw()));
    header.set_mtime(1);
    let old = header.as_old_mut();
    old.name[..name.len()].copy_from_slice(name);
    old.linkname[..target.len()].copy_from_slice(target);
    header.set_cksum();
    tar.extend_from_slice(header.as_bytes());
    tar.extend_from_slice(contents);
    tar.resize(tar.len().next_multiple_of(512), 0);
}

/// Name, type and target of a member.
type Forged = (&'static [u8], EntryType, &'static [u8]);

/// Extracts members that have `name` and more below `tree` in a directory; what is beside `tree` must stay.
fn extracted(members: &[Forged]) -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let (tree, beside) = (dir.path().join("tree"), dir.path().join("beside"));
    std::fs::create_dir(&tree).unwrap();
    std::fs::create_dir(&beside).unwrap();
    std::fs::write(beside.join("file"), "untouched").unwrap();
    let mut tar = Vec::new();
    for (name, of_type, target) in members {
        let contents: &[u8] = match of_type {
            EntryType::Regular => b"evil",
            _ => b"",
        };
        member(&mut tar, name, *of_type, target, contents);
    }
    tar.extend([0; 1024]);
    let done = extract(&tar[..], &tree, Owners::Keep, OutsideLinks::Keep);
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(names.len(), 2, "{members:?}");
    let beside: Vec<_> = std::fs::read_dir(&beside)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(beside.len(), 1, "{members:?}");
    assert_eq!(std::fs::read_to_string(&beside[0]).unwrap(), "untouched");
    done
}

#[test]
fn nothing_is_written_outside_of_the_directory() {
    use EntryType::{Block, Char, Directory, Fifo, Link, Regular, Symlink};
    let forged: &[&[Forged]] = &[
        &[(b"../beside/file", Regular, b"")],
        &[(b"../evil", Regular, b"")],
        &[(b"/tmp/drctl-evil", Regular, b"")],
        &[(b"a/../../evil", Regular, b"")],
        &[(b"..", Directory, b"")],
        &[(b".", Directory, b"")],
        &[(b"../evil", Directory, b"")],
        &[(b"../evil", Symlink, b"x")],
        // Through a link that the tar itself makes.
        &[(b"out", Symlink, b"../beside"), (b"out/evil", Regular, b"")],
        &[
            (b"out", Symlink, b"../beside"),
            (b"out/evil", Directory, b""),
        ],
        &[(b"out", Symlink, b"../beside"), (b"out", Directory, b"")],
        &[(b"out", Symlink, b"../beside/file"), (b"out", Regular, b"")],
        &[
            (b"out", Symlink, b"../beside"),
            (b"hard", Link, b"out/file"),
        ],
        &[(b"hard", Link, b"../beside/file")],
        &[(b"hard", Link, b"/etc/passwd")],
        &[(b"hard", Link, b"nothing")],
        &[(b"twice", Regular, b""), (b"twice", Regular, b"")],
        &[(b"file", Regular, b""), (b"file/below", Regular, b"")],
        &[(b"missing/below", Regular, b"")],
        &[(b"null", Char, b"")],
        &[(b"disk", Block, b"")],
        &[(b"pipe", Fifo, b"")],
    ];
    for members in forged {
        let error = extracted(members).expect_err(&format!("{members:?}"));
        assert_eq!(error.outcome().code(), 6, "{members:?}: {error}");
    }
    extracted(&[
        (b"d", Directory, b""),
        (b"d/f", Regular, b""),
        (b"h", Link, b"d/f"),
    ])
    .unwrap();
}

#[test]
fn a_link_out_of_the_directory_is_refused_unless_it_is_kept() {
    for target in [&b"/etc/passwd"[..], b"../x", b"d/../../x"] {
        let mut tar = Vec::new();
        member(&mut tar, b"link", EntryType::Symlink, target, b"");
        tar.extend([0; 1024]);
        let dir = tempfile::tempdir().unwrap();
        let refused = extract(&tar[..], dir.path(), Owners::Keep, OutsideLinks::Refuse);
        assert_eq!(refused.unwrap_err().outcome().code(), 6);
        extract(&tar[..], dir.path(), Owners::Keep, OutsideLinks::Keep).unwrap();
        assert!(dir.path().join("link").is_symlink());
    }
}

#[test]
fn a_truncated_tar_is_not_extracted_as_if_it_were_whole() {
    let mut tar = Vec::new();
    member(&mut tar, b"a", EntryType::Regular, b"", b"text");
    member(&mut tar, b"b", EntryType::Regular, b"", b"text");
    tar.extend([0; 1024]);
    for end in [512, 1024, 1536, 2048, 2560] {
        let dir = tempfile::tempdir().unwrap();
        assert!(
            extract(&tar[..end], dir.path(), Owners::Keep, OutsideLinks::Keep).is_err(),
            "{end}"
        );
    }
}
