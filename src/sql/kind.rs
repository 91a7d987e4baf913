//! Determines the kind of a statement: one of the exact forms written by the dump programs, else unknown.
//!
//! Heads are parsed word by word, bodies of routines and views are not, with one exception: a statement that could
//! hide a second one is rejected.

use super::assignment::parse_set;
use super::bulk_load::is_bulk_load;
use super::session::Session;
use super::statement::{Kind, ObjectId, ObjectKind};
use super::tokens::{Token, Tokens};

/// Which statements are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// A dump.
    Dump,
    /// accounts.sql: accounts and grants.
    Accounts,
}

/// Why a statement has no kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// The dump programs do not write it.
    Kind,
    /// A name is not UTF-8.
    Name,
}

/// The context on which the kind of a statement depends.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Which statements are known.
    pub language: Language,
    /// Whether a DELIMITER other than `;` is in force: statements may then contain semicolons.
    pub delimited: bool,
    /// The session, for the current schema.
    pub session: &'a Session,
}

/// The kind of a statement, without its delimiter.
pub fn of(sql: &[u8], context: &Context<'_>) -> Result<Kind, Unknown> {
    let mut head = Head {
        tokens: Tokens::new(sql),
        context,
    };
    let kind = match context.language {
        Language::Dump => head.dump(sql)?,
        Language::Accounts => head.accounts(sql)?,
    };
    let may_hold_semicolons = match &kind {
        Kind::Insert { .. } | Kind::CreateSchema { .. } | Kind::Account => false,
        Kind::Create { object, .. } => !matches!(
            object.kind,
            ObjectKind::Table | ObjectKind::View | ObjectKind::Sequence
        ),
        _ => true,
    };
    if context.delimited && !may_hold_semicolons {
        return Err(Unknown::Kind);
    }
    Ok(kind)
}

/// The object of a statement whose kind may be unknown: its name is where the dump programs would write it. `None`
/// in accounts.sql, where a name could be anything.
pub fn object(sql: &[u8], context: &Context<'_>) -> Option<ObjectId> {
    if context.language == Language::Accounts {
        return None;
    }
    let mut head = Head {
        tokens: Tokens::new(sql),
        context,
    };
    let Some(Token::Word(verb)) = head.tokens.next() else {
        return None;
    };
    let kind = match verb.to_ascii_uppercase().as_slice() {
        b"INSERT" | b"REPLACE" => {
            head.tokens.eat("IGNORE");
            head.expect(&["INTO"]).ok()?;
            ObjectKind::Table
        }
        b"CREATE" => {
            head.decorations().ok()?;
            head.tokens.eat("AGGREGATE");
            head.object_kind().ok()?
        }
        b"DROP" | b"ALTER" => head.object_kind().ok()?,
        _ => return None,
    };
    head.tokens.eat_all(&["IF", "NOT", "EXISTS"]);
    head.tokens.eat_all(&["IF", "EXISTS"]);
    match kind {
        ObjectKind::Schema => head.one_name().ok().map(ObjectId::schema),
        kind => {
            let (schema, name) = head.object_name().ok()?;
            Some(ObjectId::new(kind, schema, name))
        }
    }
}

/// Parser of the head of a statement.
struct Head<'a> {
    /// The remaining tokens.
    tokens: Tokens<'a>,
    context: &'a Context<'a>,
}

