//! Who asks for what: four pages, all read-only, none of which reads a request's body.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;

use super::board::Board;
use crate::report::{metrics, status_page};

/// What every answer carries: nothing of a page may be kept, framed, or fetch anything.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
];

/// All pages.
pub fn router(board: Arc<Board>) -> Router {
    let pages = Router::new()
        .route("/", get(status))
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready));
    finish(pages.with_state(board))
}

/// What all pages have in common.
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

async fn status(State(board): State<Arc<Board>>) -> Html<String> {
    Html(status_page::page(&board.status(Timestamp::now())))
}

async fn metrics(State(board): State<Arc<Board>>) -> impl IntoResponse {
    let text = metrics::text(&board.status(Timestamp::now()));
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text)
}

/// Whether the store was read, and lately.
async fn ready(State(board): State<Arc<Board>>) -> (StatusCode, &'static str) {
    let status = board.status(Timestamp::now());
    match (status.is_ready(), status.scanned_at) {
        (true, _) => (StatusCode::OK, "ready\n"),
        (false, None) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the store was not read yet\n",
        ),
        (false, Some(_)) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the store cannot be read\n",
        ),
    }
}
