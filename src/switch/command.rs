//! The program that switches traffic.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::util::cancel::Cancel;
use crate::util::program::bare;
use crate::{Error, Result};

/// A program and its environment.
#[derive(Debug)]
pub(super) struct SwitchCommand {
    pub(super) program: String,
    pub(super) arguments: Vec<String>,
    pub(super) environment: [(&'static str, String); 3],
    /// Time limit; the program is killed after it.
    pub(super) limit: Duration,
}

impl SwitchCommand {
    /// Runs the program. Its output goes to the log of this process.
    pub(super) async fn run(&self, cancel: &Cancel) -> Result<String> {
        let program = &self.program;
        let mut command = bare(Command::new(program));
        command.args(&self.arguments).envs(self.environment.clone());
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let ended = async {
            let ended = tokio::time::timeout(self.limit, command.output()).await;
            Ok(ended)
        };
        let output = match cancel.unless(ended).await? {
            Err(_) => {
                let seconds = self.limit.as_secs();
                return Err(Error::unexpected(format!(
                    "switch.command: {program} did not end in {seconds} s"
                ))
                .hint("raise switch.command_seconds, or find out what it waits for"));
            }
            Ok(Err(error)) => {
                return Err(
                    Error::usage(format!("switch.command: cannot run {program}: {error}"))
                        .hint("correct switch.command"),
                );
            }
            Ok(Ok(output)) => output,
        };
        if output.status.success() {
            return Ok(format!("ran {program}"));
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty());
        let last = last.map(|line| format!(": {}", line.trim()));
        Err(Error::unexpected(format!(
            "switch.command: {program} failed ({}){}",
            output.status,
            last.unwrap_or_default()
        ))
        .hint("fix its cause"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(script: &str, limit: u64) -> Result<String> {
        let command = SwitchCommand {
            program: "sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: [
                ("DRCTL_SWITCH", "promote".into()),
                ("DRCTL_TARGET", "shop".into()),
                ("DRCTL_SIDE", "eu".into()),
            ],
            limit: Duration::from_secs(limit),
        };
        command.run(&Cancel::default()).await
    }

    #[tokio::test]
    async fn the_program_gets_its_variables_and_no_others() {
        let script = "test \"$DRCTL_SWITCH $DRCTL_TARGET $DRCTL_SIDE\" = 'promote shop eu' && test -z \"$CARGO_PKG_NAME$CARGO\"";
        run(script, 20).await.unwrap();
    }

    #[tokio::test]
    async fn a_program_that_fails_or_does_not_end_is_an_error_with_its_last_line() {
        let error = run("echo one >&2; echo two >&2; exit 3", 20)
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("exit status: 3): two"),
            "{error}"
        );
        let error = run("sleep 60", 1).await.unwrap_err();
        assert!(error.to_string().contains("did not end in 1 s"), "{error}");
    }
}
