//! The line ends that mysqldump forgets.
//!
//! MySQL keeps no line end behind the body of a stored program, and mysqldump puts the delimiter on the
//! line that the body ends in. Behind a body that ends in a line comment (`# …`, `-- …`) it is a part of
//! the comment, and no client finds the end of the statement. MariaDB's program writes a line end; here
//! it is put into the dump of MySQL's.
//!
//! Nothing is guessed from the dump, in which a body may hold any text: the server is asked for the whole
//! statement of each such program, and the line end goes where that very text stands in front of the
//! delimiter. The server drops the line end again: a program restored from it is the same.

use std::sync::Arc;

use bytes::{Buf, BufMut, BytesMut};
use mysql_async::Row;

use super::Connection;
use super::connect::server_code;
use crate::Result;
use crate::sql::lex::{Lexer, Stop};
use crate::sql::statement::{ObjectId, ObjectKind};
use crate::sql::tokens::{Token, Tokens};

/// What ends a stored program in a dump. In a row a line end is written as `\n`, so this is rare there.
const END: &[u8] = b";;\n";

/// One statement, as a dump ends it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ending {
    /// The statement, the delimiter behind it and its line end.
    text: Vec<u8>,
    /// How many bytes of the text follow the statement.
    behind: usize,
}

/// The statements of a server's dump that need a line end.
#[derive(Debug, Clone, Default)]
pub struct LineEnds(Arc<[Ending]>);

