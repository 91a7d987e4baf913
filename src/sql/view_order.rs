//! The order in which views must be created, so that each is created after those that it selects from.
//!
//! The dump programs write views ordered by name. If a view is created while a view that it selects from is still a
//! placeholder, the result differs: with CHECK OPTION it is rejected (1368); MariaDB permanently marks any other view
//! as not updatable. Only recreating the view clears the mark; neither SHOW CREATE VIEW nor `IS_UPDATABLE` shows it.

use std::collections::{BTreeSet, HashMap};

use super::statement::{Kind, ObjectId, ObjectKind};
use super::tokens::{Token, Tokens};

/// The views of a dump, in its order, with the tables and views that each selects from.
#[derive(Debug, Default)]
pub struct Views {
    /// The number of each view, by schema and name.
    numbers: HashMap<(String, String), usize>,
    /// The tables and views that each view selects from, by its number.
    sources: Vec<BTreeSet<(String, String)>>,
}

impl Views {
    /// Adds a view if the statement is its final definition.
    pub fn note(&mut self, kind: &Kind, sql: &[u8]) {
        if let Kind::Create {
            object,
            placeholder: false,
        } = kind
            && object.kind == ObjectKind::View
        {
            self.push(object, sql);
        }
    }

    /// Adds a view.
    pub fn push(&mut self, view: &ObjectId, sql: &[u8]) {
        let key = (view.schema.clone(), view.name.clone());
        self.numbers.insert(key, self.sources.len());
        self.sources.push(sources(sql, &view.schema));
    }

    /// Appends the views of another stream.
    pub fn append(&mut self, other: Views) {
        let first = self.sources.len();
        let numbers = other.numbers.into_iter();
        self.numbers
            .extend(numbers.map(|(key, n)| (key, first + n)));
        self.sources.extend(other.sources);
    }

    /// The numbers of the views, each after those that it selects from. In an apparent cycle the first view of the
    /// dump comes first.
    pub fn in_order(&self) -> Vec<usize> {
        let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); self.sources.len()];
        let mut lacks: Vec<usize> = vec![0; self.sources.len()];
        for (view, lacks) in lacks.iter_mut().enumerate() {
            for base in self.bases(view) {
                needed_by[base].push(view);
                *lacks += 1;
            }
        }
        let mut left: BTreeSet<usize> = (0..self.sources.len()).collect();
        let mut ready: BTreeSet<usize> = left.iter().copied().filter(|n| lacks[*n] == 0).collect();
        let mut order = Vec::with_capacity(left.len());
        while let Some(next) = ready.pop_first().or_else(|| left.first().copied()) {
            left.remove(&next);
            order.push(next);
            for view in &needed_by[next] {
                lacks[*view] = lacks[*view].saturating_sub(1);
                if lacks[*view] == 0 && left.contains(view) {
                    ready.insert(*view);
                }
            }
        }
        order
    }

    /// How often all views must be created in the order of the dump until each was created after those that it
    /// selects from; 1 if none selects from a later one.
    pub fn rounds(&self) -> usize {
        let mut rounds = vec![0; self.sources.len()];
        for view in self.in_order() {
            let bases = self.bases(view);
            let needed = bases.map(|base| rounds[base] + usize::from(base > view));
            rounds[view] = needed.max().unwrap_or(1).max(1);
        }
        rounds.into_iter().max().unwrap_or(1)
    }

    /// The views that a view selects from.
    fn bases(&self, view: usize) -> impl Iterator<Item = usize> {
        self.sources[view]
            .iter()
            .filter_map(|name| self.numbers.get(name).copied())
            .filter(move |base| *base != view)
    }
}

/// The tables and views that a view's definition, as servers print it, selects from: names in backticks after FROM
/// or JOIN.
fn sources(sql: &[u8], schema: &str) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    let mut tokens = Tokens::new(sql);
    // Whether each open parenthesis belongs to a function whose FROM is not followed by a table.
    let mut open: Vec<bool> = Vec::new();
    let mut of_function = false;
    while let Some(token) = tokens.next() {
        let was = std::mem::take(&mut of_function);
        match token {
            Token::Mark(b'(') => open.push(was),
            Token::Mark(b')') => {
                open.pop();
            }
            Token::Word(_) => {
                of_function = token.is("EXTRACT") || token.is("TRIM") || token.is("SUBSTRING");
                let from = token.is("FROM") && open.last() != Some(&true);
                if from || token.is("JOIN") || token.is("STRAIGHT_JOIN") {
                    while tokens.eat_mark(b'(') {
                        open.push(false);
                    }
                    found.extend(table(&mut tokens, schema));
                }
            }
            Token::Name(_) | Token::Text(_) | Token::Mark(_) => {}
        }
    }
    found
}

