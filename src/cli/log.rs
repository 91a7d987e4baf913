//! `drctl log`: the archived binary log: covered stretches, gaps, statements.

use jiff::Timestamp;
use serde::Serialize;

use crate::binlog::record::{LoggedStatement, Reason};
use crate::cli::Context;
use crate::cli::args::LogArgs;
use crate::cli::output::text;
use crate::layout::{LogFile, TimelineId};
use crate::stream::check;
use crate::stream::coverage::{self, Stretch};
use crate::stream::objects::{Objects, TimelineObjects};
use crate::stream::read;
use crate::util::error::Result;
use crate::util::format::Output;

/// `log --output json`.
#[derive(Debug, Serialize)]
struct Log {
    /// Unbroken stretches of the log, oldest first.
    timelines: Vec<Timeline>,
    /// Statements, oldest first; `None` unless they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    statements: Option<Vec<LoggedStatement>>,
    /// Statements that the records have no room for, and that only the log itself shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    more_statements: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Timeline {
    id: TimelineId,
    /// Why it began.
    reason: Reason,
    /// The server.
    server: String,
    version: String,
    /// When every commit is archived.
    covered: Vec<Span>,
    /// What is not archived before it.
    gaps: Vec<Missing>,
    /// Whether nothing is missing since the timeline before.
    continues: bool,
    /// Its first file.
    first_file: LogFile,
    /// Its last file, and the position in it up to which it is archived.
    last_file: LogFile,
    position: u64,
    /// All transactions up to there, where known.
    gtid_set: Option<String>,
    segments: usize,
    stored_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Span {
    from: Timestamp,
    to: Timestamp,
}

#[derive(Debug, Serialize)]
struct Missing {
    from: Timestamp,
    to: Timestamp,
    missing: String,
}

/// Prints what is archived; a damaged log makes the command fail with exit code 6.
pub async fn run(context: &Context, args: LogArgs) -> Result<()> {
    let objects = Objects::list(context.store.clone(), context.config.target.clone());
    let objects = context.cancel.unless(objects).await?;
    let stretches = context.cancel.unless(coverage::stretches(&objects)).await?;
    let wants_statements = args.statements || args.grep.is_some() || args.since.is_some();
    if wants_statements {
        objects.check_readable()?;
    }
    let (statements, more) = match wants_statements {
        false => (None, None),
        true => {
            let found = statements(&objects, &stretches, &args);
            let (found, more) = context.cancel.unless(found).await?;
            (Some(found), Some(more))
        }
    };
    let log = Log {
        timelines: timelines(&objects, &stretches),
        statements,
        more_statements: more,
    };
    if args.check {
        context.cancel.unless(check::check(&objects)).await?;
    }
    match context.output {
        Output::Json => text::json(&log),
        Output::Text if log.timelines.is_empty() => text::print(&format!(
            "no binary log of {} in {}; archive it with drctl stream\n",
            context.config.target,
            context.store.location()
        )),
        Output::Text => text::print(&page(&log)),
    }
}

fn timelines(objects: &Objects, stretches: &[Stretch]) -> Vec<Timeline> {
    let befores = std::iter::once(None).chain(stretches.iter().map(Some));
    let timeline = |(stretch, before): (&Stretch, Option<&Stretch>)| {
        let gap = stretch.gap_after(before);
        let timeline = &stretch.timeline;
        let listed = objects.timelines.get(&timeline.id);
        Timeline {
            id: timeline.id,
            reason: timeline.reason,
            server: timeline.server.clone(),
            version: timeline.version.clone(),
            covered: vec![Span {
                from: stretch.from,
                to: stretch.to,
            }],
            gaps: gap
                .into_iter()
                .map(|gap| Missing {
                    from: gap.from,
                    to: gap.to,
                    missing: gap.missing,
                })
                .collect(),
            continues: timeline.continues,
            first_file: stretch.first_file.clone(),
            last_file: stretch.last_file.clone(),
            position: stretch.log_pos,
            gtid_set: stretch.gtid_set.clone(),
            segments: listed.map_or(0, TimelineObjects::segments),
            stored_bytes: listed.map_or(0, TimelineObjects::bytes),
        }
    };
    stretches.iter().zip(befores).map(timeline).collect()
}

/// The statements that were asked for, and how many the records leave out.
async fn statements(
    objects: &Objects,
    stretches: &[Stretch],
    args: &LogArgs,
) -> Result<(Vec<LoggedStatement>, u64)> {
    let (mut found, mut more) = (Vec::new(), 0);
    for stretch in stretches {
        let id = stretch.timeline.id;
        let files = objects
            .timelines
            .get(&id)
            .map(|timeline| timeline.files.keys());
        for file in files.into_iter().flatten() {
            for record in read::records_of(objects, id, file).await? {
                let contents = record.contents;
                more += contents.more_statements;
                found.extend(
                    contents
                        .statements
                        .into_iter()
                        .filter(|one| fits(one, args)),
                );
            }
        }
    }
    Ok((found, more))
}

fn fits(statement: &LoggedStatement, args: &LogArgs) -> bool {
    let late = args.since.is_none_or(|since| statement.at >= since);
    let text = format!(
        "{} {} {}",
        statement.kind,
        statement.objects.join(" "),
        statement.sql.as_deref().unwrap_or_default()
    );
    late && args
        .grep
        .as_ref()
        .is_none_or(|pattern| pattern.is_match(&text))
}

fn page(log: &Log) -> String {
    let rows: Vec<Vec<String>> = log.timelines.iter().map(row).collect();
    let headings = [
        "TIMELINE",
        "WHY",
        "FROM",
        "TO",
        "END",
        ">SEGMENTS",
        ">STORED",
    ];
    let mut page = text::table(&headings, &rows);
    for timeline in &log.timelines {
        for gap in &timeline.gaps {
            page.push_str(&format!(
                "\ngap before {}: from {} to {}: {}\n",
                timeline.id,
                shown(gap.from),
                shown(gap.to),
                gap.missing
            ));
        }
    }
    let Some(statements) = &log.statements else {
        return page;
    };
    page.push('\n');
    let rows: Vec<Vec<String>> = statements.iter().map(statement).collect();
    page.push_str(&text::table(
        &["COMMITTED", "GTID", "STATEMENT", "OBJECTS"],
        &rows,
    ));
    if let Some(more @ 1..) = log.more_statements {
        page.push_str(&format!("{more} more stand only in the log itself\n"));
    }
    page
}

fn row(timeline: &Timeline) -> Vec<String> {
    let span = timeline.covered.first();
    let time = |of: fn(&Span) -> Timestamp| span.map_or(String::new(), |span| shown(of(span)));
    vec![
        timeline.id.to_string(),
        timeline.reason.to_string(),
        time(|span| span.from),
        time(|span| span.to),
        format!("{}:{}", timeline.last_file, timeline.position),
        text::count(timeline.segments as u64),
        text::bytes(timeline.stored_bytes),
    ]
}

fn statement(statement: &LoggedStatement) -> Vec<String> {
    vec![
        shown(statement.at),
        statement.gtid.clone().unwrap_or_default(),
        statement.kind.clone(),
        statement.objects.join(" "),
    ]
}

fn shown(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
