//! Small inputs that once failed, one idea a file in `tests/corpus/cases`: each is loaded into a server,
//! backed up, restored into an empty one, and verified by lanes and by the plain client.

mod accounts;
mod refused;
mod source;
mod values;
mod views;

use std::path::{Path, PathBuf};

use super::support::compare::{self, differences};
use super::support::lab::ScratchDir;
use super::support::{Drctl, Flavour, Server};

/// The file of that name.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/corpus/cases/{name}.sql"))
}

/// A case on its source, and the empty server that it is restored into.
pub struct Case {
    pub source: Server,
    pub into: Server,
    pub drctl: Drctl,
}

impl Case {
    /// Loads the file of that name into a server; both servers run with these options.
    pub fn load(flavour: Flavour, name: &str, options: &[&str]) -> Case {
        let case = Case::empty(flavour, options);
        case.source.exec_file(&file(name));
        case
    }

    /// Two empty servers with these options. The second takes no LOCAL INFILE, so that restores load by INSERT; the
    /// scratch servers of drills take it.
    pub fn empty(flavour: Flavour, options: &[&str]) -> Case {
        let source = Server::start_with(flavour, options);
        let into = Server::start_with(flavour, &[options, &["--local-infile=OFF"]].concat());
        let drctl = Drctl::new("case").source(&source).into(&into);
        Case {
            source,
            into,
            drctl,
        }
    }

    /// Backs up, restores with accounts, verifies by both paths; every object and row is as it was.
    #[track_caller]
    pub fn comes_back(&self) {
        self.drctl.run(["backup"]).ok();
        self.drctl.run(["restore", "--latest", "--accounts"]).ok();
        let (source, into) = (compare::picture(&self.source), compare::picture(&self.into));
        let differ = differences(&source, &into, |_| true);
        assert!(differ.is_empty(), "{differ:#?}");
        self.passes_drills();
    }

    /// A drill of the newest backup passes by lanes and by the plain client.
    #[track_caller]
    pub fn passes_drills(&self) {
        for path in ["lanes", "client"] {
            self.drctl.run(["verify", "--latest", "--path", path]).ok();
        }
    }
}

/// What the report of a drill that passes warns of.
#[track_caller]
pub fn drilled(drctl: &Drctl, path: &str) -> String {
    let run = drctl
        .run(["verify", "--latest", "--path", path, "--output", "json"])
        .ok();
    run.json()["warnings"].to_string()
}

/// A server's files with a collation `utf8mb4_mine_ci` more, and the option that has a server use them.
pub fn own_collation(flavour: Flavour) -> (ScratchDir, String) {
    const MINE: &str = "<charset name=\"utf8mb4\"><collation name=\"utf8mb4_mine_ci\" id=\"1999\">\
             <rules><reset>a</reset><p>b</p></rules></collation></charset>\n</charsets>";
    let dir = ScratchDir::new();
    let files = dir.path().join("charsets");
    std::fs::create_dir(&files).expect("a scratch directory");
    let of_the_server = Server::shared(flavour).value("SELECT @@character_sets_dir");
    for entry in std::fs::read_dir(of_the_server).expect("the server's files") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), files.join(entry.file_name())).expect("a copy");
    }
    let index = std::fs::read_to_string(files.join("Index.xml")).expect("the list of collations");
    std::fs::write(files.join("Index.xml"), index.replace("</charsets>", MINE))
        .expect("a list with one more");
    let option = format!("--character-sets-dir={}", files.display());
    (dir, option)
}
