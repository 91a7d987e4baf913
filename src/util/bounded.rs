//! Read small files named by the user, within limits of size and time.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::util::cancel;

/// How long a pipe may deliver nothing before the read fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads a whole file of at most `most` bytes. Waits for data from a pipe until a termination signal
/// arrives.
///
/// # Errors
/// Fails if the file cannot be read, is longer than `most`, or is a pipe that delivers nothing for 30 s.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    // O_NONBLOCK: opening a pipe without a writer would block forever.
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let mut file = File::options().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let kind = file.metadata()?.file_type();
    // `/dev/null` is empty, and ends at once.
    let is_pipe = kind.is_fifo() || kind.is_socket();
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let mut last = Instant::now();
    loop {
        match file.read(&mut buffer) {
            // A pipe without a writer yet also reads as end of file.
            Ok(0) if !is_pipe || !bytes.is_empty() => return Ok(bytes),
            Ok(0) => {}
            Ok(count) => {
                bytes.extend_from_slice(&buffer[..count]);
                last = Instant::now();
                if bytes.len() as u64 > most {
                    return Err(io::Error::other(format!("larger than {most} bytes")));
                }
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        if cancel::signalled().is_some() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if last.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("no data within {PATIENCE:?}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
