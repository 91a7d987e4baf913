//! Credentials, reloaded before they expire, when the server rejects them as expired, and at intervals if their expiry
//! is unknown.
//!
//! The SDK's providers cache profile files for the life of the process, so the whole chain is recreated each time. The
//! SDK panics on a key that an HTTP header cannot contain: surrounding whitespace is removed, other invalid characters
//! are an error.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_sdk_s3::config::SharedHttpClient;
use tokio::sync::Mutex;

use crate::util::times::system_time_in;

/// Interval of reloading credentials whose expiry is unknown.
const RELOAD_INTERVAL: Duration = Duration::from_secs(300);

/// How long before their expiry credentials are reloaded.
const BEFORE_EXPIRY: Duration = Duration::from_secs(300);

/// Source of the credentials.
#[derive(Debug)]
pub(super) enum Origin {
    /// Given by the caller.
    Given(SharedCredentialsProvider),
    /// One profile of the AWS files.
    Profile {
        /// Its name.
        name: String,
        /// The file; `None` for those of the AWS CLI.
        file: Option<PathBuf>,
        /// Region of the services that issue credentials.
        region: Region,
        /// Client with the certificate authorities of the store; `None` for the SDK's own.
        http: Option<SharedHttpClient>,
    },
    /// The SDK's default chain: variables, profiles, web identity, pod identity, instance metadata.
    Chain {
        /// Region of the services that issue credentials.
        region: Region,
        /// Client with the certificate authorities of the store; `None` for the SDK's own.
        http: Option<SharedHttpClient>,
    },
}

impl Origin {
    async fn read(&self) -> Result<Credentials, CredentialsError> {
        let provider = match self {
            Origin::Given(provider) => provider.clone(),
            Origin::Profile {
                name,
                file,
                region,
                http,
            } => {
                let mut settings =
                    ProviderConfig::without_region().with_region(Some(region.clone()));
                if let Some(http) = http {
                    settings = settings.with_http_client(http.clone());
                }
                let mut provider = ProfileFileCredentialsProvider::builder()
                    .configure(&settings)
                    .profile_name(name);
                if let Some(file) = file {
                    let files = EnvConfigFiles::builder()
                        .with_file(EnvConfigFileKind::Credentials, file)
                        .build();
                    provider = provider.profile_files(files);
                }
                SharedCredentialsProvider::new(provider.build())
            }
            Origin::Chain { region, http } => {
                let mut aws =
                    aws_config::defaults(BehaviorVersion::latest()).region(region.clone());
                if let Some(http) = http {
                    aws = aws.http_client(http.clone());
                }
                let provider = aws.load().await.credentials_provider();
                provider.ok_or_else(CredentialsError::not_loaded_no_source)?
            }
        };
        sendable(&provider.provide_credentials().await?)
    }
}

/// The credentials that were read last, and when.
#[derive(Debug, Default)]
struct State {
    current: Option<(Credentials, Instant)>,
}

/// A provider that reloads credentials.
#[derive(Debug)]
pub(super) struct Renewing {
    origin: Origin,
    /// Locked while reading: concurrent requests wait for the result.
    state: Mutex<State>,
    /// Incremented when different credentials were read.
    generation: AtomicU64,
}

impl Renewing {
    pub(super) fn new(origin: Origin) -> Self {
        Renewing {
            origin,
            state: Mutex::default(),
            generation: 0.into(),
        }
    }

    /// Generation of the credentials that sign a request beginning now.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Reloads because the server rejected the credentials of generation `refused`. Returns whether the current ones
    /// are different.
    pub(super) async fn renew(&self, refused: u64) -> bool {
        let mut state = self.state.lock().await;
        self.generation() != refused || matches!(self.read(&mut state).await, Ok(true))
    }

    /// Reads the credentials. Returns whether they differ from the previous ones.
    async fn read(&self, state: &mut State) -> Result<bool, CredentialsError> {
        let read = self.origin.read().await?;
        let before = state.current.replace((read.clone(), Instant::now()));
        // The first credentials do not count as different: a request may have begun before they were read.
        let same = before.is_none_or(|(before, _)| {
            let parts = |c: &Credentials| {
                let token = c.session_token().map(str::to_owned);
                (
                    c.access_key_id().to_owned(),
                    c.secret_access_key().to_owned(),
                    token,
                )
            };
            parts(&before) == parts(&read)
        });
        if !same {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        Ok(!same)
    }

    async fn provide(&self) -> Result<Credentials, CredentialsError> {
        let mut state = self.state.lock().await;
        if let Some((current, read_at)) = &state.current
            && is_fresh(current, *read_at)
        {
            return Ok(current.clone());
        }
        let failed = self.read(&mut state).await.err();
        match (&state.current, failed) {
            // Valid credentials remain usable while the service that issues them is unavailable.
            (Some((current, _)), Some(error)) if is_valid(current) => {
                tracing::warn!(%error, "cannot reload the credentials of the store");
                Ok(current.clone())
            }
            (_, Some(error)) => Err(error),
            (Some((current, _)), None) => Ok(current.clone()),
            (None, None) => Err(CredentialsError::not_loaded_no_source()),
        }
    }
}

/// The provider, shared by the SDK and the store.
#[derive(Debug)]
pub(super) struct Shared(pub(super) Arc<Renewing>);

impl ProvideCredentials for Shared {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.0.provide())
    }
}

