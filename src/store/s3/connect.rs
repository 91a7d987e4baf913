//! Creates the client from settings and AWS variables, with timeouts.
//!
//! By default the SDK waits forever for a response. The region comes from the setting, `AWS_REGION` or the profile,
//! not from instance metadata: outside of AWS that request takes seconds to fail.

use std::sync::Arc;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    Builder, IdentityCache, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedCredentialsProvider,
};

use super::credentials::{Origin, Renewing, Shared};
use super::trust::Trust;
use crate::store::config::{Checksum, PathStyle, S3Config, unsendable};
use crate::{Error, Result};

/// A client, the name of the server for messages, and the credentials.
pub(super) async fn connect(
    settings: &S3Config,
    given: Option<SharedCredentialsProvider>,
) -> Result<(Client, String, Arc<Renewing>)> {
    check_variables(std::env::vars_os())?;
    let region = RegionProviderChain::first_try(settings.region.clone().map(Region::new))
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new());
    let trust = Trust::of_the_system();
    let mut aws = aws_config::defaults(BehaviorVersion::latest()).region(region);
    if let Some(bare) = trust.bare()? {
        aws = aws.http_client(bare);
    }
    let aws = aws.load().await;
    let endpoint = endpoint_url(settings, &aws)?;
    let tls = endpoint.as_ref().is_none_or(|url| url.scheme() == "https");
    let http = trust.client(settings, &aws, tls)?;
    let region = match (aws.region(), &endpoint) {
        (Some(region), _) => checked_region(region)?,
        (None, Some(_)) => Region::from_static("us-east-1"),
        (None, None) => {
            return Err(Error::usage("the region of the bucket is unknown").hint(
                "set AWS_REGION or store.s3.region; for a server other than AWS, AWS_ENDPOINT_URL",
            ));
        }
    };
    let name = match &endpoint {
        Some(url) => url[url::Position::BeforeHost..url::Position::AfterPort].to_owned(),
        None => format!("S3 in {region}"),
    };
    let path_style = match settings.path_style {
        PathStyle::Auto => endpoint.is_some(),
        PathStyle::On => true,
        PathStyle::Off => false,
    };
    let origin = match (given, &settings.profile) {
        (Some(given), _) => Origin::Given(given),
        (None, None) if settings.credentials_file.is_none() => Origin::Chain {
            region: region.clone(),
            http: http.clone(),
        },
        (None, name) => Origin::Profile {
            name: name.clone().unwrap_or_else(|| "default".to_owned()),
            file: settings.credentials_file.clone(),
            region: region.clone(),
            http: http.clone(),
        },
    };
    let credentials = Arc::new(Renewing::new(origin));
    let mut builder = Builder::from(&aws)
        .region(region)
        .force_path_style(path_style)
        .credentials_provider(Shared(credentials.clone()))
        .identity_cache(IdentityCache::no_cache())
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts(settings))
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled()
                .grace_period(settings.stall_seconds.duration())
                .build(),
        );
    if let Some(http) = http {
        builder = builder.http_client(http);
    }
    if let Some(url) = endpoint {
        builder = builder.endpoint_url(url);
    }
    if settings.checksum == Checksum::Off {
        builder = builder
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    }
    Ok((Client::from_conf(builder.build()), name, credentials))
}

/// AWS variables whose surrounding whitespace drctl removes.
const TRIMMED: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_CA_BUNDLE",
];

/// Checks that the AWS variables can be sent in requests: otherwise the SDK would panic, or report a missing file or
/// profile.
fn check_variables(
    variables: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
) -> Result<()> {
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with("AWS_")) else {
            continue;
        };
        let text = value.to_str();
        let trimmed = if TRIMMED.contains(&name) {
            text.map(str::trim)
        } else {
            text
        };
        // The SDK would log an invalid URL.
        if let (true, Some(text)) = (name.starts_with("AWS_ENDPOINT_URL"), trimmed)
            && !text.is_empty()
        {
            checked_endpoint(text)?;
        }
        let why = match trimmed {
            // An empty variable counts as not set.
            Some("") => continue,
            Some(text) if is_path(name) => text
                .contains(char::is_control)
                .then_some("contains a newline or another control character"),
            Some(text) => unsendable(text),
            None => Some("is not UTF-8"),
        };
        if let Some(why) = why {
            return Err(Error::usage(format!("{name} {why}")).hint(format!(
                "correct {name}; it may contain the final newline of a file"
            )));
        }
    }
    Ok(())
}

