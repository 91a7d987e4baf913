//! From settings and the AWS variables to a client with time-outs and bounded retries.
//!
//! The SDK by itself waits for ever for an answer. Credentials come from its default chain, the
//! region from the setting, `AWS_REGION` or the profile: never from the instance, whose metadata
//! service takes seconds not to answer. Certificates of an endpoint's own authority are found by
//! `SSL_CERT_FILE`.

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{ConfigLoader, Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Builder, RequestChecksumCalculation, ResponseChecksumValidation};

use crate::store::config::{Checksum, PathStyle, S3Config};
use crate::{Error, Result};

/// A client, and the server's name for error texts.
pub(super) async fn connect(settings: &S3Config, aws: ConfigLoader) -> Result<(Client, String)> {
    let region = RegionProviderChain::first_try(settings.region.clone().map(Region::new))
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new());
    let aws = aws.region(region).load().await;

    let endpoint = endpoint_url(settings, &aws)?;
    let region = match (aws.region(), &endpoint) {
        (Some(region), _) => region.clone(),
        (None, Some(_)) => Region::from_static("us-east-1"),
        (None, None) => {
            return Err(Error::usage("the bucket's region is not known").hint(
                "set AWS_REGION or store.s3.region; for a server of your own AWS_ENDPOINT_URL",
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
    let mut builder = Builder::from(&aws)
        .region(region)
        .force_path_style(path_style)
        .retry_config(RetryConfig::standard().with_max_attempts(settings.max_attempts))
        .timeout_config(timeouts(settings))
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled()
                .grace_period(settings.stall())
                .build(),
        );
    if let Some(url) = endpoint {
        builder = builder.endpoint_url(url);
    }
    if settings.checksum == Checksum::Off {
        builder = builder
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    }
    Ok((Client::from_conf(builder.build()), name))
}

/// The endpoint of one's own, if there is any, checked: the SDK would say "dispatch failure".
fn endpoint_url(settings: &S3Config, aws: &SdkConfig) -> Result<Option<url::Url>> {
    let variable = || std::env::var("AWS_ENDPOINT_URL_S3").ok();
    let general = || aws.endpoint_url().map(str::to_owned);
    let Some(text) = settings
        .endpoint_url
        .clone()
        .or_else(variable)
        .or_else(general)
    else {
        return Ok(None);
    };
    let url = url::Url::parse(&text).ok();
    let web = |url: &url::Url| matches!(url.scheme(), "http" | "https") && url.host().is_some();
    match url.filter(web) {
        Some(url) => Ok(Some(url)),
        None => Err(Error::usage("the S3 endpoint is no URL of a server").hint(
            "write AWS_ENDPOINT_URL or store.s3.endpoint_url like https://minio.example:9000",
        )),
    }
}

fn timeouts(settings: &S3Config) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(settings.connect_timeout())
        .operation_attempt_timeout(settings.attempt_timeout())
        .operation_timeout(settings.operation_timeout())
        .build()
}