fn is_fresh(credentials: &Credentials, read_at: Instant) -> bool {
    match credentials.expiry() {
        Some(expiry) => system_time_in(BEFORE_EXPIRY) < expiry,
        None => read_at.elapsed() < RELOAD_INTERVAL,
    }
}

fn is_valid(credentials: &Credentials) -> bool {
    let expiry = credentials.expiry();
    expiry.is_none_or(|expiry| SystemTime::now() < expiry)
}

/// Removes whitespace around credentials; an error if they cannot be sent.
fn sendable(read: &Credentials) -> Result<Credentials, CredentialsError> {
    let token = read.session_token().map(str::trim);
    let token = token.filter(|token| !token.is_empty());
    let (id, secret) = (read.access_key_id().trim(), read.secret_access_key().trim());
    let parts = [
        ("access key id", "AWS_ACCESS_KEY_ID", Some(id)),
        ("secret access key", "AWS_SECRET_ACCESS_KEY", Some(secret)),
        ("session token", "AWS_SESSION_TOKEN", token),
    ];
    for (name, variable, part) in parts {
        let Some(why) = part.and_then(crate::store::config::unsendable) else {
            continue;
        };
        let from = match std::env::var_os(variable) {
            Some(_) => variable.to_owned(),
            None => format!("the {name} of the AWS profile, credentials file or program"),
        };
        return Err(CredentialsError::invalid_configuration(format!(
            "{from} {why}"
        )));
    }
    let mut clean = Credentials::builder()
        .access_key_id(id)
        .secret_access_key(secret)
        .provider_name("drctl");
    clean.set_session_token(token.map(str::to_owned));
    clean.set_expiry(read.expiry());
    clean.set_account_id(read.account_id().cloned());
    Ok(clean.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(id: &str, secret: &str, token: Option<&str>) -> Credentials {
        Credentials::new(id, secret, token.map(str::to_owned), None, "test")
    }

    #[test]
    fn whitespace_around_credentials_is_removed() {
        let clean = sendable(&credentials("a\n", " b\r\n", Some("\tc\n"))).unwrap();
        assert_eq!(clean.access_key_id(), "a");
        assert_eq!(clean.secret_access_key(), "b");
        assert_eq!(clean.session_token(), Some("c"));
        let none = sendable(&credentials("a", "b", Some("\n"))).unwrap();
        assert_eq!(none.session_token(), None);
    }

    #[test]
    fn credentials_that_cannot_be_sent_are_refused_without_being_shown() {
        for (id, secret, token) in [
            ("key\nid", "b", None),
            ("key\0id", "b", None),
            ("schlüssel", "b", None),
            ("", "b", None),
            ("a", "two\nlines", None),
            ("a", "", None),
            ("a", "b", Some("to\nken")),
            ("\u{feff}a", "b", None),
        ] {
            let error = sendable(&credentials(id, secret, token)).unwrap_err();
            let text = format!("{error:?}");
            for secret in ["key\\n", "two", "to\\nken", "schl"] {
                assert!(!text.contains(secret), "{text}");
            }
        }
    }

    /// Provides different credentials each time.
    #[derive(Debug, Default)]
    struct Counting(AtomicU64);

    impl ProvideCredentials for Counting {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let n = self.0.fetch_add(1, Ordering::Relaxed);
            future::ProvideCredentials::ready(Ok(credentials(&format!("k{n}"), "s", None)))
        }
    }

    #[tokio::test]
    async fn credentials_are_read_once_until_they_are_rejected() {
        let counting = SharedCredentialsProvider::new(Counting::default());
        let renewing = Renewing::new(Origin::Given(counting));
        assert_eq!(renewing.provide().await.unwrap().access_key_id(), "k0");
        assert_eq!(renewing.provide().await.unwrap().access_key_id(), "k0");
        let refused = renewing.generation();
        assert!(renewing.renew(refused).await);
        // A concurrent request that was refused with the old ones gets the new ones.
        assert!(renewing.renew(refused).await);
        assert_eq!(renewing.provide().await.unwrap().access_key_id(), "k1");
    }
}
