//! Section `switch` of the configuration.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use crate::k8s::fence::Workload;
use crate::switch::Direction;
use crate::switch::command::SwitchCommand;
use crate::util::times::{MOST_SECONDS, Seconds};

/// What follows the writable side.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SwitchConfig {
    /// Program and arguments that switch traffic, run without a shell after a promotion or demotion. Its environment has
    /// `PATH`, `DRCTL_SWITCH` (`promote` or `demote`), `DRCTL_TARGET` and `DRCTL_SIDE`. Default: none.
    command: Vec<String>,
    /// Time limit of `switch.command`.
    #[schemars(range(min = 1, max = MOST_SECONDS))]
    command_seconds: Seconds,
    /// Services of the own namespace whose annotation is set. Default: none.
    pub(super) services: Vec<String>,
    /// Annotation of these Services: the weight of a DNS record, which external-dns sets.
    pub(super) annotation: String,
    /// Its value on the writable side.
    pub(super) here: String,
    /// Its value on the other side.
    pub(super) away: String,
    /// Workloads of the own namespace and their replicas, such as `deployment/web: 3`: scaled to them on the writable side,
    /// and to 0 on the other. Default: none.
    #[schemars(with = "BTreeMap<String, Replicas>")]
    pub(super) scale: Scale,
}

impl Default for SwitchConfig {
    fn default() -> Self {
        SwitchConfig {
            command: Vec::new(),
            command_seconds: Seconds(60),
            services: Vec::new(),
            annotation: "external-dns.alpha.kubernetes.io/aws-weight".into(),
            here: "100".into(),
            away: "0".into(),
            scale: Scale::default(),
        }
    }
}

impl SwitchConfig {
    /// Whether anything is switched.
    pub fn is_configured(&self) -> bool {
        !self.command.is_empty() || !self.services.is_empty() || !self.scale.0.is_empty()
    }

    /// The configured program; `None` if there is none.
    pub(super) fn command(
        &self,
        direction: Direction,
        target: &str,
        side: &str,
    ) -> Option<SwitchCommand> {
        let (program, arguments) = self.command.split_first()?;
        Some(SwitchCommand {
            program: program.clone(),
            arguments: arguments.to_vec(),
            environment: [
                ("DRCTL_SWITCH", direction.word().to_owned()),
                ("DRCTL_TARGET", target.to_owned()),
                ("DRCTL_SIDE", side.to_owned()),
            ],
            limit: self.command_seconds.duration(),
        })
    }
}

/// Workloads and their replicas.
#[derive(Debug, Clone, Default)]
pub(super) struct Scale(pub(super) Vec<(Workload, u32)>);

impl<'de> Deserialize<'de> for Scale {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = BTreeMap::<String, Replicas>::deserialize(deserializer)?;
        let workload = |(name, Replicas(replicas))| {
            let workload = Workload::try_from(name).map_err(serde::de::Error::custom)?;
            Ok((workload, replicas))
        };
        pairs
            .into_iter()
            .map(workload)
            .collect::<Result<_, _>>()
            .map(Scale)
    }
}

/// A number of replicas; a text in a variable.
struct Replicas(u32);

impl JsonSchema for Replicas {
    fn schema_name() -> Cow<'static, str> {
        "Replicas".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "pattern": "^[0-9]+$",
            "minimum": 0,
            "maximum": i32::MAX,
        })
    }
}

impl<'de> Deserialize<'de> for Replicas {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl serde::de::Visitor<'_> for Number {
            type Value = u32;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of replicas")
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<u32, E> {
                let most = i32::MAX.unsigned_abs();
                let number = u32::try_from(number).ok().filter(|number| *number <= most);
                number.ok_or_else(|| E::custom("too many replicas"))
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<u32, E> {
                let number = u64::try_from(number);
                self.visit_u64(number.map_err(|_| E::custom("a negative number of replicas"))?)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<u32, E> {
                let number = text.parse();
                self.visit_u64(
                    number
                        .map_err(|_| E::custom(format!("{text:?} is not a number of replicas")))?,
                )
            }
        }
        deserializer.deserialize_any(Number).map(Replicas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_numbers_or_texts_of_them() {
        let scale = |text: &str| serde_json::from_str::<Scale>(text);
        let Scale(pairs) = scale(r#"{"deploy/web": 3, "statefulset/worker": "2"}"#).unwrap();
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(workload, replicas)| (workload.to_string(), *replicas))
            .collect();
        assert_eq!(
            pairs,
            [
                ("deployment/web".to_owned(), 3),
                ("statefulset/worker".to_owned(), 2)
            ]
        );
        for wrong in [
            r#"{"web": 3}"#,
            r#"{"deploy/web": -1}"#,
            r#"{"deploy/web": "x"}"#,
            r#"{"deploy/web": 3000000000}"#,
        ] {
            assert!(scale(wrong).is_err(), "{wrong}");
        }
    }
}
