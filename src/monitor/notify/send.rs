//! Delivery of one message to one notifier by HTTP, with retries until a time limit.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use tokio::time::Instant;
use url::Url;

use crate::monitor::notify::{Address, Message};
use crate::util::times::instant_in;

/// Time limit of one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// First pause between attempts; each later pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Sends a message; else returns why it was not delivered, with no part of the URL except the host.
pub(super) async fn send(
    address: &Address,
    message: &Message,
    timeout: Duration,
) -> Result<(), String> {
    let mut url = address.url()?;
    let host = host(&url);
    let path = format!("{}{}", url.path().trim_end_matches('/'), message.path);
    if !message.path.is_empty() {
        url.set_path(&path);
    }
    // A redirect leads to a host that is not configured and must not receive the token.
    let client = reqwest::Client::builder()
        .redirect(Policy::none())
        .user_agent(concat!("drctl/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| format!("{} at {host}: {}", address.key, innermost_cause(error)))?;
    let until = instant_in(timeout);
    let mut pause = FIRST_PAUSE;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let left = until.saturating_duration_since(Instant::now());
        let failure = match attempt(&client, url.clone(), message, left.min(ATTEMPT_TIMEOUT)).await
        {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        if !failure.retryable || instant_in(pause) >= until {
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

/// Failure of one attempt.
struct Failure {
    /// Description, without the URL.
    why: String,
    /// Whether another attempt may succeed.
    retryable: bool,
}

async fn attempt(
    client: &reqwest::Client,
    url: Url,
    message: &Message,
    timeout: Duration,
) -> Result<(), Failure> {
    let request = if message.get {
        client.get(url)
    } else {
        client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .body(message.body.to_string())
    };
    let answer = request.timeout(timeout).send().await;
    let status = match answer {
        Ok(answer) => answer.status(),
        Err(error) if error.is_timeout() => {
            return Err(Failure {
                why: "timed out".into(),
                retryable: true,
            });
        }
        Err(error) => {
            return Err(Failure {
                retryable: !error.is_builder(),
                why: format!("is unreachable: {}", innermost_cause(error)),
            });
        }
    };
    if status.is_success() {
        return Ok(());
    }
    let again = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    Err(Failure {
        why: format!("answered {}", status.as_u16()),
        retryable: status.is_server_error() || again.contains(&status),
    })
}

/// `hooks.example.com:8443`: the only part of a URL that may be printed.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The innermost cause of an error; the outer ones only repeat that the request failed, and the URL.
fn innermost_cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
