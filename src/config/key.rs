//! What a key of the configuration is.

/// How a variable's text becomes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The text itself.
    Text,
    /// A number or a boolean, as YAML writes them.
    Scalar,
    /// Texts, separated by commas.
    List,
    /// `name=value` pairs, separated by commas.
    Pairs,
    /// A list of maps, in JSON.
    Items,
    /// A map, in JSON.
    Map,
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct ConfigKey {
    /// Where it stands in the file, with dots.
    pub path: &'static str,
    /// How its variable is read.
    pub form: Form,
    /// What it means, with unit and default.
    pub doc: &'static str,
}

pub(super) const fn key(path: &'static str, form: Form, doc: &'static str) -> ConfigKey {
    ConfigKey { path, form, doc }
}
