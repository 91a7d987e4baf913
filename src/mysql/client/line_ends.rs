//! Line ends that dump programs omit after stored programs.
//!
//! A server does not store the line end after the body of a stored program, and mysqldump, like MariaDB's program up to
//! 11.4.5 at least, writes the delimiter on the last line of the body. If that line has a comment (`# …`, `-- …`), the
//! delimiter becomes part of the comment, and no client finds the end of the statement. Later programs of MariaDB write a
//! line end; where there is none, it is inserted here.
//!
//! The places are not derived from the dump, since a body may contain any text: the full statements of such programs are
//! read from the server, and the line end is inserted where exactly this text precedes the delimiter. The server removes
//! it again, so the restored program is the same.

use std::sync::Arc;

use bytes::{Buf, BufMut, BytesMut};
use mysql_async::Row;

use crate::Result;
use crate::mysql::Connection;
use crate::mysql::connect::server_code;
use crate::sql::lex::{Lexer, Stop};
use crate::sql::statement::{ObjectId, ObjectKind};
use crate::sql::tokens::{Token, Tokens};

/// End of a stored program in a dump; rare in rows, which contain line ends as `\n`.
const END: &[u8] = b";;\n";

/// A statement, as it ends in a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ending {
    /// The statement with its delimiter and line end.
    text: Vec<u8>,
    /// Number of bytes after the statement.
    after: usize,
}

/// The statements in the dump of a server that need a line end.
#[derive(Debug, Clone, Default)]
pub struct LineEnds(Arc<[Ending]>);

