//! Checks before a restore. They are pure, so that `--plan` can show all results at once.
//!
//! A check refuses a restore that would harm the destination or fail half-way, and states how to proceed. A
//! warning does not stop the restore.
//!
//! - [`conflicts`]: existing objects, reserved schema names, renamed schemas.
//! - [`topology`]: connected clients, replication, clusters.
//! - [`definers`]: definers of the objects, and the privileges to define objects for others.
//! - [`backup_accounts`]: the accounts that the restore creates.
//! - [`directories`]: tables in directories of their own.
//! - [`replay`]: privileges to replay a binary log.
//! - [`settings`]: limits and defaults of the server.

mod backup_accounts;
mod conflicts;
mod definers;
mod directories;
pub mod replay;
mod settings;
pub(super) mod topology;

use std::collections::BTreeSet;

use crate::archive::accounts::BackupAccounts;
use crate::archive::manifest::Manifest;
use crate::restore::inspect::destination::DestinationFacts;
use crate::restore::inspect::refusal::Refusal;
use crate::restore::inspect::schema_collation;
use crate::restore::inspect::survey::Survey;
use crate::restore::options::RestoreOptions;
use crate::restore::session::lane_session;
use crate::sql::definer::Account;
use crate::sql::statement::{ObjectId, ObjectKind, quote};

/// The subject of the checks.
#[derive(Debug)]
pub struct Checks<'a> {
    /// State of the destination.
    pub facts: &'a DestinationFacts,
    /// Manifest of the backup.
    pub manifest: &'a Manifest,
    /// The requested options.
    pub options: &'a RestoreOptions,
    /// Definitions of the archive.
    pub survey: &'a Survey,
    /// Objects created by an earlier run of the same restore.
    pub created_before: &'a BTreeSet<ObjectId>,
    /// Accounts that the restore creates if they do not exist.
    pub accounts: &'a BackupAccounts,
}

