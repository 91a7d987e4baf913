//! The HTTP routes: four read-only pages; request bodies are never read.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;

use crate::monitor::serve::state::SharedState;
use crate::monitor::{metrics, status_page};

/// Headers of every response: no caching, no framing, no subresources.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
];

/// Router of all pages.
pub fn router(state: Arc<SharedState>) -> Router {
    let pages = Router::new()
        .route("/", get(status))
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready));
    finish(pages.with_state(state))
}

/// Adds the layers common to all pages.
pub fn finish(pages: Router) -> Router {
    pages
        .fallback(|| async { (StatusCode::NOT_FOUND, "not found\n") })
        .layer(map_response(with_headers))
}

async fn with_headers(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

async fn status(State(state): State<Arc<SharedState>>) -> Html<String> {
    Html(status_page::page(&state.status(Timestamp::now())))
}

async fn metrics(State(state): State<Arc<SharedState>>) -> impl IntoResponse {
    let text = metrics::text(&state.status(Timestamp::now()));
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text)
}

/// Readiness: whether the store was read recently.
async fn ready(State(state): State<Arc<SharedState>>) -> (StatusCode, &'static str) {
    let status = state.status(Timestamp::now());
    match (status.is_ready(), status.scanned_at) {
        (true, _) => (StatusCode::OK, "ready\n"),
        (false, None) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the store has not been read yet\n",
        ),
        (false, Some(_)) => (StatusCode::SERVICE_UNAVAILABLE, "the store is unreadable\n"),
    }
}
