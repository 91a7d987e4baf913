//! A connection that stays open beside a run: it holds locks, keeps transactions, writes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use super::server::Server;

/// Printed after each answer; nothing that a test would select.
const END_OF_ANSWER: &str = "-- end of answer --";

/// One client process with one connection. It ends at its first failed statement, or when dropped.
#[derive(Debug)]
pub struct Session {
    /// The client.
    child: Child,
    /// Where its SQL goes.
    input: Option<ChildStdin>,
    /// Where its rows come from.
    output: BufReader<ChildStdout>,
}

impl Session {
    pub(super) fn open(server: &Server) -> Session {
        let mut child = server
            .client_command()
            .args(["--unbuffered", "--quick"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the client runs");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut session = Session {
            child,
            input,
            output,
        };
        session.run("DO 0");
        session
    }

    /// Sends statements without waiting for what they do: for those that are to block.
    #[track_caller]
    pub fn send(&mut self, sql: &str) {
        let input = self.input.as_mut().expect("open until dropped");
        write!(input, "{sql};\nSELECT '{END_OF_ANSWER}';\n")
            .and_then(|()| input.flush())
            .unwrap_or_else(|error| panic!("the session has ended ({error}); at: {sql}"));
    }

    /// Waits for the answer to the oldest [`Session::send`] not yet answered.
    #[track_caller]
    pub fn answer(&mut self) -> String {
        let mut answer = String::new();
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).expect("rows are UTF-8");
            if read == 0 {
                let mut complaint = String::new();
                if let Some(mut stderr) = self.child.stderr.take() {
                    let _ = stderr.read_to_string(&mut complaint);
                }
                panic!("the session has ended: {}", complaint.trim());
            }
            if line.trim_end() == END_OF_ANSWER {
                return answer;
            }
            answer.push_str(&line);
        }
    }

    /// Runs statements that have to succeed, and says what they printed.
    #[track_caller]
    pub fn run(&mut self, sql: &str) -> String {
        self.send(sql);
        self.answer()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
