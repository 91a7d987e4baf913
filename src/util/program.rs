//! External programs with a cleared environment, and their version output.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// Time limit for a program to answer a question such as `--version`.
const ASK_TIMEOUT: Duration = Duration::from_secs(20);

/// Clears a command's environment and standard input; it is killed when dropped.
pub fn bare(mut command: Command) -> Command {
    command
        .env_clear()
        // Wrapper scripts need PATH; `~/.my.cnf` and `~/.mylogin.cnf` must not be read.
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", "/nonexistent")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Output of a program for a question such as `--version`, without any option file; else the reason why
/// there is none.
pub async fn ask(program: &Path, question: &[&str]) -> Result<String, String> {
    let failed = |why: String| format!("{} {}: {why}", program.display(), question.join(" "));
    let mut command = bare(Command::new(program));
    command.arg("--no-defaults").args(question);
    let output = tokio::time::timeout(ASK_TIMEOUT, command.output())
        .await
        .map_err(|_| failed(format!("no answer within {} s", ASK_TIMEOUT.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(failed(format!("{}: {}", output.status, why.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
