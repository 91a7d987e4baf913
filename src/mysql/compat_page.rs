//! The table of docs/compatibility.md, generated from [`FEATURES`].

use crate::mysql::compat::{Chosen, FEATURES, In, What};

/// The marks around the table in the page.
const BEGIN: &str = "<!-- made from src/mysql/compat.rs -->\n";
const END: &str = "<!-- end -->";

impl In {
    fn words(self) -> String {
        let one = |(major, minor, patch): (u16, u16, u16)| format!("{major}.{minor}.{patch}");
        match self {
            In::All => "all".to_owned(),
            In::From(a, b, c) => format!("{} and later", one((a, b, c))),
            In::Until(a, b, c) => format!("before {}", one((a, b, c))),
            In::None => "–".to_owned(),
        }
    }
}

impl Chosen {
    fn words(self) -> &'static str {
        match self {
            Chosen::Flavour => "by flavour",
            Chosen::Tried => "tried",
            Chosen::Asked => "queried",
            Chosen::Listed => "SHOW PRIVILEGES",
            Chosen::Held => "SHOW GRANTS",
            Chosen::Help => "`--help`",
            Chosen::Answer => "by the result",
            Chosen::Version => "by version",
            Chosen::Comment => "conditional comment",
            Chosen::Loose => "`loose` option",
        }
    }
}

impl What {
    fn words(self) -> &'static str {
        match self {
            What::Statement => "Statements",
            What::Privilege => "Privileges",
            What::Variable => "Variables",
            What::Table => "Tables",
            What::Column => "Columns of results",
            What::DumpOption => "Options of the dump program",
            What::LoginOption => "Login options of the clients",
            What::Plugin => "Authentication plugins",
            What::ServerOption => "Options of scratch servers",
        }
    }
}

/// A Markdown link to a page.
fn link(page: &str) -> String {
    let (of, path) = page.split_once(':').unwrap_or(("8.4", page));
    let url = match of {
        "mariadb" => format!("https://mariadb.com/docs/server/{path}"),
        "mariadb-notes" => format!("https://mariadb.com/docs/release-notes/{path}"),
        version => format!("https://dev.mysql.com/doc/refman/{version}/en/{path}.html"),
    };
    let name = path.rsplit('/').next().unwrap_or(path);
    format!("[{name}]({url})")
}

fn links(pages: &str) -> String {
    let all: Vec<String> = pages.split_whitespace().map(link).collect();
    if all.is_empty() {
        return "no page found".to_owned();
    }
    all.join(", ")
}

/// The table, as Markdown.
fn markdown() -> String {
    let mut text = String::new();
    let mut of = Option::None;
    for feature in FEATURES {
        if of != Some(feature.what) {
            of = Some(feature.what);
            let header = "what | used for | MySQL | MariaDB | detected | manual";
            text += &format!(
                "\n**{}**\n\n| {header} |\n|---|---|---|---|---|---|\n",
                feature.what.words()
            );
        }
        text += &format!(
            "| `{}` | {} | {} | {} | {} | {} |\n",
            feature.name,
            feature.used_for,
            feature.mysql.words(),
            feature.mariadb.words(),
            feature.chosen.words(),
            links(feature.pages)
        );
    }
    text
}

#[test]
fn the_documentation_is_generated_from_the_table() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/compatibility.md");
    let page = std::fs::read_to_string(file).unwrap();
    let (head, rest) = page.split_once(BEGIN).unwrap();
    let (_, tail) = rest.split_once(END).unwrap();
    let page_now = format!("{head}{BEGIN}{}\n{END}{tail}", markdown());
    if std::env::var_os("DRCTL_WRITE_DOCS").is_some() {
        std::fs::write(file, &page_now).unwrap();
        return;
    }
    assert!(page == page_now, "run make docs");
}
