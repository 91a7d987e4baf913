//! What speaks against a restore into a server: pure, so that `--plan` can show all of it at once.
//!
//! A refusal is something that would harm the server or end the restore half-way; a warning is
//! something that its user should know. Each refusal says how to go on.

use std::collections::{BTreeMap, BTreeSet};

use crate::apply::facts::TargetFacts;
use crate::apply::lane_session;
use crate::apply::marker::PendingEvent;
use crate::apply::offered::Offered;
use crate::apply::options::RestoreOptions;
use crate::apply::refusal::{Refusal, all_of, some_of};
use crate::apply::schema_collation::{self, DumpedDefault};
use crate::archive::manifest::Manifest;
use crate::server::replication::Channels;
use crate::server::{Flavour, ServerVersion, compat};
use crate::sql::definer::Account;
use crate::sql::placement::directories;
use crate::sql::statement::{ObjectId, quote};

/// What a packet takes beside the longest statement, with room for both sides' counting.
const PACKET_ROOM_BYTES: u64 = 1 << 10;

/// Variables of the server that an account's own settings and roles are read with.
const OF_ACCOUNTS: [&str; 7] = [
    "activate_all_roles_on_login",
    "authentication_policy",
    "default_password_lifetime",
    "mandatory_roles",
    "password_history",
    "password_require_current",
    "password_reuse_interval",
];

/// What the checks are about.
#[derive(Debug)]
pub struct Case<'a> {
    /// The server.
    pub facts: &'a TargetFacts,
    /// The backup.
    pub manifest: &'a Manifest,
    /// What was asked for.
    pub options: &'a RestoreOptions,
    /// What the restore would create, by its names on the server.
    pub creates: &'a BTreeSet<ObjectId>,
    /// What the schemas in scope have as their defaults, by their names on the server.
    pub schemas: &'a BTreeMap<String, DumpedDefault>,
    /// What an earlier run of the same restore made already.
    pub made: &'a BTreeSet<ObjectId>,
    /// Definers, and the objects of each.
    pub definers: &'a BTreeMap<Account, BTreeSet<ObjectId>>,
    /// The accounts that the restore creates where they are missing.
    pub accounts: &'a Offered,
    /// Events that were disabled as those of a replica, with the definers that they had.
    pub of_replica: &'a BTreeSet<PendingEvent>,
    /// The definitions of tables that name directories.
    pub placed: &'a BTreeMap<ObjectId, Vec<u8>>,
    /// Objects that name a schema which gets another name.
    pub names_renamed: &'a [ObjectId],
}