/// Whether a variable is a path or name, which is not sent.
fn is_path(name: &str) -> bool {
    name.ends_with("_FILE") || name.ends_with("_BUNDLE") || name.ends_with("_PROFILE")
}

/// Checks endpoint and region in the configuration.
pub(in crate::store) fn check_settings(settings: &S3Config) -> Result<()> {
    if let Some(url) = &settings.endpoint_url {
        checked_endpoint(url.trim())?;
    }
    if let Some(region) = &settings.region {
        checked_region(&Region::new(region.clone()))?;
    }
    Ok(())
}

fn checked_region(region: &Region) -> Result<Region> {
    let name = region.as_ref().trim();
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !name.is_empty() && name.chars().all(good) {
        Ok(Region::new(name.to_owned()))
    } else {
        Err(Error::usage("the region of the bucket is not a valid name")
            .hint("correct store.s3.region, AWS_REGION or the profile's region"))
    }
}

/// The configured endpoint, checked: for an invalid one the SDK reports "dispatch failure". `None` for AWS.
fn endpoint_url(settings: &S3Config, aws: &SdkConfig) -> Result<Option<url::Url>> {
    let variable = || {
        let set = std::env::var("AWS_ENDPOINT_URL_S3").ok();
        set.filter(|url| !url.trim().is_empty())
    };
    let general = || aws.endpoint_url().map(str::to_owned);
    let Some(text) = settings
        .endpoint_url
        .clone()
        .or_else(variable)
        .or_else(general)
    else {
        return Ok(None);
    };
    checked_endpoint(text.trim()).map(Some)
}

fn checked_endpoint(text: &str) -> Result<url::Url> {
    let url = url::Url::parse(text).ok();
    let web = |url: &url::Url| matches!(url.scheme(), "http" | "https") && url.host().is_some();
    // `Url::parse` ignores newlines and tabs.
    let Some(url) = url.filter(|url| web(url) && unsendable(text).is_none()) else {
        return Err(Error::usage("the S3 endpoint is not the URL of a server").hint(
            "set AWS_ENDPOINT_URL or store.s3.endpoint_url to a URL such as https://minio.example:9000",
        ));
    };
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if plain {
        return Ok(url);
    }
    // The URL is not shown: it may contain a password.
    Err(
        Error::usage("the S3 endpoint contains a user, a password, ? or #")
            .hint("remove them; credentials come from AWS variables or profiles"),
    )
}

fn timeouts(settings: &S3Config) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(settings.connect_timeout_seconds.duration())
        .operation_attempt_timeout(settings.attempt_timeout_seconds.duration())
        .operation_timeout(settings.operation_timeout_seconds.duration())
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;

    fn check(name: &str, value: &str) -> Result<()> {
        check_variables([(name.into(), value.into())].into_iter())
    }

    #[test]
    fn a_variable_that_cannot_be_sent_is_named_but_not_shown() {
        for (name, value) in [
            ("AWS_ACCESS_KEY_ID", "se\ncret"),
            ("AWS_SECRET_ACCESS_KEY", "se\u{7f}cret"),
            ("AWS_SESSION_TOKEN", "sécret"),
            ("AWS_REGION", "eu\nwest"),
            ("AWS_ROLE_ARN", "secret\n"),
            ("AWS_ROLE_SESSION_NAME", "secret\n"),
            ("AWS_PROFILE", "secret\n"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/secret\n"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "secret\n"),
        ] {
            let error = check(name, value).unwrap_err();
            assert_eq!(error.outcome(), Outcome::Usage);
            let line = error.to_string();
            assert!(line.starts_with(name) && !line.contains("cret"), "{line}");
        }
        for (name, value) in [
            ("AWS_ACCESS_KEY_ID", " key\r\n"),
            ("AWS_REGION", "eu-west-1\n"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/schlüssel"),
            ("AWS_SESSION_TOKEN", ""),
            ("OTHER", "\n"),
        ] {
            assert!(check(name, value).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_region_is_a_name() {
        let region = |name: &'static str| checked_region(&Region::from_static(name));
        assert_eq!(region("eu-west-1\n").unwrap().as_ref(), "eu-west-1");
        for bad in ["", " ", "eu west", "eu\nwest", "EU/x", "é"] {
            assert_eq!(region(bad).unwrap_err().outcome(), Outcome::Usage);
        }
    }
}
