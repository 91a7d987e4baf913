//! Schedules run when Kubernetes would run them: held against its own parser, a Go program of the lab.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use drctl::objectives::schedule::{Schedule, zone};
use jiff::Timestamp;
use proptest::prelude::*;

use crate::need;
use crate::support::lab;

/// Zones with summer time on either half of the globe, with offsets that are no whole hours, and
/// without summer time.
const ZONES: [&str; 7] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Asia/Tokyo",
    "Australia/Sydney",
];

/// The Go program, asked by one test at a time.
struct Kubernetes {
    /// Ends with this process.
    _child: Child,
    /// Takes questions.
    questions: ChildStdin,
    /// Gives answers.
    answers: BufReader<ChildStdout>,
}

/// What it says of a schedule: the next runs, in seconds, or why it is none.
fn kubernetes(text: &str, zone: &str, after: i64, count: usize) -> Result<Vec<i64>, String> {
    static PROGRAM: LazyLock<Mutex<Kubernetes>> = LazyLock::new(|| {
        let mut command = lab::tied(lab::root().join("bin/kubernetes-cron"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = lab::spawn(command).expect("the program starts");
        Mutex::new(Kubernetes {
            questions: child.stdin.take().expect("a pipe"),
            answers: BufReader::new(child.stdout.take().expect("a pipe")),
            _child: child,
        })
    });
    let mut program = PROGRAM.lock().unwrap_or_else(PoisonError::into_inner);
    let question = format!("{text}\t{zone}\t{after}\t{count}\n");
    program
        .questions
        .write_all(question.as_bytes())
        .expect("it listens");
    let mut answer = String::new();
    program.answers.read_line(&mut answer).expect("it answers");
    match answer.trim() {
        "never" => Ok(Vec::new()),
        answer => match answer.strip_prefix("no: ") {
            Some(why) => Err(why.to_owned()),
            None => Ok(answer
                .split(' ')
                .map(|run| run.parse().expect("seconds"))
                .collect()),
        },
    }
}

/// What we say of it.
fn ours(text: &str, zone_name: &str, after: i64, count: usize) -> Result<Vec<i64>, String> {
    let zone = zone(zone_name).expect("a zone");
    let schedule = Schedule::parse(text, zone).map_err(|error| error.to_string())?;
    let runs = schedule.runs(Timestamp::from_second(after).expect("a time"));
    Ok(runs.take(count).map(Timestamp::as_second).collect())
}

/// A field of what lies between `min` and `max`: numbers, ranges, steps, lists, stars.
fn field(min: u8, max: u8) -> BoxedStrategy<String> {
    let range = (min..=max, min..=max).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b)));
    let one = prop_oneof![
        4 => (min..=max).prop_map(|n| n.to_string()),
        2 => range.clone(),
        1 => (range, 1..=12u8).prop_map(|(range, step)| format!("{range}/{step}")),
        1 => (min..=max, 1..=20u8).prop_map(|(n, step)| format!("{n}/{step}")),
        1 => (1..=20u8).prop_map(|step| format!("*/{step}")),
    ];
    prop_oneof![
        2 => Just("*".to_owned()),
        1 => Just("?".to_owned()),
        6 => proptest::collection::vec(one, 1..4).prop_map(|list| list.join(",")),
    ]
    .boxed()
}

fn five_fields() -> impl Strategy<Value = String> {
    let names = prop_oneof![
        Just("mon-fri"),
        Just("SUN"),
        Just("tue,Sat"),
        Just("sun-sat/3")
    ];
    let day_of_week = prop_oneof![4 => field(0, 6), 1 => names.prop_map(str::to_owned)];
    let month = prop_oneof![
        3 => Just("*".to_owned()),
        2 => field(1, 12),
        1 => Just("jan,MAR-jul".to_owned()),
    ];
    (field(0, 59), field(0, 23), field(1, 31), month, day_of_week)
        .prop_map(|(m, h, dom, month, dow)| format!("{m} {h} {dom} {month} {dow}"))
}

