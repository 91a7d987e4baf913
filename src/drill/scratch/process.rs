//! How a server program is run in a scratch directory, and what its log says of its end.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use tokio::process::Command;

use crate::drill::scratch::programs::Program;
use crate::drill::scratch::strays::PrivateDir;
use crate::error::{Error, Result};
use crate::server::{program as programs, tie};

/// What of the server's log is read to say why it ended, bytes.
const LOG_TAIL_BYTES: u64 = 64 << 10;

/// The program with nothing from around it, in the directory, writing to the log.
pub fn command(program: &Program, dir: &PrivateDir, log: &Path) -> Result<Command> {
    let failed = |e| Error::server("write into the scratch directory").because(e);
    let out = File::options()
        .create(true)
        .append(true)
        .open(log)
        .map_err(failed)?;
    let mut command = programs::bare(tie::command(&program.path));
    command
        .args(program.own_options())
        .current_dir(dir.path())
        .stdout(out.try_clone().map_err(failed)?)
        .stderr(out);
    if rustix::process::geteuid().is_root() {
        // It refuses to run as root unless it is told that this is meant.
        command.arg("--user=root");
    }
    Ok(command)
}

/// The last line of a server's log that is an error, without its time.
pub fn last_error(log: &Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let size = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(LOG_TAIL_BYTES)))
        .ok()?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let line = text
        .lines()
        .rev()
        .find(|line| line.contains("[ERROR]") && !line.contains("Aborting"))?;
    let (_, message) = line.split_once("[ERROR]")?;
    Some(message.trim().chars().take(300).collect())
}
