//! How the values of a table are written in a dump, as far as LOAD DATA must know it.
//!
//! A dump writes numbers bare, text and times in quotes, and bytes as hexadecimal literals. LOAD DATA reads the first two
//! as they are; a hexadecimal literal has no meaning to it, so that its digits are decoded by an expression. A column of
//! an unknown type, of a type that a dump writes in another way, or that the server computes, is not loaded by LOAD DATA.

use super::create_table::{Column, CreateTable};

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A number, quoted text, or NULL.
    Literal,
    /// The digits of bytes, an empty string, or NULL.
    Bytes,
    /// The digits of a BIT.
    Bits,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// `None` if LOAD DATA cannot load it.
    pub form: Option<Form>,
    /// Hidden from an INSERT without a list of columns.
    invisible: bool,
}

/// The columns of an InnoDB table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    fields: Vec<Field>,
    /// The character set of all columns with text; `None` if they have several, or none.
    pub charset: Option<String>,
    /// Whether the table has an AUTO_INCREMENT column.
    pub auto_increment: bool,
}

/// Types that are written as numbers or in quotes, without a character set.
const LITERALS: &[&str] = &[
    "tinyint",
    "smallint",
    "mediumint",
    "int",
    "bigint",
    "decimal",
    "float",
    "double",
    "year",
    "date",
    "time",
    "datetime",
    "timestamp",
    "uuid",
    "inet4",
    "inet6",
];

/// Types of text in a character set.
pub(super) const TEXTS: &[&str] = &[
    "char",
    "varchar",
    "tinytext",
    "text",
    "mediumtext",
    "longtext",
    "enum",
    "set",
];

/// Types that are written as hexadecimal literals.
const BYTES: &[&str] = &[
    "binary",
    "varbinary",
    "tinyblob",
    "blob",
    "mediumblob",
    "longblob",
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
    "geomcollection",
    "vector",
];

/// Single-byte character sets, and UTF-8, in which each ASCII byte is its own character, in both directions. Multi-byte
/// character sets of Asia are left out: ASCII bytes may be the second half of their characters.
const ASCII_COMPATIBLE: &[&str] = &[
    "armscii8", "ascii", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "dec8",
    "geostd8", "greek", "hebrew", "hp8", "keybcs2", "koi8r", "koi8u", "latin1", "latin2", "latin5",
    "latin7", "macce", "macroman", "tis620", "utf8mb3",
];

/// The character sets other than utf8mb4 in which ASCII text has the same bytes.
pub fn ascii_compatible() -> &'static [&'static str] {
    ASCII_COMPATIBLE
}

impl Layout {
    /// The layout of a table; `None` if the form of its definition is unknown, or it is not a plain InnoDB table.
    pub fn of(table: &CreateTable) -> Option<Layout> {
        let is_innodb = table.option("ENGINE").as_deref() == Some("innodb");
        if !is_innodb || table.is_versioned() || table.columns().is_empty() {
            return None;
        }
        let default = table.option("CHARSET");
        let mut charsets: Vec<&str> = Vec::new();
        let fields = table.columns().iter().map(|column| {
            let charset = column.charset.as_deref().or(default.as_deref());
            if TEXTS.contains(&type_name(column)) {
                charsets.push(charset.unwrap_or_default());
            }
            Field {
                name: column.name.clone(),
                form: form(column, charset),
                invisible: column.invisible,
            }
        });
        let fields = fields.collect();
        charsets.dedup();
        let charset = match charsets[..] {
            [one] if ASCII_COMPATIBLE.contains(&one) => Some(one.to_owned()),
            _ => None,
        };
        Some(Layout {
            fields,
            charset,
            auto_increment: table.columns().iter().any(|column| column.auto_increment),
        })
    }

    /// The fields of an INSERT with this list of columns; `None` if LOAD DATA cannot load all of them.
    pub fn listed(&self, columns: Option<&[String]>) -> Option<Vec<&Field>> {
        let fields: Vec<&Field> = match columns {
            None => self
                .fields
                .iter()
                .filter(|field| !field.invisible)
                .collect(),
            Some(columns) => {
                let of = |name: &String| self.fields.iter().find(|field| field.name == *name);
                columns.iter().map(of).collect::<Option<_>>()?
            }
        };
        let all = !fields.is_empty() && fields.iter().all(|field| field.form.is_some());
        all.then_some(fields)
    }
}

/// The first word of the type.
fn type_name(column: &Column) -> &str {
    let text = &column.type_text;
    let end = text.find(|c: char| !c.is_ascii_alphanumeric());
    &text[..end.unwrap_or(text.len())]
}