impl LineEnds {
    /// Reads them from a server.
    pub async fn of(connection: &mut Connection) -> Result<LineEnds> {
        let found: Vec<(String, String, String, String)> = connection
            .rows(
                "SELECT 'TRIGGER', trigger_schema, trigger_name, sql_mode FROM information_schema.triggers \
                 WHERE action_statement LIKE '%#%' OR action_statement LIKE '%--%' \
                 UNION ALL SELECT routine_type, routine_schema, routine_name, sql_mode \
                 FROM information_schema.routines WHERE routine_body = 'SQL' AND routine_schema <> 'sys' \
                 AND (routine_definition LIKE '%#%' OR routine_definition LIKE '%--%') \
                 UNION ALL SELECT 'EVENT', event_schema, event_name, sql_mode FROM information_schema.events \
                 WHERE event_definition LIKE '%#%' OR event_definition LIKE '%--%'",
            )
            .await?;
        let programs = found.into_iter().map(|(noun, schema, name, mode)| {
            let kind = match noun.as_str() {
                "TRIGGER" => ObjectKind::Trigger,
                "PROCEDURE" => ObjectKind::Procedure,
                "FUNCTION" => ObjectKind::Function,
                "PACKAGE" => ObjectKind::Package,
                "PACKAGE BODY" => ObjectKind::PackageBody,
                _ => ObjectKind::Event,
            };
            (ObjectId::new(kind, schema, name), mode)
        });
        let mut all = Vec::new();
        for (program, mode, sql) in statements(connection, programs.collect()).await? {
            let kind = program.kind;
            if !is_terminated(kind, &sql, b"", &mode) && is_terminated(kind, &sql, b"\n", &mode) {
                all.extend(Ending::of(kind, &sql));
            }
        }
        Ok(LineEnds(all.into()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Ending {
    /// The form in which mysqldump writes the statement `sql` of the server.
    fn of(kind: ObjectKind, sql: &[u8]) -> Option<Ending> {
        // Triggers and events are in conditional comments.
        let (before, after): (&[u8], &[u8]) = match kind {
            ObjectKind::Trigger => (b"*/ /*!50003", b" */;;\n"),
            ObjectKind::Event => (b"*/ /*!50106", b" */ ;;\n"),
            _ => {
                let text = [sql, b" ;;\n"].concat();
                return Some(Ending { text, after: 4 });
            }
        };
        let mut tokens = Tokens::new(sql);
        let head = tokens.eat_all(&["CREATE", "DEFINER"]) && tokens.eat_mark(b'=');
        let user = matches!(tokens.next(), Some(Token::Name(_)));
        let host = tokens.eat_mark(b'@') && matches!(tokens.next(), Some(Token::Name(_)));
        (head && user && host).then(|| Ending {
            text: [before, tokens.rest(), after].concat(),
            after: after.len(),
        })
    }
}

/// Character sets in which a character may contain the byte of a backslash or a backquote. A dump has the text of a stored
/// program in the character set of the client that created it, and a client that reads the dump, as utf8mb4, takes these
/// bytes for themselves.
const AMBIGUOUS: [&str; 5] = ["big5", "cp932", "gb18030", "gbk", "sjis"];

/// Whether a client may not find the end of a stored program with this body, created by a client with this character set.
/// In the bodies of information_schema, which are in UTF-8, literals are not escaped, so only the presence of certain
/// characters is known.
pub fn may_be_misread(body: &[u8], charset: &str) -> bool {
    let signs: [&[u8]; 6] = [b"#", b"--", b"/*", b"*/", b";;", b"\\"];
    let contains = |sign: &&[u8]| memchr::memmem::find(body, sign).is_some();
    AMBIGUOUS.contains(&charset) || signs.iter().any(contains)
}

/// The stored programs, given with their `sql_mode`, whose end no client would find in a dump.
pub async fn unterminated(
    connection: &mut Connection,
    programs: Vec<(ObjectId, String)>,
) -> Result<Vec<ObjectId>> {
    let shown = statements(connection, programs).await?;
    let unterminated = shown
        .into_iter()
        .filter(|(program, mode, sql)| !is_terminated(program.kind, sql, b"\n", mode));
    Ok(unterminated.map(|(program, ..)| program).collect())
}

/// The SHOW CREATE statements of stored programs, as raw bytes, like a dump reads them. Missing or denied programs, which
/// other checks report, are left out.
async fn statements(
    connection: &mut Connection,
    programs: Vec<(ObjectId, String)>,
) -> Result<Vec<(ObjectId, String, Vec<u8>)>> {
    if programs.is_empty() {
        return Ok(Vec::new());
    }
    connection
        .run("SET SESSION character_set_results = 'binary'")
        .await?;
    let mut all = Vec::new();
    for (program, mode) in programs {
        let (noun, column) = match program.kind {
            ObjectKind::Trigger => ("TRIGGER", 2),
            ObjectKind::Event => ("EVENT", 3),
            ObjectKind::Function => ("FUNCTION", 2),
            ObjectKind::Package => ("PACKAGE", 2),
            ObjectKind::PackageBody => ("PACKAGE BODY", 2),
            _ => ("PROCEDURE", 2),
        };
        let show = format!("SHOW CREATE {noun} {}", program.quoted());
        let shown = match connection.row::<Row>(&show).await {
            Err(error) if server_code(&error).is_some() => None,
            shown => shown?,
        };
        let sql = shown.and_then(|row| row.get_opt::<Option<Vec<u8>>, _>(column)?.ok()?);
        all.extend(sql.map(|sql| (program, mode, sql)));
    }
    connection
        .run("SET SESSION character_set_results = 'utf8mb4'")
        .await?;
    Ok(all)
}

/// Whether the dump of a stored program with this text, followed by `line_end`, ends with the program: for a client, which
/// parses comments within a conditional comment differently, and for the server, which parses the body itself.
pub fn is_terminated(kind: ObjectKind, body: &[u8], line_end: &[u8], sql_mode: &str) -> bool {
    ends(kind, body, line_end, sql_mode) && ends(ObjectKind::Procedure, body, line_end, sql_mode)
}

fn ends(kind: ObjectKind, body: &[u8], line_end: &[u8], sql_mode: &str) -> bool {
    let (head, tail): (&[u8], &[u8]) = match kind {
        ObjectKind::Trigger | ObjectKind::Event => (b"/*!50003 x ", b" */"),
        _ => (b"x ", b" "),
    };
    let mut text = [head, body, line_end, tail].concat();
    let end = text.len();
    text.extend_from_slice(END);
    let escapes = !sql_mode.contains("NO_BACKSLASH_ESCAPES");
    match Lexer::default().run(&text, b";;", escapes, true) {
        Stop::Delimiter(at) => at == end,
        Stop::More | Stop::Backslash(_) => false,
    }
}

/// Inserts line ends into a dump that arrives in chunks.
///
/// Memory: the longest of the statements, and the output that was not taken.
#[derive(Debug, Default)]
pub struct Inserter {
    ends: LineEnds,
    /// Length of the longest text of `ends`, bytes.
    longest: usize,
    /// Input that may be the start of a statement.
    held: BytesMut,
    /// Length of the part of `held` that has been searched.
    searched: usize,
    /// Output.
    ready: BytesMut,
}

impl Inserter {
    /// An inserter for these line ends.
    pub fn new(ends: LineEnds) -> Inserter {
        Inserter {
            longest: ends.0.iter().map(|end| end.text.len()).max().unwrap_or(0),
            ends,
            ..Inserter::default()
        }
    }

    /// Whether there is nothing to insert, so that the dump can bypass this.
    pub fn is_idle(&self) -> bool {
        self.ends.is_empty()
    }

    /// Buffer for the next bytes of the dump.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.held
    }

    /// Processes the input; `ended`: the input is complete.
    pub fn process(&mut self, ended: bool) {
        // The delimiter may have started in earlier input.
        let mut from = self.searched.saturating_sub(END.len() - 1);
        while let Some(found) = memchr::memmem::find(&self.held[from..], END) {
            let end = from + found + END.len();
            let mut endings = self.ends.0.iter();
            match endings.find(|one| self.held[..end].ends_with(&one.text)) {
                None => from = end,
                Some(Ending { after, .. }) => {
                    self.ready.put(self.held.split_to(end - after));
                    self.ready.put_u8(b'\n');
                    from = *after;
                }
            }
        }
        self.searched = self.held.len();
        let kept = if ended {
            0
        } else {
            self.longest.min(self.searched)
        };
        self.ready.put(self.held.split_to(self.searched - kept));
        self.searched = kept;
    }

    /// Moves output into the spare capacity of `buffer`, and returns its length.
    pub fn take(&mut self, buffer: &mut impl BufMut) -> usize {
        let count = self.ready.len().min(buffer.chunk_mut().len());
        buffer.put_slice(&self.ready[..count]);
        self.ready.advance(count);
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trigger(body: &str) -> String {
        format!("CREATE DEFINER=`a``b`@`%` TRIGGER `tr` BEFORE INSERT ON `t` FOR EACH ROW {body}")
    }

    fn inserted(ends: &LineEnds, dump: &str, chunk: usize) -> String {
        let (mut inserter, mut out) = (
            Inserter::new(ends.clone()),
            BytesMut::with_capacity(1 << 16),
        );
        for part in dump.as_bytes().chunks(chunk) {
            inserter.input().extend_from_slice(part);
            inserter.process(false);
            inserter.take(&mut out);
        }
        inserter.process(true);
        inserter.take(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn line_ends_are_inserted_with_chunks_of_any_size() {
        let body = "SET NEW.a = 1 # done";
        let routine = "CREATE DEFINER=`a`@`%` PROCEDURE `p`()\nSELECT 1 -- done";
        let ends = LineEnds(
            [
                Ending::of(ObjectKind::Trigger, trigger(body).as_bytes()).unwrap(),
                Ending::of(ObjectKind::Procedure, routine.as_bytes()).unwrap(),
            ]
            .into(),
        );
        let before = "INSERT INTO t VALUES ('x # done */;;\\n');\nDELIMITER ;;\n/*!50003 CREATE*/ /*!50017 DEFINER=`a``b`@`%`*/ \
                      /*!50003 TRIGGER `tr` BEFORE INSERT ON `t` FOR EACH ROW SET NEW.a = 1 # done";
        let between = "\nDELIMITER ;\nother # done */;;\nDELIMITER ;;\n";
        let dump = format!("{before} */;;{between}{routine} ;;\nDELIMITER ;\n");
        let expected = format!("{before}\n */;;{between}{routine}\n ;;\nDELIMITER ;\n");
        for chunk in 1..dump.len() {
            assert_eq!(inserted(&ends, &dump, chunk), expected, "{chunk}");
        }
        assert_eq!(inserted(&LineEnds::default(), &dump, 7), dump);
    }

    #[test]
    fn a_body_that_ends_in_a_line_comment_needs_a_line_end() {
        use ObjectKind::{Event, Function, Procedure, Trigger};
        for kind in [Trigger, Procedure, Function, Event] {
            let needs = |body: &str| {
                let back = |line_end: &[u8]| is_terminated(kind, body.as_bytes(), line_end, "");
                assert!(back(b"\n"), "{kind:?} {body}");
                !back(b"")
            };
            for body in [
                "SET NEW.a = 1 # done",
                "SET NEW.a = 1 -- done",
                "SET NEW.a = 1 --",
                "SET NEW.a = 1 -- it's `done`",
                "SELECT 1 /* it's */ # done",
                "SET @a = 1 /* ; */ + 2 # it's */",
            ] {
                assert!(needs(body), "{kind:?} {body}");
            }
            for body in [
                "SET NEW.a = 1",
                "SET NEW.a = 1 /* done */",
                "BEGIN -- it's begun\n SELECT 'a;;b', `c;;` # x\n; END",
                "SELECT 1--1",
                "SELECT '#', \"-- \"",
            ] {
                assert!(!needs(body), "{kind:?} {body}");
            }
        }
    }

    #[test]
    fn whether_a_body_is_terminated_depends_on_its_sql_mode() {
        let back =
            |body: &str, mode| is_terminated(ObjectKind::Event, body.as_bytes(), b"\n", mode);
        assert!(!back(r"SELECT 'a\', 'b'", ""));
        assert!(back(r"SELECT 'a\', 'b'", "NO_BACKSLASH_ESCAPES"));
        assert!(!back("SELECT 1;; SELECT 2", ""));
    }
}
