//! Examples at the end of each command's help.

/// A constant of help text: a heading, then indented lines.
macro_rules! examples {
    ($($name:ident: $($line:literal)+;)+) => {
        $(
            #[doc = concat!("Examples of `", stringify!($name), "`.")]
            pub(super) const $name: &str = concat!("Examples:", $("\n  ", $line),+);
        )+
    };
}

/// The end of the main help.
pub(super) const ROOT: &str = "\
Examples:
  drctl doctor                       check that backups can run
  drctl backup                       create a backup
  drctl verify --latest              restore it into a scratch server and compare
  drctl restore --latest --plan      print what a restore would do

Exit codes: drctl help exit-codes";

examples! {
    DOCTOR:
        "drctl doctor"
        "drctl doctor --output json"
        "drctl --config /etc/drctl/shop.yaml doctor";
    BACKUP:
        "drctl backup"
        "drctl backup --label reason=before-migration"
        "drctl --store file:///mnt/backup backup --init-store";
    LIST:
        "drctl list"
        "drctl --target shop list"
        "drctl list --output json | jq -r '.[].id'";
    SHOW:
        "drctl show --latest"
        "drctl show --before 2026-11-21T02:00:00Z"
        "drctl show --latest --objects --match 'shop.*'";
    CAT:
        "drctl cat --latest | head -50"
        "drctl cat --latest-verified | mysql -h scratch"
        "drctl cat --latest --accounts";
    RESTORE:
        "drctl restore --to 2026-11-29T22:23:10Z --plan"
        "drctl restore --latest-verified --into mysql://root@new-db:3306 --accounts"
        "drctl restore --before 2026-11-21T02:00:00Z --tables shop.orders --rename shop=shop_old";
    FENCE:
        "drctl fence"
        "drctl --config /etc/drctl/shop.yaml fence"
        "drctl fence && drctl restore --latest";
    UNFENCE:
        "drctl unfence"
        "drctl --config /etc/drctl/shop.yaml unfence"
        "drctl unfence --output json";
    VERIFY:
        "drctl verify --latest"
        "drctl verify --oldest-unverified --scratch pod"
        "drctl verify --level pitr";
    COPY:
        "drctl copy"
        "drctl copy --once --to s3://backups-eu-west-1/mysql"
        "drctl copy --once --to file:///mnt/vault --max-rate 50MiB/s";
    LEASE:
        "drctl lease"
        "drctl lease --first"
        "drctl lease --show --output json | jq -r .side";
    ALERT_TEST:
        "drctl alert-test"
        "drctl alert-test --as failed --task verify"
        "drctl alert-test --as recovered --task verify";
    REPORT:
        "drctl report --file drills.html"
        "drctl report --days 90 > drills.html"
        "drctl report --output json";
    ACCEPT:
        "drctl show --latest"
        "drctl accept 20261121T020000Z-3f9a1c"
        "drctl accept 20261121T020000Z-3f9a1c --output json";
    REKEY:
        "DRCTL_ENCRYPTION_RECIPIENTS=age1… DRCTL_IDENTITY_FILE=old.txt drctl rekey --latest"
        "drctl rekey 20261121T020000Z-3f9a1c"
        "drctl rekey --latest-verified --output json";
    PIN:
        "drctl pin 20261121T020000Z-3f9a1c"
        "drctl pin 20261121T020000Z-3f9a1c --remove"
        "drctl list";
    PRUNE:
        "drctl prune --dry-run"
        "drctl prune"
        "drctl prune --force";
    AGENT:
        "drctl agent"
        "drctl --config /etc/drctl/shop.yaml agent"
        "drctl -v agent";
    STREAM:
        "drctl stream"
        "drctl stream --once"
        "DRCTL_STREAM_CUT_SECONDS=5 drctl stream";
    LOG:
        "drctl log"
        "drctl log --grep drop.table --since 2026-11-29T00:00:00Z"
        "drctl log --check";
    SERVE:
        "drctl serve"
        "DRCTL_SERVE_LISTEN=0.0.0.0:9898 drctl serve"
        "curl -s http://127.0.0.1:9898/metrics";
    WATCH:
        "drctl watch pods"
        "drctl watch pods --namespace shop --selector app=web"
        "drctl watch pods --output json --listen 0.0.0.0:9899";
    STANDBY:
        "DRCTL_INTO_URL=mysql://root@standby:3306 drctl standby"
        "drctl --store copy standby --into mysql://root@standby:3306"
        "drctl standby --once";
    PROMOTE:
        "drctl promote --plan"
        "drctl promote --confirm shop"
        "drctl promote --confirm shop --unfenced";
    DEMOTE:
        "drctl demote --plan"
        "drctl demote --confirm shop"
        "drctl demote --confirm shop --drain 300";
    COMPLETIONS:
        "drctl completions bash > /etc/bash_completion.d/drctl"
        "drctl completions zsh > ~/.zfunc/_drctl"
        "drctl completions fish > ~/.config/fish/completions/drctl.fish";
    MAN:
        "drctl man | man -l -"
        "drctl man > /usr/local/share/man/man1/drctl.1"
        "drctl man | groff -man -Tutf8 | less";
}
