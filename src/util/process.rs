//! A process of a machine, as others can recognise it: whether the holder of a lease on the same machine still runs.

use std::fs;

use serde::{Deserialize, Serialize};

/// A process of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Of the machine since it was booted.
    pub boot: String,
    /// PID namespace.
    pub namespace: String,
    /// Its id in the namespace.
    pub pid: u32,
    /// When it started, in clock ticks since the boot.
    pub started: String,
}

impl Process {
    /// This process; `None` where /proc does not say.
    pub fn own() -> Option<Process> {
        let pid = std::process::id();
        Some(Process {
            boot: boot()?,
            namespace: namespace()?,
            pid,
            started: started(pid)?,
        })
    }

    /// Whether it is, or was, one of this machine since it was booted.
    pub fn is_of_this_machine(&self) -> bool {
        (Some(&self.boot), Some(&self.namespace)) == (boot().as_ref(), namespace().as_ref())
    }

    /// Whether it has not ended; only of this machine.
    pub fn is_alive(&self) -> bool {
        started(self.pid).as_ref() == Some(&self.started)
    }
}

fn boot() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

fn namespace() -> Option<String> {
    let link = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(link.display().to_string())
}

/// When a process started; `None` if it does not exist, or has ended and was not waited for.
fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program may contain blanks and parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let is_dead = matches!(fields.first(), Some(&("Z" | "X")));
    fields
        .get(19)
        .filter(|_| !is_dead)
        .map(|ticks| (*ticks).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_another_of_its_number() {
        let own = Process::own().unwrap();
        assert!(own.is_of_this_machine() && own.is_alive());
        let other = Process {
            started: "1".into(),
            ..own.clone()
        };
        assert!(!other.is_alive());
        let elsewhere = Process {
            boot: "x".into(),
            ..own
        };
        assert!(!elsewhere.is_of_this_machine());
    }
}
