//! Rotation of drills: how rows are loaded, how durable the scratch server is, and when the binary log is drilled.
//!
//! Every Nth drill uses the plain client, and every Nth one the target's durability; of the drills of the binary log,
//! every Nth one uses the plain client. A failed attempt also counts as a turn: otherwise ordinary drills would stop
//! after the first failure of a special one. After an aborted drill of a backup, possibly because of its settings, the
//! next one is an ordinary one.

use jiff::Timestamp;

use crate::catalog::Catalog;
use crate::cli::args::{PathArg, ProfileArg, VerifyArgs};
use crate::layout::{DrillLevel, DrillVerdict};
use crate::monitor::report::model::{DrillReport, LoadPath, Profile};
use crate::verify::DrillConfig;
use crate::verify::scratch::Choice;

/// The settings due for the next drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rotation {
    /// Whether to load with the plain client.
    client: bool,
    /// Whether to use the target's durability.
    production: bool,
    /// Whether to continue with a drill of the binary log.
    log: bool,
}

impl Rotation {
    /// The settings due after the past drills, given newest first.
    pub(super) fn of(config: &DrillConfig, catalog: &Catalog, past: &[DrillReport]) -> Rotation {
        let drills = catalog.drills();
        let mut drills = drills.iter().map(|(_, name)| name);
        let last = drills.find(|name| name.level == DrillLevel::Restore);
        let broke_off = last.is_some_and(|name| name.verdict == DrillVerdict::Broken);
        let all = catalog.drills();
        let last_of_log = all.iter().find(|(_, name)| name.level == DrillLevel::Pitr);
        let last_of_log = last_of_log.map(|(_, name)| name.time);
        Rotation {
            log: log_is_due(config.pitr_every, past, last_of_log),
            ..Rotation::after(config, past, broke_off)
        }
    }

    fn after(config: &DrillConfig, past: &[DrillReport], broke_off: bool) -> Rotation {
        Rotation {
            client: !broke_off && is_due(config.client_path_every, past, by_client),
            production: !broke_off
                && is_due(config.production_every, past, |report| {
                    let scratch = report.scratch.as_ref();
                    scratch.is_some_and(|scratch| scratch.profile == Profile::Production)
                }),
            log: false,
        }
    }

    /// Whether a drill of the binary log is due behind the next one.
    pub(super) fn log_is_due(self) -> bool {
        self.log
    }

    /// The settings of a drill of the binary log after the past ones: as fast as possible unless requested otherwise.
    pub(super) fn of_log(
        config: &DrillConfig,
        past: &[DrillReport],
        args: &VerifyArgs,
        scratch: &Choice,
    ) -> (LoadPath, Profile) {
        let of_log = Rotation {
            client: is_due(config.client_path_every, past, by_client),
            production: false,
            log: false,
        };
        of_log.choose(args, scratch)
    }

    /// The settings requested on the command line, else those due.
    pub(super) fn choose(self, args: &VerifyArgs, scratch: &Choice) -> (LoadPath, Profile) {
        let profile = match (args.scratch_profile, scratch) {
            (_, Choice::External(_)) => Profile::AsIs,
            (Some(ProfileArg::Production), _) => Profile::Production,
            (Some(ProfileArg::Relaxed), _) => Profile::Relaxed,
            // The plain client yields no RTO figure, so the production profile waits for the next drill.
            (None, _) if self.production && (!self.client || args.path.is_some()) => {
                Profile::Production
            }
            (None, _) => Profile::Relaxed,
        };
        let path = match args.path {
            Some(PathArg::Client) => LoadPath::Client,
            Some(PathArg::Lanes) => LoadPath::Lanes,
            None if self.client && args.scratch_profile.is_none() => LoadPath::Client,
            None => LoadPath::Lanes,
        };
        (path, profile)
    }
}

/// Whether none of the last drills was such a one, so that the next one is.
fn is_due(every: u32, past: &[DrillReport], is_it: impl Fn(&DrillReport) -> bool) -> bool {
    let before = every.saturating_sub(1) as usize;
    every > 0 && past.len() >= before && !past.iter().take(before).any(is_it)
}

fn by_client(report: &DrillReport) -> bool {
    report.path == Some(LoadPath::Client)
}

/// Whether the drill that follows the past ones is the Nth since the last one of the binary log, whatever became of
/// that.
fn log_is_due(every: u32, past: &[DrillReport], last: Option<Timestamp>) -> bool {
    let since = past.iter().filter(|report| Some(report.ended_at) > last);
    every > 0 && since.count() + 1 >= every as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::monitor::status_fixture::drill;

    const USUAL: Rotation = Rotation {
        client: false,
        production: false,
        log: false,
    };

    /// Every third drill uses the plain client, every fourth the target's durability.
    fn after(past: &[DrillReport], broke_off: bool) -> Rotation {
        let config = DrillConfig {
            client_path_every: 3,
            production_every: 4,
            ..Config::example().verify.drill
        };
        Rotation::after(&config, past, broke_off)
    }

    fn drilled(path: LoadPath, profile: Profile, verdict: DrillVerdict) -> DrillReport {
        let mut report = drill(5, profile, verdict, 100.0).report.unwrap();
        report.path = Some(path);
        report
    }

    fn usual() -> DrillReport {
        drilled(LoadPath::Lanes, Profile::Relaxed, DrillVerdict::Pass)
    }

    #[test]
    fn a_setting_without_a_recent_drill_is_due() {
        assert_eq!(after(&[usual()], false), USUAL);
        let client = Rotation {
            client: true,
            ..USUAL
        };
        assert_eq!(after(&[usual(), usual()], false), client);
        let both = Rotation {
            client: true,
            production: true,
            log: false,
        };
        assert_eq!(after(&[usual(), usual(), usual()], false), both);
    }

    #[test]
    fn a_failed_drill_counts_as_a_turn() {
        for verdict in [DrillVerdict::Fail, DrillVerdict::Missed] {
            let client = drilled(LoadPath::Client, Profile::Relaxed, verdict);
            assert!(!after(&[client, usual(), usual()], false).client);
            let production = drilled(LoadPath::Lanes, Profile::Production, verdict);
            assert!(!after(&[production, usual(), usual()], false).production);
        }
    }

    #[test]
    fn the_binary_log_is_due_behind_every_nth_drill() {
        let at = |minute: i64| {
            let mut report = usual();
            report.ended_at = Timestamp::from_second(minute * 60).unwrap();
            report
        };
        let last = |minute: i64| Some(Timestamp::from_second(minute * 60).unwrap());
        let past = [at(5), at(4), at(3)];
        assert!(log_is_due(4, &past, None) && !log_is_due(5, &past, None));
        assert!(log_is_due(3, &past, last(3)) && !log_is_due(3, &past, last(4)));
        assert!(log_is_due(1, &[], None) && !log_is_due(0, &past, None));
    }

    #[test]
    fn an_ordinary_drill_follows_one_that_broke_off() {
        assert_eq!(after(&[usual(), usual(), usual()], true), USUAL);
    }
}