fn form(column: &Column, charset: Option<&str>) -> Option<Form> {
    let name = type_name(column);
    if column.generated || column.compressed {
        return None;
    }
    if LITERALS.contains(&name) || name == "json" {
        Some(Form::Literal)
    } else if TEXTS.contains(&name) {
        // Text of the character set `binary` is written as bytes.
        charset
            .is_some_and(|charset| charset != "binary")
            .then_some(Form::Literal)
    } else if BYTES.contains(&name) {
        Some(Form::Bytes)
    } else {
        (name == "bit").then_some(Form::Bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(columns: &str, options: &str) -> Option<Layout> {
        let sql = format!("CREATE TABLE `t` (\n  {columns}\n) {options}");
        Layout::of(&CreateTable::parse(sql.as_bytes()))
    }

    const LATIN1: &str = "ENGINE=InnoDB DEFAULT CHARSET=latin1";

    #[test]
    fn each_type_has_its_form() {
        let form = |definition: &str| {
            let layout = layout(&format!("`c` {definition}"), LATIN1).unwrap();
            layout.fields[0].form
        };
        for (definition, expected) in [
            ("bigint(20) unsigned zerofill NOT NULL", Some(Form::Literal)),
            ("decimal(10,2) DEFAULT NULL", Some(Form::Literal)),
            ("datetime(6) DEFAULT NULL", Some(Form::Literal)),
            ("varchar(10) DEFAULT NULL", Some(Form::Literal)),
            (
                "varchar(10) CHARACTER SET ucs2 COLLATE ucs2_bin",
                Some(Form::Literal),
            ),
            ("enum('binary') DEFAULT NULL", Some(Form::Literal)),
            ("enum('a') CHARACTER SET binary DEFAULT NULL", None),
            ("set('a') COLLATE binary DEFAULT NULL", None),
            ("varchar(10) /*M!100301 COMPRESSED*/ DEFAULT NULL", None),
            ("json DEFAULT NULL", Some(Form::Literal)),
            ("uuid DEFAULT NULL", Some(Form::Literal)),
            ("binary(3) DEFAULT NULL", Some(Form::Bytes)),
            ("longblob", Some(Form::Bytes)),
            (
                "geometrycollection NOT NULL /*!80003 SRID 4326 */",
                Some(Form::Bytes),
            ),
            ("vector(3) DEFAULT NULL", Some(Form::Bytes)),
            ("bit(9) DEFAULT NULL", Some(Form::Bits)),
            ("int GENERATED ALWAYS AS (1) STORED", None),
            ("type_of_tomorrow(3) DEFAULT NULL", None),
        ] {
            assert_eq!(form(definition), expected, "{definition}");
        }
    }

    #[test]
    fn text_of_one_ascii_compatible_character_set_has_its_name() {
        let charset = |columns: &str, options: &str| layout(columns, options).unwrap().charset;
        let two =
            "`a` varchar(3) DEFAULT NULL,\n  `b` text CHARACTER SET latin1 COLLATE latin1_bin";
        assert_eq!(charset(two, LATIN1).as_deref(), Some("latin1"));
        let utf8 = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin";
        assert_eq!(charset(two, utf8), None);
        for (columns, options) in [
            ("`a` int", LATIN1),
            ("`a` char(1)", "ENGINE=InnoDB DEFAULT CHARSET=swe7"),
            ("`a` char(1)", "ENGINE=InnoDB DEFAULT CHARSET=sjis"),
            ("`a` char(1)", "ENGINE=InnoDB DEFAULT CHARSET=utf16"),
            (
                "`a` char(1)",
                "ENGINE=InnoDB DEFAULT CHARSET=charset_of_tomorrow",
            ),
            ("`a` char(1)", "ENGINE=InnoDB"),
        ] {
            assert_eq!(charset(columns, options), None, "{columns} {options}");
        }
        let by_collation =
            "`a` varchar(3) COLLATE koi8r_bin DEFAULT NULL COMMENT 'COLLATE latin1_bin'";
        assert_eq!(charset(by_collation, LATIN1).as_deref(), Some("koi8r"));
    }

    #[test]
    fn only_plain_innodb_tables_have_a_layout() {
        assert!(
            layout(
                "`a` int",
                "ENGINE=InnoDB\n/*!50100 PARTITION BY HASH (`a`) */"
            )
            .is_some()
        );
        for options in [
            "ENGINE=MyISAM DEFAULT CHARSET=latin1",
            "DEFAULT CHARSET=latin1",
            "ENGINE=InnoDB WITH SYSTEM VERSIONING",
        ] {
            assert_eq!(layout("`a` int", options), None, "{options}");
        }
    }

    #[test]
    fn the_columns_of_an_insert_are_those_that_it_lists_or_all_visible_ones() {
        let columns = "`a` int,\n  `b` int /*!80023 INVISIBLE */,\n  `c` int GENERATED ALWAYS AS (`a`) VIRTUAL,\n  `d` int";
        let layout = layout(columns, LATIN1).unwrap();
        let names = |list: Option<&[&str]>| {
            let list =
                list.map(|list| list.iter().map(|name| name.to_string()).collect::<Vec<_>>());
            let fields = layout.listed(list.as_deref());
            fields.map(|fields| {
                fields
                    .iter()
                    .map(|field| field.name.clone())
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(names(Some(&["d", "b"])).unwrap(), ["d", "b"]);
        assert_eq!(names(Some(&["a", "c"])), None);
        assert_eq!(names(Some(&["a", "row_start"])), None);
        assert_eq!(names(None), None);
        let visible = super::Layout {
            fields: layout.fields[..2].to_vec(),
            ..layout.clone()
        };
        assert_eq!(visible.listed(None).unwrap().len(), 1);
    }
}
