//! What every test here stands on: real servers, the real binary, and what the machine has.
//!
//! ```ignore
//! on_both!(fn a_backup_holds_every_row(flavour) {
//!     let server = Server::start(flavour);                      // private, empty, gone at the end
//!     server.exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY)");
//!     let drctl = Drctl::new("shop").source(&server);           // a store of its own, clean environment
//!     drctl.run(["backup"]).ok();
//!     drctl.run(["show", "nonsense"]).fails(3, "no backup");
//! });
//! ```
//!
//! A test that breaks its server, or cares for all of its schemas, starts a private one
//! ([`Server::start`], about a second); one that is content with a schema of its own takes the
//! shared one ([`Server::shared`], [`Server::fresh_schema`]).

#![allow(
    dead_code,
    reason = "a library for the tests beside it: not each part is used at all times"
)]

pub mod backup;
pub mod compare;
pub mod drctl;
pub mod fault_proxy;
pub mod history;
pub mod lab;
pub mod monitoring;
pub mod receiver;
pub mod server;
pub mod serving;
pub mod session;
pub mod statements;
pub mod versitygw;
pub mod wait;
pub mod wire;

#[allow(unused_imports, reason = "as above")]
pub use drctl::Drctl;
pub use server::{Flavour, Server};
