//! Small files that a user names, read within bounds of size and of time.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::cancel;

/// How long a pipe may deliver nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// The whole of a file of no more than so many bytes. A pipe is waited for, until a signal comes.
///
/// # Errors
/// It cannot be read, is longer, or is a pipe that delivers nothing for half a minute.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    // O_NONBLOCK: opening a pipe without a writer would wait for ever.
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let mut file = File::options().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let is_pipe = !file.metadata()?.is_file();
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let mut last = Instant::now();
    loop {
        match file.read(&mut buffer) {
            // A pipe that nobody has begun to write to is at its end, too.
            Ok(0) if !is_pipe || !bytes.is_empty() => return Ok(bytes),
            Ok(0) => {}
            Ok(count) => {
                bytes.extend_from_slice(&buffer[..count]);
                last = Instant::now();
                if bytes.len() as u64 > most {
                    return Err(io::Error::other(format!("it has more than {most} bytes")));
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
            return Err(io::Error::other(format!(
                "it delivers nothing within {PATIENCE:?}"
            )));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