impl LineEnds {
    /// Asks a server for all of them; one of MariaDB's has none.
    pub async fn of(connection: &mut Connection) -> Result<LineEnds> {
        if connection.version().await?.is_mariadb() {
            return Ok(LineEnds::default());
        }
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
                _ => ObjectKind::Event,
            };
            (ObjectId::new(kind, schema, name), mode)
        });
        let mut all = Vec::new();
        for (program, mode, sql) in statements(connection, programs.collect()).await? {
            let kind = program.kind;
            if !is_read_back(kind, &sql, b"", &mode) && is_read_back(kind, &sql, b"\n", &mode) {
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
    /// How mysqldump writes a statement that the server shows like this.
    fn of(kind: ObjectKind, sql: &[u8]) -> Option<Ending> {
        // In comments for the versions that know it, those of triggers and events.
        let (before, behind): (&[u8], &[u8]) = match kind {
            ObjectKind::Trigger => (b"*/ /*!50003", b" */;;\n"),
            ObjectKind::Event => (b"*/ /*!50106", b" */ ;;\n"),
            _ => {
                let text = [sql, b" ;;\n"].concat();
                return Some(Ending { text, behind: 4 });
            }
        };
        let mut tokens = Tokens::new(sql);
        let head = tokens.eat_all(&["CREATE", "DEFINER"]) && tokens.eat_mark(b'=');
        let user = matches!(tokens.next(), Some(Token::Name(_)));
        let host = tokens.eat_mark(b'@') && matches!(tokens.next(), Some(Token::Name(_)));
        (head && user && host).then(|| Ending {
            text: [before, tokens.rest(), behind].concat(),
            behind: behind.len(),
        })
    }
}

/// Whether the end of a stored program with this body may be missed. The schema of information shows literals
/// without their escapes: what it shows tells nothing more of a text than which signs are in it.
pub fn may_be_misread(body: &[u8]) -> bool {
    let signs: [&[u8]; 6] = [b"#", b"--", b"/*", b"*/", b";;", b"\\"];
    signs
        .iter()
        .any(|sign| memchr::memmem::find(body, sign).is_some())
}

/// Those of the stored programs, each with its `sql_mode`, of whose dump nobody finds the end.
pub async fn endless(
    connection: &mut Connection,
    programs: Vec<(ObjectId, String)>,
) -> Result<Vec<ObjectId>> {
    let shown = statements(connection, programs).await?;
    let endless = shown
        .into_iter()
        .filter(|(program, mode, sql)| !is_read_back(program.kind, sql, b"\n", mode));
    Ok(endless.map(|(program, ..)| program).collect())
}

/// What the server shows of stored programs, in the bytes that they were made of, as a dump asks for it. One that is
/// gone or denied is left out, which is noticed elsewhere.
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
        let asked = format!("SHOW CREATE {noun} {}", program.quoted());
        let shown = match connection.row::<Row>(&asked).await {
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

/// Whether the text that a dump makes of a stored program with this text, with `line_end` behind it, ends
/// where the program does: for the client, which misreads comments in a conditional comment, and for the
/// server, to which the body is what it is in the open.
pub fn is_read_back(kind: ObjectKind, body: &[u8], line_end: &[u8], sql_mode: &str) -> bool {
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

/// Puts the line ends into a dump that comes in chunks.
///
/// Memory: the longest of the statements and what was not taken out.
#[derive(Debug, Default)]
pub struct Mender {
    ends: LineEnds,
    /// The longest text of `ends`, bytes.
    longest: usize,
    /// What may be the beginning of one of them.
    held: BytesMut,
    /// How much of `held` has been searched.
    searched: usize,
    /// What can be taken out.
    ready: BytesMut,
}

impl Mender {
    /// One for these.
    pub fn new(ends: LineEnds) -> Mender {
        Mender {
            longest: ends.0.iter().map(|end| end.text.len()).max().unwrap_or(0),
            ends,
            ..Mender::default()
        }
    }

    /// Whether there is nothing to do: then nothing need come through here.
    pub fn is_idle(&self) -> bool {
        self.ends.is_empty()
    }

    /// Where the next bytes of the dump go.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.held
    }

    /// Works on what was put in; `ended`: nothing more will be.
    pub fn work(&mut self, ended: bool) {
        // An end may have begun before.
        let mut from = self.searched.saturating_sub(END.len() - 1);
        while let Some(found) = memchr::memmem::find(&self.held[from..], END) {
            let end = from + found + END.len();
            let mut endings = self.ends.0.iter();
            match endings.find(|one| self.held[..end].ends_with(&one.text)) {
                None => from = end,
                Some(Ending { behind, .. }) => {
                    self.ready.put(self.held.split_to(end - behind));
                    self.ready.put_u8(b'\n');
                    from = *behind;
                }
            }
        }
        self.searched = self.held.len();
        let kept = match ended {
            true => 0,
            false => self.longest.min(self.searched),
        };
        self.ready.put(self.held.split_to(self.searched - kept));
        self.searched = kept;
    }

    /// Moves what can be taken out into the spare capacity of `buffer`, and says how much that was.
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

    fn mended(ends: &LineEnds, dump: &str, chunk: usize) -> String {
        let (mut mender, mut out) = (Mender::new(ends.clone()), BytesMut::with_capacity(1 << 16));
        for part in dump.as_bytes().chunks(chunk) {
            mender.input().extend_from_slice(part);
            mender.work(false);
            mender.take(&mut out);
        }
        mender.work(true);
        mender.take(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn a_line_end_is_put_behind_the_statements_that_need_one_however_the_dump_is_cut() {
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
            assert_eq!(mended(&ends, &dump, chunk), expected, "{chunk}");
        }
        assert_eq!(mended(&LineEnds::default(), &dump, 7), dump);
    }

    #[test]
    fn a_body_that_ends_in_a_line_comment_needs_one() {
        use ObjectKind::{Event, Function, Procedure, Trigger};
        for kind in [Trigger, Procedure, Function, Event] {
            let needs = |body: &str| {
                let back = |line_end: &[u8]| is_read_back(kind, body.as_bytes(), line_end, "");
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
    fn a_body_without_an_end_is_told_by_its_sql_mode() {
        let back = |body: &str, mode| is_read_back(ObjectKind::Event, body.as_bytes(), b"\n", mode);
        assert!(!back(r"SELECT 'a\', 'b'", ""));
        assert!(back(r"SELECT 'a\', 'b'", "NO_BACKSLASH_ESCAPES"));
        assert!(!back("SELECT 1;; SELECT 2", ""));
    }
}