/// Takes the quoted name of a table; returns it with its schema.
fn table(tokens: &mut Tokens<'_>, schema: &str) -> Option<(String, String)> {
    let mut ahead = tokens.clone();
    let Some(Token::Name(_)) = ahead.clone().next() else {
        return None;
    };
    let first = ahead.next()?.name()??;
    let found = if ahead.eat_mark(b'.') {
        (first, ahead.next()?.name()??)
    } else {
        (schema.to_owned(), first)
    };
    *tokens = ahead;
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::tokens::DAMAGED;

    fn views(all: &[(&str, &str)]) -> Views {
        let mut views = Views::default();
        for (name, query) in all {
            let (schema, name) = name.split_once('.').unwrap();
            let view = ObjectId::new(ObjectKind::View, schema, name);
            let sql = format!(
                "/*!50001 CREATE ALGORITHM=UNDEFINED */\n/*!50013 DEFINER=`from`@`%` SQL SECURITY DEFINER */\n\
                 /*!50001 VIEW `{name}` AS {query} */"
            );
            views.push(&view, sql.as_bytes());
        }
        views
    }

    #[test]
    fn the_sources_of_a_view_are_found_in_its_definition() {
        let of = |query: &str| {
            let all = views(&[("o.v", query)]);
            let names = all.sources[0].iter();
            names
                .map(|(schema, name)| format!("{schema}.{name}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        for (query, on) in [
            ("select `z1`.`id` AS `from` from `z1`", "o.z1"),
            ("select 1 AS `1`", ""),
            (
                "select 'from `x`' AS `a` from ((`t` join (`p`.`z``1` join `t2` on(`t2`.`id` = `z1`.`id`)) on(1)) \
                 left join (select `a2`.`id` AS `id` from `a2`) `d` on(1)) where exists(select 1 from `q` `w` limit 1)",
                "o.a2 o.q o.t o.t2 p.z`1",
            ),
            (
                "select extract(year from `t`.`d`) AS `y`,trim(both `t`.`x` from `t`.`y`) AS `z` from `b`",
                "o.b",
            ),
            (
                "select `a`.`x` AS `x` from `a` straight_join `b` union all select `c`.`x` AS `x` from `c`",
                "o.a o.b o.c",
            ),
        ] {
            assert_eq!(of(query), on, "{query}");
        }
    }

    #[test]
    fn each_view_comes_after_those_that_it_selects_from() {
        let chain = views(&[
            ("o.a", "select 1 AS `1` from `z`"),
            ("o.c", "select 1 AS `1` from `p`.`b`"),
            ("o.z", "select 1 AS `1` from `t`"),
            ("p.b", "select 1 AS `1` from `o`.`a`"),
        ]);
        assert_eq!(chain.in_order(), [2, 0, 3, 1]);
        // z; then a, which b finds in the same round; then c.
        assert_eq!(chain.rounds(), 3);
        let alone = views(&[("o.a", "select 1"), ("o.b", "select 1 from `a`")]);
        assert_eq!((alone.in_order(), alone.rounds()), (vec![0, 1], 1));
        assert_eq!(Views::default().rounds(), 1);
    }

    #[test]
    fn views_in_an_apparent_cycle_keep_their_order() {
        let circle = views(&[
            ("o.a", "with `b` as (select 1) select 1 from `b`"),
            ("o.b", "select 1 from `a`"),
            ("o.c", "select 1 from `c`"),
        ]);
        assert_eq!(circle.in_order(), [2, 0, 1]);
        assert!(circle.rounds() <= 2);
    }

    #[test]
    fn damaged_definitions_do_not_panic() {
        for sql in DAMAGED {
            sources(
                format!("CREATE VIEW v AS SELECT 1 FROM {sql}").as_bytes(),
                "s",
            );
        }
    }
}