impl Case<'_> {
    /// Definers that the server does not have and the restore does not create, with their objects.
    pub fn missing_definers(&self) -> Vec<(&Account, &BTreeSet<ObjectId>)> {
        let Some(accounts) = &self.facts.accounts else {
            return Vec::new();
        };
        let missing = self.definers.iter().filter(|(account, _)| {
            !accounts.contains(*account) && !self.accounts.accounts.contains(*account)
        });
        missing.collect()
    }

    /// Everything that speaks against the restore.
    pub fn refusals(&self) -> Vec<Refusal> {
        let mut all = Vec::new();
        all.extend(self.closed_schemas());
        all.extend(self.existing_objects());
        all.extend(self.other_masters());
        all.extend(self.definers());
        all.extend(self.limits());
        all.extend(self.offered_accounts());
        all.extend(self.unknown_directory());
        if !self.options.scope.is_everything() {
            let (facts, made) = (self.facts, self.made);
            let other = schema_collation::refusals(facts, self.schemas, self.creates, made);
            all.extend(other);
        }
        all
    }

    /// Names that are a user's where the backup was made, and the server's own here.
    fn closed_schemas(&self) -> Option<Refusal> {
        let own = self.facts.own();
        let schemas = self.creates.iter().map(|object| &object.schema);
        let closed: BTreeSet<&String> = schemas.filter(|schema| own.is_closed(schema)).collect();
        let first = closed.first()?;
        Some(Refusal::new(
            format!(
                "{}, and the server keeps that name for itself",
                some_of(closed.iter().map(|schema| ObjectId::schema(*schema)))
            ),
            format!("restore it under another name: --rename {first}=<name>"),
        ))
    }

    fn existing_objects(&self) -> Option<Refusal> {
        if self.options.overwrite {
            return None;
        }
        let mut there = self.in_the_way();
        there.extend(self.strangers());
        let there: BTreeSet<ObjectId> = there.into_iter().collect();
        if there.is_empty() {
            return None;
        }
        Some(Refusal::new(
            format!("the server has {}", some_of(there.iter())),
            "restore into an empty server, or replace them with --overwrite --confirm <target>",
        ))
    }

    fn other_masters(&self) -> Vec<Refusal> {
        let (facts, options) = (self.facts, self.options);
        let mut all = Vec::new();
        if !facts.others.is_empty() && !options.allow_connections {
            all.push(Refusal::new(
                format!("others are connected: {}", some_of(facts.others.iter())),
                "fence the server, or pass --allow-connections",
            ));
        }
        let replication = &facts.replication;
        if replication.is_replica() && !options.allow_replica {
            all.push(Refusal::new(
                format!(
                    "the server is a replica of {}",
                    some_of(replication.known().iter())
                ),
                "restore into the primary, or stop and reset replication, or pass --allow-replica",
            ));
        }
        if let Some(variable) = replication.read_only
            && !options.allow_replica
        {
            all.push(Refusal::new(
                format!("the server is read-only ({variable} is on)"),
                "make sure that it is the primary, and turn it off",
            ));
        }
        if let Some(member) = &replication.member
            && !options.allow_cluster
        {
            all.push(Refusal::new(
                format!("the server is a member of a {} cluster", member.of),
                "restore into a server outside of it, or pass --allow-cluster",
            ));
        }
        all
    }

    fn definers(&self) -> Vec<Refusal> {
        let mut all = Vec::new();
        let missing = self.missing_definers();
        if self.options.substitute_definer.is_none()
            && !self.options.scratch
            && let Some((_, defined)) = missing.first()
            && let Some(example) = defined.first()
        {
            let accounts = some_of(missing.iter().map(|(account, _)| account));
            all.push(Refusal::new(
                format!("the server lacks the definer {accounts}, of {example}"),
                "create the accounts, or pass --accounts or --definer <account>",
            ));
        }
        let foreign = self.definers.keys().any(|account| !self.is_own(account));
        let (rights, which) = compat::definer_privileges(&self.facts.version);
        if foreign && !self.facts.may(rights) {
            all.push(Refusal::new(
                format!(
                    "the account {} may not create objects of other definers",
                    self.facts.own_account
                ),
                format!("grant it {which}"),
            ));
        }
        let of_system = self.definers.iter().find(|(account, _)| {
            self.facts.system_accounts.contains(*account) && !self.is_own(account)
        });
        if let Some((account, defined)) = of_system
            && let Some(example) = defined.first()
            && !self.facts.may(&["SYSTEM_USER"])
        {
            all.push(Refusal::new(
                format!(
                    "the account {} may not define {example} as the system account {account}",
                    self.facts.own_account
                ),
                "grant it SYSTEM_USER",
            ));
        }
        let stored_code = self.creates.iter().any(|object| {
            use crate::sql::statement::ObjectKind as Kind;
            matches!(object.kind, Kind::Trigger | Kind::Function)
        });
        if stored_code
            && self.facts.is_on("log_bin")
            && !self.facts.is_on("log_bin_trust_function_creators")
            && !self.facts.may(&["SUPER"])
        {
            all.push(Refusal::new(
                "with the binary log on the account may not create triggers and functions",
                "SET GLOBAL log_bin_trust_function_creators = ON for the restore, or grant it SUPER",
            ));
        }
        all
    }

    /// A directory that a table's definition names and MySQL's InnoDB does not know.
    fn unknown_directory(&self) -> Option<Refusal> {
        if self.options.scratch || self.facts.version.flavour == Flavour::MariaDb {
            return None;
        }
        let known = [
            "datadir",
            "innodb_data_home_dir",
            "innodb_undo_directory",
            "innodb_directories",
        ];
        let known: Vec<&str> = known
            .iter()
            .flat_map(|variable| self.facts.variable(variable).split(';'))
            .map(|path| path.trim().trim_end_matches('/'))
            .filter(|path| path.starts_with('/'))
            .collect();
        let is_known = |path: &String| {
            known.iter().any(|known| {
                let below = path.strip_prefix(known);
                below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
            })
        };
        let is_of_innodb = |sql: &[u8]| memchr::memmem::find(sql, b"ENGINE=InnoDB").is_some();
        let mut of_innodb = self.placed.iter().filter(|(_, sql)| is_of_innodb(sql));
        let (table, path) = of_innodb.find_map(|(table, sql)| {
            let path = directories(sql).into_iter().find(|path| !is_known(path))?;
            Some((table, path))
        })?;
        Some(Refusal::new(
            format!(
                "{table} is kept in {path}, which the server does not know (innodb_directories)"
            ),
            format!(
                "make that directory there, and start the server with innodb_directories={path}"
            ),
        ))
    }

    /// What speaks against making the accounts that the server lacks.
    fn offered_accounts(&self) -> Vec<Refusal> {
        let (facts, offered) = (self.facts, self.accounts);
        let lacks = |account: &Account| {
            let there = facts.accounts.as_ref();
            there.is_some_and(|there| !there.contains(account))
        };
        let mut all = Vec::new();
        // A drill makes such accounts otherwise: nobody logs in there.
        let needed = offered.plugins.iter().filter(|_| !self.options.scratch);
        let lacking =
            needed
                .filter(|(account, _)| lacks(account))
                .find_map(|(account, plugins)| {
                    let plugin = plugins
                        .iter()
                        .find(|one| !facts.plugins.contains_key(*one))?;
                    Some((account, plugin))
                });
        if let Some((account, plugin)) = lacking {
            all.push(Refusal::new(
                format!("the account {account} logs in by the plugin {plugin}, which the server does not have"),
                format!("load {plugin} there, or restore without --accounts"),
            ));
        }
        let literal = offered.literal.iter().find(|(account, _)| lacks(account));
        let theirs = self.fingerprint("partial_revokes");
        if let (Some((account, schema)), Some(theirs)) = (literal, theirs)
            && theirs != facts.variable("partial_revokes")
        {
            all.push(Refusal::new(
                format!(
                    "partial_revokes was {theirs} where the backup was made, and what {account} may do in {} means \
                     something else without it",
                    quote(schema)
                ),
                format!("SET PERSIST partial_revokes = {theirs} there, or restore without --accounts"),
            ));
        }
        let judges = facts
            .plugins
            .iter()
            .find(|(_, kind)| *kind == "password validation");
        if let Some((plugin, _)) = judges
            && let Some(account) = offered.hashed.iter().find(|account| lacks(account))
            && facts.is_on("strict_password_validation")
        {
            all.push(Refusal::new(
                format!(
                    "the server takes no hash of a password, like that of {account}: {plugin} is loaded and \
                     strict_password_validation is on"
                ),
                "SET GLOBAL strict_password_validation = OFF for the restore",
            ));
        }
        all
    }

    fn is_own(&self, account: &Account) -> bool {
        format!("{}@{}", account.user, account.host) == self.facts.own_account
    }

    fn limits(&self) -> Vec<Refusal> {
        let mut all = Vec::new();
        let need = self.manifest.totals.largest_statement_bytes + PACKET_ROOM_BYTES;
        let packet = self.facts.number("max_allowed_packet").unwrap_or(u64::MAX);
        if packet < need {
            // A session cannot raise it for itself, and multiples of 1024 are what it can be.
            let enough = need.div_ceil(1 << 20) << 20;
            all.push(Refusal::new(
                format!(
                    "max_allowed_packet is {packet}, the backup has a statement of {} bytes",
                    self.manifest.totals.largest_statement_bytes
                ),
                format!("SET GLOBAL max_allowed_packet = {enough}"),
            ));
        }
        let theirs = self.fingerprint("lower_case_table_names");
        let ours = self.facts.variable("lower_case_table_names");
        if let Some(theirs) = theirs
            && theirs != ours
            && self.creates.iter().any(|object| {
                object.schema != object.schema.to_lowercase()
                    || object.name != object.name.to_lowercase()
            })
        {
            all.push(Refusal::new(
                format!("lower_case_table_names is {ours}, it was {theirs} where the backup was made, and names have capitals"),
                "restore into a server with the same setting; it can only be chosen at its creation",
            ));
        }
        if let (Some(theirs), Some(ours)) = (
            self.fingerprint("innodb_page_size")
                .and_then(|size| size.parse::<u64>().ok()),
            self.facts.number("innodb_page_size"),
        ) && ours < theirs
        {
            all.push(Refusal::new(
                format!("innodb_page_size is {ours}, it was {theirs} where the backup was made: rows and keys may not fit"),
                "restore into a server with the same page size; it can only be chosen at its creation",
            ));
        }
        if !self.names_renamed.is_empty() {
            all.push(Refusal::new(
                format!(
                    "these name a schema that gets another name: {}",
                    all_of(self.names_renamed)
                ),
                "restore without --rename, or only --tables that none of them is about",
            ));
        }
        if self.options.accounts && !self.options.scope.rename.is_empty() {
            all.push(Refusal::new(
                "--accounts would grant privileges on schemas by the names that --rename changes",
                "restore without --accounts, and run what drctl cat --accounts shows with the new names",
            ));
        }
        all
    }

    fn fingerprint(&self, variable: &str) -> Option<&str> {
        self.manifest
            .server
            .fingerprint
            .get(variable)
            .map(String::as_str)
    }

    /// What its user should know.
    pub fn warnings(&self) -> Vec<String> {
        let mut all = Vec::new();
        let theirs =
            ServerVersion::parse(&self.manifest.server.version, &self.manifest.server.flavour);
        let ours = &self.facts.version;
        match theirs {
            Some(theirs) if theirs.flavour != ours.flavour => {
                all.push(format!("the backup is of {theirs}, the server is {ours}: they differ in dialect and types"));
            }
            Some(theirs) if theirs.version.line() > ours.version.line() => {
                all.push(format!(
                    "the backup is of {theirs}, the server is the older {ours}"
                ));
            }
            _ => {}
        }
        for variable in [
            "collation_server",
            "default_collation_for_utf8mb4",
            "character_set_collations",
        ] {
            if let Some(theirs) = self.fingerprint(variable)
                && theirs != self.facts.variable(variable)
                && self.facts.variables.contains_key(variable)
            {
                all.push(format!(
                    "{variable} is {}, it was {theirs} where the backup was made: definitions that name no collation change",
                    self.facts.variable(variable)
                ));
            }
        }
        if self.options.accounts {
            all.extend(self.account_variables());
        }
        if !self.placed.is_empty() && !self.options.scratch {
            let paths: BTreeSet<String> = self
                .placed
                .values()
                .flat_map(|sql| directories(sql))
                .collect();
            all.push(format!(
                "tables are kept in directories of their own, which must exist there and be the server's to write: {}",
                some_of(paths.iter())
            ));
        }
        let strangers = self.strangers();
        if self.options.overwrite && !strangers.is_empty() {
            let some = some_of(strangers.iter());
            all.push(format!(
                "the server has more than the backup, which stays as it is: {some}"
            ));
        }
        if self.facts.accounts.is_none() && !self.definers.is_empty() {
            all.push(
                "the account may not see mysql.user: whether all definers exist is unknown"
                    .to_owned(),
            );
        }
        if self.facts.is_on("event_scheduler") && self.has_events() {
            all.push(
                "the event scheduler is on: events are enabled at the end, and begin to run then"
                    .to_owned(),
            );
        }
        all.extend(lane_session::warnings(self.facts, self.manifest));
        all.extend(self.left_disabled());
        if self.facts.replication.channels == Channels::Unknown {
            all.push(
                "whether the server is a replica cannot be seen: grant REPLICATION CLIENT (MariaDB: REPLICA MONITOR)"
                    .to_owned(),
            );
        }
        if !self.facts.may(&["PROCESS", "SUPER"]) {
            all.push("without PROCESS other accounts' connections are out of sight".to_owned());
        }
        all
    }

    /// Variables that say what accounts may do beside what they were granted.
    fn account_variables(&self) -> Vec<String> {
        let differing = OF_ACCOUNTS.iter().filter_map(|variable| {
            let theirs = self.fingerprint(variable)?;
            let ours = self.facts.variables.get(*variable)?;
            (theirs != ours).then(|| {
                format!("{variable} is {ours:?}, it was {theirs:?} where the backup was made: accounts that rely on it may do something else")
            })
        });
        differing.collect()
    }

    /// Events that nobody enables: that a server is a replica says nothing about the one restored.
    pub fn left_disabled(&self) -> Vec<String> {
        let missing = self.missing_definers();
        let lacks = |definer: &str| {
            missing
                .iter()
                .any(|(account, _)| account.to_string() == definer)
        };
        let events = self.of_replica.iter().map(|event| {
            let mut event = event.clone();
            if let Some(substitute) = &self.options.substitute_definer
                && lacks(&event.definer)
            {
                event.definer = substitute.to_string();
            }
            format!(
                "{} is disabled as that of a replica, and stays so: {}",
                event.object(),
                event.enabling()
            )
        });
        events.collect()
    }

    fn has_events(&self) -> bool {
        self.creates
            .iter()
            .any(|object| object.kind == crate::sql::statement::ObjectKind::Event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::facts::OtherConnection;
    use crate::apply::refusal::refused;
    use crate::archive::codec::Codec;
    use crate::archive::manifest::{ClientFacts, FORMAT, FileFacts, ServerFacts, Totals};
    use crate::server::replication::{Channel, Member, Replication};
    use crate::sql::statement::ObjectKind;

    fn manifest() -> Manifest {
        let id: crate::store::keys::BackupId = "20261121T020000Z-3f9a1c".parse().unwrap();
        Manifest {
            format: FORMAT,
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
            codec: Codec::Zstd,
            encryption: "none".into(),
            signature: "none".into(),
            segments: Vec::new(),
            index: FileFacts {
                name: String::new(),
                bytes: 0,
                sha256: String::new(),
            },
            accounts: None,
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

    /// A server that nothing speaks against.
    fn empty_server() -> TargetFacts {
        let variables = [
            ("lower_case_table_names", "0"),
            ("innodb_page_size", "16384"),
            ("max_allowed_packet", "67108864"),
            ("log_bin", "ON"),
        ];
        TargetFacts {
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
            others: Vec::new(),
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

    fn refusals(facts: &TargetFacts, options: &RestoreOptions) -> Vec<String> {
        let creates = [
            table("Shop", "Orders"),
            ObjectId::new(ObjectKind::Trigger, "Shop", "t"),
        ]
        .into();
        let case = Case {
            facts,
            manifest: &manifest(),
            options,
            creates: &creates,
            schemas: &BTreeMap::new(),
            made: &BTreeSet::new(),
            definers: &[(root(), [table("Shop", "v")].into())].into(),
            accounts: &Offered::default(),
            of_replica: &BTreeSet::new(),
            placed: &BTreeMap::new(),
            names_renamed: &[],
        };
        case.refusals()
            .into_iter()
            .map(|refusal| refusal.what)
            .collect()
    }

    #[test]
    fn each_thing_that_speaks_against_a_restore_is_found_and_can_be_overruled_where_that_is_wise() {
        type Change = fn(&mut TargetFacts);
        type Overrule = fn(&mut RestoreOptions);
        let cases: [(&str, Change, Option<Overrule>); 14] = [
            (
                "the server has table `Shop`.`Orders`",
                |facts| facts.objects.extend([table("Shop", "Orders")]),
                Some(|options| options.overwrite = true),
            ),
            (
                "the server has view `Shop`.`Orders`",
                |facts| {
                    facts
                        .objects
                        .extend([ObjectId::new(ObjectKind::View, "Shop", "Orders")])
                },
                Some(|options| options.overwrite = true),
            ),
            (
                "the server has table `Shop`.`other`",
                |facts| facts.objects.extend([table("Shop", "other")]),
                Some(|options| {
                    options.scope.tables = [("Shop".to_owned(), "Orders".to_owned())].into()
                }),
            ),
            (
                "others are connected: app@web (7)",
                |facts| {
                    facts.others.push(OtherConnection {
                        id: 7,
                        user: "app".into(),
                        host: "web".into(),
                    })
                },
                Some(|options| options.allow_connections = true),
            ),
            (
                "the server is a replica of db-0",
                |facts| {
                    facts.replication.channels = Channels::Known(vec![Channel {
                        source: "db-0".into(),
                        ..Channel::default()
                    }])
                },
                Some(|options| options.allow_replica = true),
            ),
            (
                "the server is read-only (super_read_only is on)",
                |facts| facts.replication.read_only = Some("super_read_only"),
                Some(|options| options.allow_replica = true),
            ),
            (
                "the server is a member of a Group Replication cluster",
                |facts| facts.replication.member = Some(member("Group Replication")),
                Some(|options| options.allow_cluster = true),
            ),
            (
                "the server is a member of a Galera cluster",
                |facts| facts.replication.member = Some(member("Galera")),
                Some(|options| options.allow_cluster = true),
            ),
            (
                "the server lacks the definer `root`@`localhost`, of table `Shop`.`v`",
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
                "max_allowed_packet is 2097152, the backup has a statement of 2097152 bytes",
                |facts| {
                    drop(
                        facts
                            .variables
                            .insert("max_allowed_packet".into(), "2097152".into()),
                    )
                },
                None,
            ),
            (
                "lower_case_table_names is 1, it was 0 where the backup was made, and names have capitals",
                |facts| {
                    drop(
                        facts
                            .variables
                            .insert("lower_case_table_names".into(), "1".into()),
                    )
                },
                None,
            ),
            (
                "innodb_page_size is 4096, it was 16384 where the backup was made: rows and keys may not fit",
                |facts| {
                    drop(
                        facts
                            .variables
                            .insert("innodb_page_size".into(), "4096".into()),
                    )
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
    fn names_that_differ_by_case_alone_collide_where_the_server_says_so() {
        let mut facts = empty_server();
        facts.objects.insert(table("shop", "orders"));
        assert!(refusals(&facts, &RestoreOptions::default())[0].contains("`shop`.`orders`"));
        facts.objects = [table("elsewhere", "orders")].into();
        facts
            .variables
            .insert("lower_case_table_names".into(), "2".into());
        let options = RestoreOptions {
            scope: crate::apply::options::Scope {
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
