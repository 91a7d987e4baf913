//! Finds the expressions in the definition lines of a CREATE TABLE.

use crate::sql::definition::column;
use crate::sql::tokens::{Token, Tokens};

/// Where a table has an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A stored column, of this type.
    Stored(String),
    /// A virtual column, or a part of a key: computed when it is read, and stored in keys.
    Virtual,
    /// A CHECK constraint.
    Check,
    /// The partitioning.
    Partition,
}

/// An expression of a definition line.
pub(super) struct Expression<'a> {
    /// The column, key or constraint.
    pub name: String,
    pub place: Place,
    pub text: &'a [u8],
}

/// The expressions of one definition line.
pub(super) fn expressions(line: &[u8]) -> Vec<Expression<'_>> {
    let mut tokens = Tokens::new(line);
    if let Some(Token::Name(_)) = tokens.clone().next() {
        return of_column(line).into_iter().collect();
    }
    if tokens.eat("CONSTRAINT") {
        return of_constraint(tokens).into_iter().collect();
    }
    of_key(tokens).unwrap_or_default()
}

fn of_column(line: &[u8]) -> Option<Expression<'_>> {
    let column = column(line)?;
    let mut tokens = Tokens::new(line);
    let begin = if column.generated { "AS" } else { "CHECK" };
    tokens.find(|token| token.is(begin))?;
    let text = parenthesised(&mut tokens)?;
    let place = if !column.generated {
        Place::Check
    } else if tokens.any(|token| token.is("STORED") || token.is("PERSISTENT")) {
        Place::Stored(column.type_text)
    } else {
        Place::Virtual
    };
    Some(Expression {
        name: column.name,
        place,
        text,
    })
}

/// The expression of an enforced CHECK; `tokens` follow CONSTRAINT.
fn of_constraint(mut tokens: Tokens<'_>) -> Option<Expression<'_>> {
    let name = tokens.next().and_then(|token| token.name()).flatten();
    if !tokens.eat("CHECK") {
        return None;
    }
    let text = parenthesised(&mut tokens)?;
    let is_enforced = !tokens.eat_all(&["NOT", "ENFORCED"]);
    is_enforced.then(|| Expression {
        name: name.unwrap_or_default(),
        place: Place::Check,
        text,
    })
}

/// The parts of a key that are expressions: each is enclosed in parentheses of its own.
fn of_key(mut tokens: Tokens<'_>) -> Option<Vec<Expression<'_>>> {
    tokens.eat("UNIQUE");
    if !tokens.eat("KEY") {
        return None;
    }
    let name = tokens.next().and_then(|token| token.name()).flatten();
    let name = name.unwrap_or_default();
    let mut tokens = Tokens::new(parenthesised(&mut tokens)?);
    let mut found = Vec::new();
    loop {
        if let Some(Token::Name(_)) = tokens.clone().next() {
            tokens.next();
            // The length of the column's prefix.
            parenthesised(&mut tokens);
        } else if let Some(text) = parenthesised(&mut tokens) {
            found.push(Expression {
                name: name.clone(),
                place: Place::Virtual,
                text,
            });
        } else if tokens.next().is_none() {
            return Some(found);
        }
    }
}

/// Takes a parenthesised text and returns its content; takes nothing if the next token opens none, or it is not
/// closed.
fn parenthesised<'a>(tokens: &mut Tokens<'a>) -> Option<&'a [u8]> {
    let mut ahead = tokens.clone();
    if !ahead.eat_mark(b'(') {
        return None;
    }
    let inner = ahead.rest();
    let mut depth = 1;
    while depth > 0 {
        match ahead.next()? {
            Token::Mark(b'(') => depth += 1,
            Token::Mark(b')') => depth -= 1,
            _ => {}
        }
    }
    let length = inner.len() - ahead.rest().len();
    *tokens = ahead;
    inner.get(..length - 1)
}

/// The names in an expression. Servers print those of some partitions without quotes.
pub(super) fn names(expression: &[u8]) -> Vec<String> {
    Tokens::new(expression)
        .filter_map(|token| token.name().flatten())
        .collect()
}
