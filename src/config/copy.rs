//! Section `copy`.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::copy::CopyConfig;
use crate::copy::rate::{PATTERN, Rate};
use crate::lease::{SIDE_PATTERN, Side};
use crate::store::MIN_PART_BYTES;
use crate::store::config::{MAX_PART_BYTES, S3Config, StoreConfig, StoreUrl, URL_PATTERN};
use crate::util::error::{Error, Result};
use crate::util::times::{MOST_SECONDS, Seconds, signed};

/// The second store, and how `copy` writes it. Settings have the meaning of those in section `store`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CopySection {
    /// Second store: `s3://bucket/prefix` or `file:///dir`. `--store copy` selects it.
    #[schemars(with = "String", regex(pattern = URL_PATTERN))]
    to: Option<StoreUrl>,
    /// As `store.part_bytes`.
    #[schemars(range(min = MIN_PART_BYTES, max = MAX_PART_BYTES))]
    part_bytes: usize,
    /// As `store.parts_in_flight`.
    #[schemars(range(min = 1, max = 64))]
    parts_in_flight: usize,
    /// Number of objects of a backup that are copied in parallel. Memory is this times (`copy.parts_in_flight` + 4) times
    /// `copy.part_bytes`.
    #[schemars(range(min = 1, max = 64))]
    objects: usize,
    /// Rate at which the primary store is read, for example `50MiB/s`. Default: no limit.
    #[schemars(with = "String", regex(pattern = PATTERN))]
    max_rate: Option<Rate>,
    /// Pause between two passes of a continuous copy.
    #[schemars(range(min = 1, max = 86_400))]
    interval_seconds: Seconds,
    /// Maximum age of what can be restored from the second store: `serve` reports it if it is exceeded. Default: not
    /// checked.
    #[schemars(range(min = 1, max = MOST_SECONDS))]
    rpo_seconds: Option<Seconds>,
    /// The side whose standby is built from the second store, as `lease.side` names it: when it has the lease, it was
    /// promoted, and the copy ends. Default: not checked.
    #[schemars(with = "Option<String>", regex(pattern = SIDE_PATTERN))]
    side: Option<Side>,
    /// Settings of the second store for `s3://`.
    s3: S3Config,
}

impl Default for CopySection {
    fn default() -> Self {
        let store = StoreConfig::new(StoreUrl::File("/".into()));
        CopySection {
            to: None,
            part_bytes: store.part_bytes,
            parts_in_flight: store.parts_in_flight,
            objects: 4,
            max_rate: None,
            interval_seconds: Seconds(30),
            rpo_seconds: None,
            side: None,
            s3: store.s3,
        }
    }
}

impl CopySection {
    /// Checks the settings.
    pub(super) fn check(self) -> Result<CopyConfig> {
        // The check names the keys of the first store.
        self.s3.check().map_err(|error| {
            let of_copy = |text: &str| text.replace("store.s3.", "copy.s3.");
            let hint = error.next_step().map(of_copy).unwrap_or_default();
            Error::usage(of_copy(error.what())).hint(hint)
        })?;
        let settings = StoreConfig {
            url: StoreUrl::File("/".into()),
            part_bytes: self.part_bytes,
            parts_in_flight: self.parts_in_flight,
            s3: self.s3,
        };
        let store = self.to.map(|url| StoreConfig {
            url,
            ..settings.clone()
        });
        Ok(CopyConfig {
            store,
            settings,
            max_rate: self.max_rate,
            objects: self.objects,
            interval: self.interval_seconds.duration(),
            side: self.side,
            rpo: self.rpo_seconds.map(|most| signed(most.duration())),
        })
    }
}
