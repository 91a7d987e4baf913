//! Kind `command`: the output of any program.
//!
//! No shell is involved: each command is a program with its arguments. `{into}` in the arguments of `restore`, `compare`
//! and `check` stands for the place of the restored data: what `--into` names, or the scratch directory of a drill.

use async_trait::async_trait;
use bytes::Bytes;
use regex::bytes::Regex;

use crate::entries::record::Format;
use crate::kind::program::{Manners, Pipes, Program};
use crate::kind::{About, Kind, Proof, Sink, Stream};
use crate::util::error::{Error, Outcome, Result};

/// Stands for the place of the restored data.
pub const INTO: &str = "{into}";

/// Bytes at the end of a stream in which its trailer is searched.
const TAIL_BYTES: usize = 4096;

/// The programs of a source.
#[derive(Debug, Clone)]
pub struct CommandKind {
    /// Writes the backup to its stdout.
    pub stream: Vec<String>,
    /// Matches the last line of a complete backup; `None`: the exit status has to suffice.
    pub trailer: Option<Regex>,
    /// What the entries of its ledger are.
    pub format: Format,
    /// Reads a backup from its stdin.
    pub restore: Vec<String>,
    /// Writes what was restored, as `stream` would.
    pub compare: Vec<String>,
    /// Succeeds if what was restored is right.
    pub check: Vec<String>,
    /// What is known of all of them.
    pub manners: Manners,
}

impl CommandKind {
    fn of_source(&self) -> Result<Output> {
        self.output(&self.stream, Outcome::Source)
    }

    fn output(&self, argv: &[String], outcome: Outcome) -> Result<Output> {
        Ok(Output {
            program: Some(Program::start(argv, &self.manners, Pipes::Out, outcome)?),
            trailer: self.trailer.clone(),
            tail: Vec::new(),
            bytes: 0,
        })
    }
}

/// A command with the place of the restored data.
fn placed(argv: &[String], into: &str) -> Vec<String> {
    let place = |argument: &String| argument.replace(INTO, into);
    argv.iter().map(place).collect()
}

#[async_trait]
impl Kind for CommandKind {
    fn name(&self) -> &'static str {
        "command"
    }

    fn format(&self) -> Format {
        self.format.clone()
    }

    async fn about(&self) -> Result<About> {
        let missing = || {
            Error::usage("source.command.stream is not configured").hint(
                "set it to the program that writes the backup to its stdout, and its arguments",
            )
        };
        let (program, arguments) = self.stream.split_first().ok_or_else(missing)?;
        Ok(About {
            identity: format!("command:{program}"),
            place: program.clone(),
            bytes: 0,
            program: (program.clone(), String::new(), arguments.to_vec()),
        })
    }

    async fn stream(&self) -> Result<Box<dyn Stream>> {
        Ok(Box::new(self.of_source()?))
    }

    async fn restore(&self, into: &str) -> Result<Box<dyn Sink>> {
        if self.restore.is_empty() {
            return Err(
                Error::usage("source.command.restore is not configured").hint(
                    "set it to the program that reads a backup from its stdin; or use drctl cat",
                ),
            );
        }
        let argv = placed(&self.restore, into);
        let program = Program::start(&argv, &self.manners, Pipes::In, Outcome::Server)?;
        Ok(Box::new(Input(program)))
    }

    async fn prove(&self, into: &str) -> Result<Proof> {
        if !self.compare.is_empty() {
            let again = self.output(&placed(&self.compare, into), Outcome::Server)?;
            return Ok(Proof::Stream(Box::new(again)));
        }
        if self.check.is_empty() {
            return Ok(Proof::None);
        }
        let argv = placed(&self.check, into);
        let mut check = Program::start(&argv, &self.manners, Pipes::None, Outcome::Verification)?;
        check.end().await?;
        Ok(Proof::Program(check.name().to_owned()))
    }

    async fn complete(&self, _into: &str) -> Result<()> {
        Ok(())
    }

    fn check_drill(&self) -> Result<()> {
        let proof = [&self.compare, &self.check];
        let proof = proof.into_iter().find(|argv| !argv.is_empty());
        let Some(proof) = proof else {
            return Err(Error::usage(
                "nothing would show that a backup was restored: neither source.command.compare nor \
                 source.command.check is configured",
            )
            .hint("set one of them, or run drctl verify --level archive"));
        };
        for (argv, key) in [(&self.restore, "restore"), (proof, "compare or check")] {
            if !argv.iter().any(|argument| argument.contains(INTO)) {
                return Err(Error::usage(format!(
                    "source.command.{key} has no {INTO}, so that a drill could not tell a scratch place from the real one"
                ))
                .hint(format!(
                    "let an argument contain {INTO}: the scratch directory of a drill, or what --into names"
                )));
            }
        }
        Ok(())
    }

    fn instructions(&self) -> String {
        match self.restore.as_slice() {
            [] => "cat > backup".to_owned(),
            argv => argv
                .iter()
                .map(|one| quoted(one))
                .collect::<Vec<_>>()
                .join(" "),
        }
    }
}

/// An argument for a shell.
fn quoted(argument: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=+:,./@%".contains(c);
    match !argument.is_empty() && argument.chars().all(is_plain) {
        true => argument.to_owned(),
        false => format!("'{}'", argument.replace('\'', "'\\''")),
    }
}

/// The stdout of a program.
struct Output {
    /// `None` after its success.
    program: Option<Program>,
    trailer: Option<Regex>,
    /// The last bytes.
    tail: Vec<u8>,
    bytes: u64,
}

impl Output {
    fn keep_tail(&mut self, chunk: &[u8]) {
        self.tail.extend_from_slice(chunk);
        let surplus = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..surplus);
    }

    /// Checks what a program without an error wrote.
    fn check_end(&self, program: &Program) -> Result<()> {
        if self.bytes == 0 {
            return Err(program
                .error("exited with 0 but wrote nothing to its stdout")
                .hint("an empty stream is never a backup; check its arguments"));
        }
        let line = self.tail.trim_ascii_end();
        let line = line.rsplit(|byte| *byte == b'\n').next().unwrap_or(line);
        match &self.trailer {
            Some(trailer) if !trailer.is_match(line) => Err(program
                .error("exited with 0 but its output is incomplete: the last line does not match source.command.trailer")
                .hint("run the command by hand, and compare the end of its output with the pattern")),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Stream for Output {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let Some(program) = &mut self.program else {
            return Ok(None);
        };
        let chunk = program.read().await?;
        if !chunk.is_empty() {
            self.bytes += chunk.len() as u64;
            self.keep_tail(&chunk);
            return Ok(Some(chunk));
        }
        program.end().await?;
        if let Some(program) = self.program.take() {
            self.check_end(&program)?;
        }
        Ok(None)
    }

    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }

    async fn stop(self: Box<Self>) {
        if let Some(program) = self.program {
            program.stop().await;
        }
    }
}

/// The stdin of a program.
struct Input(Program);

#[async_trait]
impl Sink for Input {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.0.write(&chunk).await
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        self.0.end().await
    }

    async fn stop(self: Box<Self>) {
        // Before its stdin is closed: it must not take the end of the stream for that of the backup.
        self.0.stop().await;
    }
}