impl Head<'_> {
    fn dump(&mut self, sql: &[u8]) -> Result<Kind, Unknown> {
        if is_bulk_load(sql) {
            return Ok(Kind::Comment);
        }
        let Some(Token::Word(verb)) = self.tokens.next() else {
            return Err(Unknown::Kind);
        };
        match verb.to_ascii_uppercase().as_slice() {
            b"INSERT" => self.insert(),
            b"SET" => parse_set(sql).map(|_| Kind::Set).ok_or(Unknown::Kind),
            b"CREATE" => self.create(),
            b"DROP" => self.drop(),
            b"USE" => {
                let schema = self.one_name()?;
                self.end(Kind::Use { schema })
            }
            b"ALTER" => self.alter(),
            b"LOCK" => {
                self.expect(&["TABLES"])?;
                self.object_name()?;
                self.expect(&["WRITE"])?;
                self.end(Kind::LockTables)
            }
            b"UNLOCK" => {
                self.expect(&["TABLES"])?;
                self.end(Kind::UnlockTables)
            }
            b"COMMIT" => self.end(Kind::Transaction),
            b"START" => {
                self.expect(&["TRANSACTION"])?;
                self.end(Kind::Transaction)
            }
            b"DO" | b"SELECT" => self.set_sequence(),
            _ => Err(Unknown::Kind),
        }
    }

    fn accounts(&mut self, sql: &[u8]) -> Result<Kind, Unknown> {
        // The character set of names, and the mode around MariaDB's privileges on packages.
        let settings: [&[&str]; 2] = [&["SET", "NAMES"], &["SET", "SQL_MODE"]];
        if settings
            .iter()
            .any(|words| self.tokens.clone().eat_all(words))
        {
            return parse_set(sql).map(|_| Kind::Set).ok_or(Unknown::Kind);
        }
        let known: [&[&str]; 8] = [
            &["CREATE", "USER"],
            &["CREATE", "ROLE"],
            &["CREATE", "OR", "REPLACE", "USER"],
            &["ALTER", "USER"],
            &["GRANT"],
            &["REVOKE"],
            &["SET", "DEFAULT", "ROLE"],
            &["DROP", "ROLE", "IF", "EXISTS"],
        ];
        if known.iter().any(|words| self.tokens.clone().eat_all(words)) {
            return Ok(Kind::Account);
        }
        Err(Unknown::Kind)
    }

    fn insert(&mut self) -> Result<Kind, Unknown> {
        self.tokens.eat("IGNORE");
        self.expect(&["INTO"])?;
        let (schema, name) = self.object_name()?;
        let mut ahead = self.tokens.clone();
        if !(ahead.eat("VALUES") || ahead.eat_mark(b'(')) {
            return Err(Unknown::Kind);
        }
        Ok(Kind::Insert {
            table: ObjectId::table(schema, name),
        })
    }

    fn create(&mut self) -> Result<Kind, Unknown> {
        let guard = self.tokens.guard();
        let decorated = self.decorations()?;
        let aggregate = self.tokens.eat("AGGREGATE");
        let kind = self.object_kind()?;
        if aggregate && kind != ObjectKind::Function {
            return Err(Unknown::Kind);
        }
        self.tokens.eat_all(&["IF", "NOT", "EXISTS"]);
        if kind == ObjectKind::Schema {
            let schema = self.one_name()?;
            return Ok(Kind::CreateSchema { schema });
        }
        let (schema, name) = self.object_name()?;
        let mut object = ObjectId::new(kind, schema, name);
        let mut placeholder = false;
        match kind {
            ObjectKind::Table => {
                self.only_definitions()?;
                placeholder = guard == Some(b"/*!50001");
                if placeholder {
                    object.kind = ObjectKind::View;
                }
            }
            ObjectKind::View => placeholder = !decorated,
            ObjectKind::Function | ObjectKind::Procedure | ObjectKind::Library => {
                self.no_shared_library()?;
                self.whole_dollar_text()?;
            }
            _ => {}
        }
        Ok(Kind::Create {
            object,
            placeholder,
        })
    }

    /// Takes the clauses between CREATE and the kind of object; returns whether there was one other than OR
    /// REPLACE.
    fn decorations(&mut self) -> Result<bool, Unknown> {
        self.tokens.eat_all(&["OR", "REPLACE"]);
        let mut decorated = false;
        loop {
            if self.tokens.eat("ALGORITHM") {
                self.mark(b'=')?;
                self.tokens.next();
            } else if self.tokens.eat("DEFINER") {
                self.mark(b'=')?;
                self.account()?;
            } else if self.tokens.eat_all(&["SQL", "SECURITY"]) {
                self.tokens.next();
            } else {
                return Ok(decorated);
            }
            decorated = true;
        }
    }

    /// Checks that a table's definition consists of parentheses and options, without a query that inserts rows.
    fn only_definitions(&self) -> Result<(), Unknown> {
        let mut tokens = self.tokens.clone();
        if !tokens.eat_mark(b'(') {
            return Err(Unknown::Kind);
        }
        let mut depth = 1;
        for token in tokens.by_ref() {
            match token {
                Token::Mark(b'(') => depth += 1,
                Token::Mark(b')') => depth -= 1,
                Token::Mark(b';') => return Err(Unknown::Kind),
                Token::Word(_) if depth == 0 => {
                    let fills = [
                        "SELECT", "AS", "LIKE", "TABLE", "VALUES", "IGNORE", "REPLACE",
                    ];
                    if fills.iter().any(|word| token.is(word)) {
                        return Err(Unknown::Kind);
                    }
                }
                _ => {}
            }
        }
        (depth == 0 && tokens.is_sound())
            .then_some(())
            .ok_or(Unknown::Kind)
    }

    /// Rejects `CREATE FUNCTION f RETURNS STRING SONAME 'x.so'`, which loads code into the server.
    fn no_shared_library(&self) -> Result<(), Unknown> {
        let mut tokens = self.tokens.clone();
        if tokens.eat("RETURNS") {
            tokens.next();
            if tokens.eat("SONAME") {
                return Err(Unknown::Kind);
            }
        }
        Ok(())
    }

    /// A JavaScript body is enclosed in `$$ … $$`, which the server parses and the client does not: they agree on
    /// the end of the statement only if it ends with the body.
    fn whole_dollar_text(&self) -> Result<(), Unknown> {
        let mut tokens = self.tokens.clone();
        let mut depth = 0;
        while let Some(token) = tokens.next() {
            match token {
                Token::Mark(b'(') => depth += 1,
                Token::Mark(b')') => depth -= 1,
                Token::Word(_) if depth == 0 && token.is("AS") => {
                    return dollar_text_is_whole(tokens.rest().trim_ascii());
                }
                Token::Word(_) if token.is("BEGIN") || token.is("RETURN") => return Ok(()),
                _ => {}
            }
        }
        Ok(())
    }

    fn drop(&mut self) -> Result<Kind, Unknown> {
        let kind = self.object_kind()?;
        self.expect(&["IF", "EXISTS"])?;
        let object = match kind {
            ObjectKind::Schema => ObjectId::schema(self.one_name()?),
            _ => {
                let (schema, name) = self.object_name()?;
                ObjectId::new(kind, schema, name)
            }
        };
        self.end(Kind::Drop { object })
    }

    fn alter(&mut self) -> Result<Kind, Unknown> {
        if self.tokens.eat("TABLE") {
            self.object_name()?;
            if !self.tokens.eat("DISABLE") {
                self.expect(&["ENABLE"])?;
            }
            self.expect(&["KEYS"])?;
            return self.end(Kind::ToggleKeys);
        }
        self.expect(&["DATABASE"])?;
        let schema = self.one_name()?;
        self.expect(&["CHARACTER", "SET"])?;
        self.one_name()?;
        self.expect(&["COLLATE"])?;
        self.one_name()?;
        self.end(Kind::AlterSchema { schema })
    }

    fn set_sequence(&mut self) -> Result<Kind, Unknown> {
        self.expect(&["SETVAL"])?;
        self.mark(b'(')?;
        let (schema, name) = self.object_name()?;
        for _ in 0..2 {
            self.mark(b',')?;
            self.tokens.eat_mark(b'-');
            match self.tokens.next() {
                Some(Token::Word(number)) if number.iter().all(u8::is_ascii_digit) => {}
                _ => return Err(Unknown::Kind),
            }
        }
        self.mark(b')')?;
        self.end(Kind::SetSequence {
            object: ObjectId::new(ObjectKind::Sequence, schema, name),
        })
    }

    fn object_kind(&mut self) -> Result<ObjectKind, Unknown> {
        let kinds = [
            ("TABLE", ObjectKind::Table),
            ("VIEW", ObjectKind::View),
            ("TRIGGER", ObjectKind::Trigger),
            ("PROCEDURE", ObjectKind::Procedure),
            ("FUNCTION", ObjectKind::Function),
            ("EVENT", ObjectKind::Event),
            ("SEQUENCE", ObjectKind::Sequence),
            ("LIBRARY", ObjectKind::Library),
            ("DATABASE", ObjectKind::Schema),
            ("SCHEMA", ObjectKind::Schema),
        ];
        if self.tokens.eat_all(&["JSON", "RELATIONAL", "DUALITY"]) {
            self.expect(&["VIEW"])?;
            return Ok(ObjectKind::View);
        }
        if self.tokens.eat("PACKAGE") {
            return Ok(if self.tokens.eat("BODY") {
                ObjectKind::PackageBody
            } else {
                ObjectKind::Package
            });
        }
        kinds
            .into_iter()
            .find(|(word, _)| self.tokens.eat(word))
            .map(|(_, kind)| kind)
            .ok_or(Unknown::Kind)
    }

    /// `user@host`, a role, or CURRENT_USER.
    fn account(&mut self) -> Result<(), Unknown> {
        loop {
            let part = self.tokens.next().and_then(|token| token.bytes());
            part.ok_or(Unknown::Kind)?;
            if !self.tokens.eat_mark(b'@') {
                break;
            }
        }
        if self.tokens.eat_mark(b'(') {
            self.mark(b')')?;
        }
        Ok(())
    }

    /// Takes the name of an object; its schema is the one given, or the current one.
    fn object_name(&mut self) -> Result<(String, String), Unknown> {
        let name = self.one_name()?;
        if self.tokens.eat_mark(b'.') {
            return Ok((name, self.one_name()?));
        }
        let schema = self.context.session.schema().unwrap_or_default();
        Ok((schema.to_owned(), name))
    }

    fn one_name(&mut self) -> Result<String, Unknown> {
        let token = self.tokens.next().ok_or(Unknown::Kind)?;
        token.name().ok_or(Unknown::Kind)?.ok_or(Unknown::Name)
    }

    fn expect(&mut self, words: &[&str]) -> Result<(), Unknown> {
        self.tokens
            .eat_all(words)
            .then_some(())
            .ok_or(Unknown::Kind)
    }

    fn mark(&mut self, mark: u8) -> Result<(), Unknown> {
        self.tokens
            .eat_mark(mark)
            .then_some(())
            .ok_or(Unknown::Kind)
    }

    fn end(&self, kind: Kind) -> Result<Kind, Unknown> {
        self.tokens.is_done().then_some(kind).ok_or(Unknown::Kind)
    }
}

fn dollar_text_is_whole(text: &[u8]) -> Result<(), Unknown> {
    if text.first() != Some(&b'$') {
        return Ok(());
    }
    let tag = memchr::memchr(b'$', &text[1..]).map(|end| &text[..end + 2]);
    let whole = tag.is_some_and(|tag| {
        memchr::memmem::find(&text[tag.len()..], tag)
            .is_some_and(|end| tag.len() + end + tag.len() == text.len())
    });
    whole.then_some(()).ok_or(Unknown::Kind)
}
