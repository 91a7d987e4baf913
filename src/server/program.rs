//! Programs that are run with nothing from around them, and what they say of themselves.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// How long a program may take to say what it is.
const ASK_TIMEOUT: Duration = Duration::from_secs(20);

/// A command with nothing from around it: no environment, no input, killed when it is dropped.
pub fn bare(mut command: Command) -> Command {
    command
        .env_clear()
        // Wrapper scripts need a PATH; `~/.my.cnf` and `~/.mylogin.cnf` must not be found.
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", "/nonexistent")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// What a program answers to a question such as `--version`, without reading any option file; why it
/// gave no answer.
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