/// Seconds of 2024 to 2031; half of them shortly before a change of some zone's offset.
fn moments() -> impl Strategy<Value = i64> {
    const BEGIN: i64 = 1_704_067_200;
    let changes: Vec<i64> = ZONES
        .iter()
        .flat_map(|name| {
            let from = Timestamp::from_second(BEGIN).expect("a time");
            let until = from + jiff::SignedDuration::from_hours(7 * 365 * 24);
            let zone = zone(name).expect("a zone");
            let of_zone: Vec<i64> = zone
                .following(from)
                .map(|change| change.timestamp())
                .take_while(|at| *at < until)
                .map(Timestamp::as_second)
                .collect();
            of_zone
        })
        .collect();
    prop_oneof![
        BEGIN..BEGIN + 7 * 365 * 86_400,
        (proptest::sample::select(changes), 0..200_000i64)
            .prop_map(|(change, before)| change - before),
    ]
}

#[test]
fn a_schedule_runs_when_kubernetes_runs_it() {
    need!(Cron);
    agree();
}

/// Text that is nearly a schedule is one to both, or to neither.
#[test]
fn what_is_no_schedule_to_kubernetes_is_none_here() {
    need!(Cron);
    let mut refused = 0;
    for text in [
        "",
        "*",
        "* * * *",
        "* * * * * *",
        "0 2 * * *",
        " 0  2 * * * ",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 0 *",
        "* * * 13 *",
        "* * * * 7",
        "* * * * -1",
        "*/0 * * * *",
        "*/70 * * * *",
        "5-1 * * * *",
        "1-2-3 * * * *",
        "1/2/3 * * * *",
        "a * * * *",
        "1, * * * *",
        "1,,2 * * * *",
        "* * * jan-mar *",
        "* * * january *",
        "* * * * MON",
        "mon * * * *",
        "* * * * mon,wed-fri",
        "* * * * fri-mon",
        "*-5 * * * *",
        "?/5 * * * *",
        "0x5 * * * *",
        "1.5 * * * *",
        "@daily",
        "@midnight",
        "@hourly",
        "@weekly",
        "@monthly",
        "@yearly",
        "@annually",
        "@Daily",
        "@reboot",
        "@every 1h",
        "@every 1h30m10s",
        "@every 90m",
        "@every x",
        "@every",
        "@every -1h",
        "TZ=UTC 0 2 * * *",
        "CRON_TZ=UTC 0 2 * * *",
        "0 2 * * * # night",
    ] {
        // A span of time below nothing is one second to them, and a mistake to us.
        if text == "@every -1h" {
            assert!(ours(text, "UTC", 1_790_000_000, 3).is_err());
            continue;
        }
        let theirs = kubernetes(text, "UTC", 1_790_000_000, 3);
        let ours = ours(text, "UTC", 1_790_000_000, 3);
        refused += usize::from(ours.is_err());
        assert_eq!(ours.ok(), theirs.ok(), "{text:?}");
    }
    assert!(refused > 20, "{refused}");
}

/// Theirs steps by whole hours and days, and so over runs in zones whose clocks change at midnight or in
/// the midst of an hour. A run that is lost there is noticed by its own gap; a schedule is not
/// judged by it.
#[test]
fn where_clocks_change_oddly_kubernetes_loses_runs_that_the_schedule_has() {
    need!(Cron);
    for (text, zone, after, run) in [
        // Friday, 26 April 2024: 00:00 was 01:00 at once.
        (
            "30 12 * * fri",
            "Africa/Cairo",
            1_714_082_398,
            1_714_123_800,
        ),
        // The second of two times 03:44, with 03:45 set back to 02:45.
        (
            "44 3 * * *",
            "Pacific/Chatham",
            1_712_411_940,
            1_712_415_540,
        ),
        // The day after clocks were set back by half an hour.
        (
            "0 0 * * *",
            "Australia/Lord_Howe",
            1_743_858_000,
            1_743_946_200,
        ),
    ] {
        assert_eq!(ours(text, zone, after, 1).unwrap(), [run], "{text}");
        assert!(kubernetes(text, zone, after, 1).unwrap()[0] > run, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..Default::default() })]

    fn agree(
        text in five_fields(), zone in proptest::sample::select(&ZONES[..]), after in moments(),
    ) {
        let theirs = kubernetes(&text, zone, after, 40).expect("it is a schedule");
        match ours(&text, zone, after, 40) {
            Ok(ours) => prop_assert_eq!(ours, theirs, "{} in {}", text, zone),
            Err(why) => prop_assert!(theirs.is_empty(), "{}: {}", why, text),
        }
    }
}