impl Checks<'_> {
    /// Everything that prevents the restore.
    pub fn refusals(&self) -> Vec<Refusal> {
        let mut all = Vec::new();
        all.extend(self.reserved_schemas());
        all.extend(self.existing_objects());
        all.extend(self.topology());
        all.extend(self.definers());
        all.extend(self.settings());
        all.extend(self.renames());
        all.extend(self.backup_accounts());
        all.extend(self.unknown_directory());
        all.extend(self.replay());
        all.extend(self.cascades());
        if !self.options.scope.is_everything() {
            all.extend(schema_collation::refusals(
                self.facts,
                self.survey,
                self.created_before,
            ));
        }
        all
    }

    /// Everything that the operator should know.
    pub fn warnings(&self) -> Vec<String> {
        let mut all = self.settings_warnings();
        all.extend(self.account_variables());
        all.extend(self.directory_warning());
        all.extend(self.unrelated_objects_warning());
        all.extend(self.hidden_accounts_warning());
        all.extend(self.event_scheduler_warning());
        all.extend(lane_session::warnings(self.facts, self.manifest));
        all.extend(self.left_to_do());
        all.extend(self.topology_warnings());
        all
    }

    /// What is left to the operator after the restore.
    pub fn left_to_do(&self) -> Vec<String> {
        let mut all = self.left_disabled();
        all.extend(self.left_writable());
        all
    }

    /// Schemas that were READ ONLY. A scratch server is not left to anybody.
    fn left_writable(&self) -> Vec<String> {
        if self.options.destination.is_scratch() {
            return Vec::new();
        }
        let changed = self.survey.changed.keys();
        let schemas = changed.filter(|object| object.kind == ObjectKind::Schema);
        let warning = |schema: &ObjectId| {
            let name = quote(&schema.schema);
            format!(
                "{schema} was READ ONLY, and is left writable: ALTER SCHEMA {name} READ ONLY = 1"
            )
        };
        schemas.map(warning).collect()
    }

    fn fingerprint(&self, variable: &str) -> Option<&str> {
        let fingerprint = &self.manifest.server.fingerprint;
        fingerprint.get(variable).map(String::as_str)
    }

    fn is_own_account(&self, account: &Account) -> bool {
        format!("{}@{}", account.user, account.host) == self.facts.own_account
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::archive::codec::Codec;
    use crate::archive::manifest::{ClientFacts, FORMAT, FileFacts, ServerFacts, Totals};
    use crate::mysql::ServerVersion;
    use crate::mysql::replication::{Channel, Channels, Member, Replication};
    use crate::restore::inspect::destination::ConnectedClient;
    use crate::restore::inspect::refusal::refused;
    use crate::restore::options::{Destination, Permissions};
    use crate::restore::scope::Scope;

    fn manifest() -> Manifest {
        let id: crate::layout::BackupId = "20261121T020000Z-3f9a1c".parse().unwrap();
        Manifest {
            format: FORMAT,
            kind: None,
            drctl: "0".into(),
            id,
            target: "shop".parse().unwrap(),
            snapshot_at: id.snapshot_at(),
            started_at: id.snapshot_at(),
            finished_at: id.snapshot_at(),
            server: ServerFacts {
                flavour: "mysql".into(),
                version: "9.7.4".into(),
                identity: String::new(),
                fingerprint: [
                    ("lower_case_table_names".to_owned(), "0".to_owned()),
                    ("innodb_page_size".to_owned(), "16384".to_owned()),
                ]
                .into(),
                bytes: 0,
            },
            coordinates: None,
            client: ClientFacts {
                name: String::new(),
                version: String::new(),
                options: Vec::new(),
            },
            reader: None,
            codec: Codec::Zstd,
            encryption: "none".into(),
            recipients: Vec::new(),
            rekeyed_from: None,
            signature: "none".into(),
            segments: Vec::new(),
            index: FileFacts {
                name: String::new(),
                bytes: 0,
                sha256: crate::util::digest::Sha256Digest::of(""),
                plain_bytes: None,
            },
            accounts: None,
            documents: Vec::new(),
            totals: Totals {
                largest_statement_bytes: 2 << 20,
                ..Totals::default()
            },
            lossy: Vec::new(),
            warnings: Vec::new(),
            labels: Default::default(),
            suspect: Vec::new(),
        }
    }

    /// A server without any blocker.
    fn empty_server() -> DestinationFacts {
        let variables = [
            ("lower_case_table_names", "0"),
            ("innodb_page_size", "16384"),
            ("max_allowed_packet", "67108864"),
            ("log_bin", "ON"),
        ];
        DestinationFacts {
            has_redo_log_switch: false,
            version: ServerVersion::parse("9.7.4", "MySQL").unwrap(),
            variables: variables
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            objects: BTreeSet::new(),
            schemas: BTreeMap::new(),
            accounts: Some([root()].into()),
            plugins: BTreeMap::new(),
            dynamic_privileges: None,
            system_accounts: [root()].into(),
            orphans: BTreeMap::new(),
            other_clients: Vec::new(),
            replication: Replication::none(),
            own_account: "root@localhost".into(),
            privileges: Some(["ALL".to_owned()].into()),
        }
    }

    fn root() -> Account {
        Account {
            user: "root".into(),
            host: "localhost".into(),
        }
    }

    fn member(of: &'static str) -> Member {
        Member { of, behind: None }
    }

    fn table(schema: &str, name: &str) -> ObjectId {
        ObjectId::table(schema, name)
    }

    fn refusals(facts: &DestinationFacts, options: &RestoreOptions) -> Vec<String> {
        check(facts, options, |checks| {
            let refusals = checks.refusals().into_iter();
            refusals.map(|refusal| refusal.what).collect()
        })
    }

    fn check(
        facts: &DestinationFacts,
        options: &RestoreOptions,
        ask: impl FnOnce(&Checks<'_>) -> Vec<String>,
    ) -> Vec<String> {
        let survey = Survey {
            creates: [
                table("Shop", "Orders"),
                ObjectId::new(ObjectKind::Trigger, "Shop", "t"),
            ]
            .into(),
            definers: [(root(), [table("Shop", "v")].into())].into(),
            ..Survey::default()
        };
        let checks = Checks {
            facts,
            manifest: &manifest(),
            options,
            survey: &survey,
            created_before: &BTreeSet::new(),
            accounts: &BackupAccounts::default(),
        };
        ask(&checks)
    }

    #[test]
    fn a_plan_warns_of_missing_definers_if_accounts_cannot_be_read() {
        let warns = |known: &[&str], held: &[&str]| {
            let names = |all: &[&str]| Some(all.iter().map(|&one| one.to_owned()).collect());
            let facts = DestinationFacts {
                accounts: None,
                dynamic_privileges: names(known),
                privileges: names(held),
                ..empty_server()
            };
            let all = check(&facts, &RestoreOptions::default(), |checks| {
                checks.warnings()
            });
            let about = all.into_iter().find(|one| one.contains("definers exist"));
            about.unwrap().contains("ALLOW_NONEXISTENT_DEFINER")
        };
        let of_8_4 = ["SET_ANY_DEFINER", "ALLOW_NONEXISTENT_DEFINER"];
        assert!(warns(&of_8_4, &["SET_ANY_DEFINER"]));
        assert!(!warns(&of_8_4, &of_8_4));
        assert!(!warns(&of_8_4, &["SUPER"]));
        assert!(!warns(&["SET_USER_ID"], &["SET_USER_ID"]));
    }

    #[test]
    fn each_blocker_is_found_and_can_be_overruled_where_that_is_safe() {
        type Change = fn(&mut DestinationFacts);
        type Overrule = fn(&mut RestoreOptions);
        fn permit(options: &mut RestoreOptions, change: fn(&mut Permissions)) {
            let mut permissions = options.destination.permissions();
            change(&mut permissions);
            options.destination = Destination::Server(permissions);
        }
        let cases: [(&str, Change, Option<Overrule>); 15] = [
            (
                "the destination already contains table `Shop`.`Orders`",
                |facts| facts.objects.extend([table("Shop", "Orders")]),
                Some(|options| permit(options, |may| may.overwrite = true)),
            ),
            (
                "the destination already contains view `Shop`.`Orders`",
                |facts| {
                    facts
                        .objects
                        .extend([ObjectId::new(ObjectKind::View, "Shop", "Orders")])
                },
                Some(|options| permit(options, |may| may.overwrite = true)),
            ),
            (
                "the destination already contains table `Shop`.`other`",
                |facts| facts.objects.extend([table("Shop", "other")]),
                Some(|options| {
                    options.scope.tables = [("Shop".to_owned(), "Orders".to_owned())].into()
                }),
            ),
            (
                "other clients are connected: app@web (7)",
                |facts| {
                    facts.other_clients.push(ConnectedClient {
                        id: 7,
                        user: "app".into(),
                        host: "web".into(),
                    })
                },
                Some(|options| permit(options, |may| may.connected_clients = true)),
            ),
            (
                "the destination is a replica of db-0",
                |facts| {
                    facts.replication.channels = Channels::Known(vec![Channel {
                        source: "db-0".into(),
                        ..Channel::default()
                    }])
                },
                Some(|options| permit(options, |may| may.replica = true)),
            ),
            (
                "the destination is read-only (super_read_only is on)",
                |facts| facts.replication.read_only = Some("super_read_only"),
                Some(|options| permit(options, |may| may.replica = true)),
            ),
            (
                "the destination is a member of a Group Replication cluster",
                |facts| facts.replication.member = Some(member("Group Replication")),
                Some(|options| permit(options, |may| may.cluster = true)),
            ),
            (
                "the destination is a member of a Galera cluster",
                |facts| facts.replication.member = Some(member("Galera")),
                Some(|options| permit(options, |may| may.cluster = true)),
            ),
            (
                "the destination lacks the definer `root`@`localhost` (used by table `Shop`.`v`)",
                |facts| facts.accounts = Some(BTreeSet::new()),
                Some(|options| options.substitute_definer = Some(root())),
            ),
            (
                "the account x@% may not define table `Shop`.`v` as the system account `root`@`localhost`",
                |facts| {
                    facts.own_account = "x@%".into();
                    facts.privileges = Some(["SET_ANY_DEFINER".to_owned()].into());
                    facts.variables.insert("log_bin".into(), "OFF".into());
                },
                None,
            ),
            (
                "the account x@% may not create objects of other definers",
                |facts| {
                    facts.own_account = "x@%".into();
                    facts.system_accounts.clear();
                    facts.privileges = Some(["SYSTEM_VARIABLES_ADMIN".to_owned()].into());
                    facts.variables.insert("log_bin".into(), "OFF".into());
                },
                None,
            ),
            (
                "while the binary log is on, the account may not create triggers and functions",
                |facts| facts.privileges = Some(["SYSTEM_VARIABLES_ADMIN".to_owned()].into()),
                None,
            ),
            (
                "max_allowed_packet is 2097152, the backup has a statement of 2097152 bytes",
                |facts| {
                    facts
                        .variables
                        .insert("max_allowed_packet".into(), "2097152".into());
                },
                None,
            ),
            (
                "lower_case_table_names is 1, it was 0 on the target, and names have capitals",
                |facts| {
                    facts
                        .variables
                        .insert("lower_case_table_names".into(), "1".into());
                },
                None,
            ),
            (
                "innodb_page_size is 4096, it was 16384 on the target: rows and keys may not fit",
                |facts| {
                    facts
                        .variables
                        .insert("innodb_page_size".into(), "4096".into());
                },
                None,
            ),
        ];
        assert_eq!(
            refusals(&empty_server(), &RestoreOptions::default()),
            Vec::<String>::new()
        );
        for (what, change, overrule) in cases {
            let mut facts = empty_server();
            change(&mut facts);
            let mut options = RestoreOptions::default();
            assert_eq!(refusals(&facts, &options), [what]);
            if let Some(overrule) = overrule {
                overrule(&mut options);
                assert_eq!(refusals(&facts, &options), Vec::<String>::new(), "{what}");
            }
        }
    }

    #[test]
    fn a_server_that_checks_passwords_rejects_hashes_of_accounts_that_it_lacks() {
        let app = Account {
            user: "app".into(),
            host: "%".into(),
        };
        let found = |plugin: &str, strict: &str, hashed: &Account| {
            let mut facts = empty_server();
            facts.plugins = [(plugin.to_owned(), "password validation".to_owned())].into();
            let variable = ("strict_password_validation".to_owned(), strict.to_owned());
            facts.variables.extend([variable]);
            let accounts = BackupAccounts {
                accounts: [hashed.clone()].into(),
                hashed: [hashed.clone()].into(),
                ..BackupAccounts::default()
            };
            let checks = Checks {
                facts: &facts,
                manifest: &manifest(),
                options: &RestoreOptions::default(),
                survey: &Survey::default(),
                created_before: &BTreeSet::new(),
                accounts: &accounts,
            };
            refused(&checks.refusals()).map(|error| error.to_string())
        };
        let said = found("simple_password_check", "ON", &app).unwrap_or_default();
        assert!(
            said.contains("password hashes, such as that of `app`@`%`: simple_password_check"),
            "{said}"
        );
        assert_eq!(found("simple_password_check", "OFF", &app), None);
        assert_eq!(found("simple_password_check", "ON", &root()), None);
    }

    #[test]
    fn names_that_differ_only_in_case_conflict_if_the_server_folds_them() {
        let mut facts = empty_server();
        facts.objects.insert(table("shop", "orders"));
        assert!(refusals(&facts, &RestoreOptions::default())[0].contains("`shop`.`orders`"));
        facts.objects = [table("elsewhere", "orders")].into();
        facts
            .variables
            .insert("lower_case_table_names".into(), "2".into());
        let options = RestoreOptions {
            scope: Scope {
                tables: [("Shop".to_owned(), "Orders".to_owned())].into(),
                ..Default::default()
            },
            ..RestoreOptions::default()
        };
        facts.objects.insert(table("shop", "ORDERS"));
        assert!(refusals(&facts, &options)[0].contains("`shop`.`ORDERS`"));
    }

    #[test]
    fn all_refusals_are_one_line_with_every_hint() {
        let all = [Refusal::new("a", "do x"), Refusal::new("b", "do y")];
        let error = refused(&all).unwrap();
        assert_eq!(
            (error.outcome().code(), error.to_string().as_str()),
            (9, "a; also: b; do x; do y")
        );
        assert!(refused(&[]).is_none());
    }
}
