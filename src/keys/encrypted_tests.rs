//! Ranges, cuts, flipped bits, notes, other people's objects.

use super::*;
use crate::keys::identities::note;
use crate::keys::recipients::Recipients;

pub fn pair() -> (Recipients, Identities) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("identity");
    let secret = age::x25519::Identity::generate();
    let text = age::secrecy::ExposeSecret::expose_secret(&secret.to_string()).to_owned();
    std::fs::write(&file, format!("# a comment\n\n{text}\n")).unwrap();
    let given = [secret.to_public().to_string()];
    let recipients = Recipients::read(&given, None).unwrap().unwrap();
    (recipients, Identities::read(&file).unwrap())
}

pub fn text(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n / 3 + n % 251) as u8).collect()
}

fn open(stored: &[u8], plain: usize) -> Encrypted {
    let layout = Layout::new(stored.len() as u64, plain as u64).unwrap();
    let part = |range: Range<u64>| {
        Bytes::copy_from_slice(&stored[range.start as usize..range.end as usize])
    };
    Encrypted {
        named: "an object".into(),
        layout,
        header: part(layout.header()),
        last: part(layout.last()),
    }
}

const LENGTHS: [usize; 9] = [0, 1, 65535, 65536, 65537, 131071, 131072, 131073, 300_000];

#[test]
fn each_range_is_decrypted_from_its_chunks_alone() {
    let (recipients, identities) = pair();
    for length in LENGTHS {
        let plain = text(length);
        let stored = recipients.encrypt_all(&plain, None).unwrap();
        assert_eq!(identities.decrypt_all("x", &stored).unwrap(), plain);
        let object = open(&stored, length);
        let edges = [0, 1, 65535, 65536, 65537, 131072, 200_000, length];
        for start in edges {
            for end in edges {
                if start >= end || end > length {
                    continue;
                }
                let range = start as u64..end as u64;
                let chunks = object.layout.chunks(&range);
                assert!(chunks.end - chunks.start <= (end - start) as u64 + 3 * (CHUNK + TAG));
                let chunks = &stored[chunks.start as usize..chunks.end as usize];
                let chunks = Bytes::copy_from_slice(chunks);
                let read = object.decrypt(&identities, range, chunks).unwrap();
                assert!(read == plain[start..end], "{start}..{end} of {length}");
            }
        }
    }
}

#[test]
fn cuts_divide_an_object_without_gap_or_overlap() {
    let (recipients, _) = pair();
    for length in LENGTHS {
        let stored = recipients.encrypt_all(&text(length), None).unwrap();
        let layout = Layout::new(stored.len() as u64, length as u64).unwrap();
        let mut before = 0;
        for plain in (0..=length as u64).step_by(1000).chain([length as u64]) {
            let cut = layout.cut(plain);
            assert!(before <= cut);
            // What a range reaches down to is in the chunks that are fetched for it.
            if plain > 0 && plain < length as u64 {
                assert!(layout.chunks(&(plain..length as u64)).start == cut);
            }
            before = cut;
        }
        assert_eq!(layout.cut(length as u64).max(before), before);
        if length > 0 {
            assert_eq!(before, stored.len() as u64);
        }
    }
}

#[test]
fn no_flipped_bit_and_no_cut_gives_other_text() {
    let (recipients, identities) = pair();
    let plain = text(200_000);
    let stored = recipients.encrypt_all(&plain, None).unwrap();
    for at in (0..stored.len()).step_by(997).chain(0..400) {
        let mut damaged = stored.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(
            identities.decrypt_all("x", &damaged).is_err(),
            "whole, {at}"
        );
        let object = open(&damaged, plain.len());
        for range in [0..70_000u64, 65_536..131_072, 190_000..200_000] {
            let chunks = object.layout.chunks(&range);
            let bytes =
                Bytes::copy_from_slice(&damaged[chunks.start as usize..chunks.end as usize]);
            if let Ok(read) = object.decrypt(&identities, range.clone(), bytes) {
                assert!(
                    read == plain[range.start as usize..range.end as usize],
                    "{at}"
                );
            }
        }
    }
    for length in [0, 1, 100, 199, 300, 65_000, 66_000, stored.len() - 1] {
        let cut = &stored[..length];
        assert!(identities.decrypt_all("x", cut).is_err(), "{length}");
    }
}

#[test]
fn what_is_encrypted_to_somebody_else_says_so() {
    let ((recipients, _), (_, others)) = (pair(), pair());
    let stored = recipients.encrypt_all(b"text", None).unwrap();
    let error = others.decrypt_all("an object", &stored).unwrap_err();
    assert_eq!(error.outcome(), crate::Outcome::Usage);
    assert!(
        error.to_string().contains("not encrypted to any identity"),
        "{error}"
    );
}

#[test]
fn a_note_is_read_without_a_key_and_from_the_beginning_alone() {
    let (recipients, identities) = pair();
    for length in [0, 1, 47, 48, 49, 5000, 20_000] {
        let there = text(length);
        let stored = recipients
            .encrypt_all(&text(100_000), Some(there.clone()))
            .unwrap();
        assert_eq!(identities.decrypt_all("x", &stored).unwrap(), text(100_000));
        let front = &stored[..stored.len().min(length * 4 / 3 + length / 40 + 1000)];
        assert_eq!(note(front).unwrap(), there, "{length}");
    }
    let stored = recipients.encrypt_all(b"text", None).unwrap();
    assert_eq!(note(&stored), None);
    assert_eq!(note(b"something else"), None);
}

#[test]
fn sizes_that_no_object_has_are_refused() {
    for (stored, plain) in [(0, 0), (10, 100), (u64::MAX, 1), (100, u64::MAX), (16, 0)] {
        assert_eq!(Layout::new(stored, plain), None, "{stored} {plain}");
    }
}
