//! Names of schemas and tables as a server compares them.

use std::borrow::Cow;

use crate::sql::statement::{ObjectId, ObjectKind};

/// Whether a server distinguishes names of schemas and tables by case (`lower_case_table_names`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NameCase {
    /// Names that differ in case are different names (0).
    #[default]
    Sensitive,
    /// Names that differ only in case are the same name (1, 2).
    Insensitive,
}

impl NameCase {
    /// The form in which equal names are equal strings.
    pub fn fold(self, name: &str) -> Cow<'_, str> {
        match self {
            NameCase::Sensitive => Cow::Borrowed(name),
            NameCase::Insensitive => Cow::Owned(name.to_lowercase()),
        }
    }

    /// Whether two names are the same name.
    pub fn same(self, a: &str, b: &str) -> bool {
        a == b || self.fold(a) == self.fold(b)
    }

    /// The object with the name of its schema folded, and its own name if it shares the names of tables.
    pub fn fold_object(self, object: &ObjectId) -> ObjectId {
        let name = match object.kind {
            ObjectKind::Table | ObjectKind::View | ObjectKind::Sequence => self.fold(&object.name),
            _ => Cow::Borrowed(object.name.as_str()),
        };
        ObjectId {
            schema: self.fold(&object.schema).into_owned(),
            kind: object.kind,
            name: name.into_owned(),
        }
    }
}

/// Whether a name matches a pattern of LIKE: `%` matches any run of characters, `_` one character, and a
/// backslash makes the next character literal.
pub fn is_like(name: &str, pattern: &str) -> bool {
    fn matches(name: &[char], pattern: &[char]) -> bool {
        match pattern {
            [] => name.is_empty(),
            ['%', rest @ ..] => (0..=name.len()).any(|skip| matches(&name[skip..], rest)),
            ['_', rest @ ..] => !name.is_empty() && matches(&name[1..], rest),
            ['\\', c, rest @ ..] | [c, rest @ ..] => {
                name.first() == Some(c) && matches(&name[1..], rest)
            }
        }
    }
    let chars = |text: &str| text.chars().collect::<Vec<char>>();
    matches(&chars(name), &chars(pattern))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_by_the_case_rule_of_the_server() {
        assert!(!NameCase::Sensitive.same("Été", "été"));
        assert!(NameCase::Insensitive.same("Été", "été"));
        let trigger = ObjectId::new(ObjectKind::Trigger, "S", "T");
        let folded = NameCase::Insensitive.fold_object(&trigger);
        assert_eq!((folded.schema.as_str(), folded.name.as_str()), ("s", "T"));
    }

    #[test]
    fn a_pattern_of_like_matches_the_whole_name() {
        for (pattern, name, expected) in [
            ("sh_p%", "shop", true),
            ("sh\\_p", "shop", false),
            ("sh\\_p", "sh_p", true),
            ("%o%", "shop", true),
            ("%hop", "shops", false),
            ("", "", true),
            ("\\", "\\", true),
        ] {
            assert_eq!(is_like(name, pattern), expected, "{name} LIKE {pattern}");
        }
    }
}
