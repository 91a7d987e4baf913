//! Whose turn it is: which way the rows take, and how durable the scratch server is.
//!
//! Every Nth drill is one through the plain client, and every Nth one with the target's durability. What
//! was tried has had its turn, also where it failed: else the usual drills would end with the first
//! failure of another. After a drill that broke off, which may have failed at just that, the next one is
//! a usual one.

use crate::catalog::Catalog;
use crate::cli::{PathArg, ProfileArg, VerifyArgs};
use crate::drill::DrillConfig;
use crate::drill::scratch::Choice;
use crate::report::model::{DrillReport, LoadPath, Profile};
use crate::store::keys::{DrillLevel, DrillVerdict};

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    /// The plain client.
    client: bool,
    /// The target's durability.
    production: bool,
}

impl Turn {
    /// After the last drills, newest first.
    pub(super) fn of(config: &DrillConfig, catalog: &Catalog, past: &[DrillReport]) -> Turn {
        let drills = catalog.drills();
        let mut drills = drills.iter().map(|(_, name)| name);
        let last = drills.find(|name| name.level == DrillLevel::Restore);
        let broke_off = last.is_some_and(|name| name.verdict == DrillVerdict::Broken);
        Turn::after(config, past, broke_off)
    }

    fn after(config: &DrillConfig, past: &[DrillReport], broke_off: bool) -> Turn {
        let is_due = |every: u32, is_it: &dyn Fn(&DrillReport) -> bool| {
            let before = every.saturating_sub(1) as usize;
            let had_it = past.iter().take(before).any(is_it);
            every > 0 && past.len() >= before && !had_it && !broke_off
        };
        Turn {
            client: is_due(config.client_path_every, &|report| {
                report.path == Some(LoadPath::Client)
            }),
            production: is_due(config.production_every, &|report| {
                let scratch = report.scratch.as_ref();
                scratch.is_some_and(|scratch| scratch.profile == Profile::Production)
            }),
        }
    }

    /// What was asked for, else what is due.
    pub(super) fn choose(self, args: &VerifyArgs, scratch: &Choice) -> (LoadPath, Profile) {
        let profile = match (args.scratch_profile, scratch) {
            (_, Choice::Given(_)) => Profile::AsIs,
            (Some(ProfileArg::Production), _) => Profile::Production,
            (Some(ProfileArg::Relaxed), _) => Profile::Relaxed,
            // A figure of the plain client would be no RTO: then production's turn comes next time.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::report::status_fixture::drill;

    const USUAL: Turn = Turn {
        client: false,
        production: false,
    };

    /// Every third drill is one through the client, and every fourth one with the target's durability.
    fn after(past: &[DrillReport], broke_off: bool) -> Turn {
        let config = DrillConfig {
            client_path_every: 3,
            production_every: 4,
            ..Config::example().verify.drill
        };
        Turn::after(&config, past, broke_off)
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
    fn what_was_not_drilled_for_so_long_is_due() {
        assert_eq!(after(&[usual()], false), USUAL);
        let client = Turn {
            client: true,
            ..USUAL
        };
        assert_eq!(after(&[usual(), usual()], false), client);
        let both = Turn {
            client: true,
            production: true,
        };
        assert_eq!(after(&[usual(), usual(), usual()], false), both);
    }

    #[test]
    fn what_failed_has_had_its_turn() {
        for verdict in [DrillVerdict::Fail, DrillVerdict::Missed] {
            let client = drilled(LoadPath::Client, Profile::Relaxed, verdict);
            assert!(!after(&[client, usual(), usual()], false).client);
            let production = drilled(LoadPath::Lanes, Profile::Production, verdict);
            assert!(!after(&[production, usual(), usual()], false).production);
        }
    }

    #[test]
    fn after_one_that_broke_off_comes_a_usual_one() {
        assert_eq!(after(&[usual(), usual(), usual()], true), USUAL);
    }
}
