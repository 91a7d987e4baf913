//! Running a server program in a scratch directory, and finding the cause of its end in its log.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use tokio::process::Command;

use crate::util::error::{Error, Result};
use crate::util::{pdeathsig, program as programs};
use crate::verify::scratch::orphans::PrivateDir;
use crate::verify::scratch::programs::Program;

/// Number of bytes of the log's end searched for errors.
const LOG_TAIL_BYTES: u64 = 64 << 10;

/// The program with a cleared environment, in the directory, with its output in the log.
pub fn command(program: &Program, dir: &PrivateDir, log: &Path) -> Result<Command> {
    let failed = |e| Error::server("cannot write into the scratch directory").because(e);
    let out = File::options()
        .create(true)
        .append(true)
        .open(log)
        .map_err(failed)?;
    let mut command = programs::bare(pdeathsig::command(&program.path));
    command
        .args(program.own_options())
        .current_dir(dir.path())
        .stdout(out.try_clone().map_err(failed)?)
        .stderr(out);
    if rustix::process::geteuid().is_root() {
        // Servers refuse to run as root without an explicit option.
        command.arg("--user=root");
    }
    Ok(command)
}

/// The last error line of a server's log, without its time.
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
