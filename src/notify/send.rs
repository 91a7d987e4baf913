//! One message to one notifier by HTTP, tried again until its time is up.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use tokio::time::Instant;
use url::Url;

use super::{Address, Message};
use crate::times::instant_in;

/// What one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(10);

/// The first pause between two attempts; each later one is twice as long.
const PAUSE: Duration = Duration::from_millis(500);

/// Sends a message; else says why it did not arrive: the host at most, never more of the URL.
pub(super) async fn send(
    address: &Address,
    message: &Message,
    within: Duration,
) -> Result<(), String> {
    let mut url = address.url()?;
    let host = host(&url);
    let path = format!("{}{}", url.path().trim_end_matches('/'), message.path);
    if !message.path.is_empty() {
        url.set_path(&path);
    }
    // What redirects is not who was configured, and might get the token of it.
    let client = reqwest::Client::builder()
        .redirect(Policy::none())
        .user_agent(concat!("drctl/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| format!("{} at {host}: {}", address.key, words(error)))?;
    let until = instant_in(within);
    let mut pause = PAUSE;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let left = until.saturating_duration_since(Instant::now());
        let failure = match attempt(&client, url.clone(), message, left.min(ATTEMPT)).await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        if !failure.passing || instant_in(pause) >= until {
            let again = match attempts {
                1 => String::new(),
                count => format!(" ({count} attempts)"),
            };
            return Err(format!("{} at {host} {}{again}", address.key, failure.why));
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

/// Why an attempt failed.
struct Failure {
    /// What happened, without the URL.
    why: String,
    /// Whether another attempt may succeed.
    passing: bool,
}

async fn attempt(
    client: &reqwest::Client,
    url: Url,
    message: &Message,
    within: Duration,
) -> Result<(), Failure> {
    let request = match message.get {
        true => client.get(url),
        false => client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .body(message.body.to_string()),
    };
    let answer = request.timeout(within).send().await;
    let status = match answer {
        Ok(answer) => answer.status(),
        Err(error) if error.is_timeout() => {
            return Err(Failure {
                why: "does not answer in time".into(),
                passing: true,
            });
        }
        Err(error) => {
            return Err(Failure {
                passing: !error.is_builder(),
                why: format!("cannot be reached: {}", words(error)),
            });
        }
    };
    if status.is_success() {
        return Ok(());
    }
    let again = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    Err(Failure {
        why: format!("answered {}", status.as_u16()),
        passing: status.is_server_error() || again.contains(&status),
    })
}

/// `hooks.example.com:8443`: all of a URL that may be said.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// An error's innermost cause: those around it only say that a request failed, and where to.
fn words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
