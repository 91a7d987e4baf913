//! Port-forward to a pod from outside the cluster: one stream of the API server per connection; ends when
//! dropped.

use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use crate::k8s::failure;
use crate::util::error::{Error, Outcome, Result};

/// A local port forwarded to a port of a pod.
#[derive(Debug)]
pub struct Forward {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// Cause of the last failed connection.
    failed: Arc<Mutex<Option<(Outcome, String)>>>,
    _serving: AbortOnDropHandle<()>,
}

impl Forward {
    /// Starts the port-forward.
    pub async fn begin(pods: Api<Pod>, name: String, to: u16) -> Result<Forward> {
        let failed =
            |e| Error::unexpected("cannot listen on 127.0.0.1 for the scratch pod").because(e);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let failed = Arc::new(Mutex::default());
        let note = failed.clone();
        let serving = tokio::spawn(async move {
            let mut streams = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                // Collect the results of finished streams.
                while streams.try_join_next().is_some() {}
                let (pods, name, note) = (pods.clone(), name.clone(), note.clone());
                streams.spawn(async move {
                    if let Err(error) = forward_stream(&pods, &name, to, stream).await {
                        tracing::debug!(%error, "a connection to the scratch pod ended");
                        let mut last = note.lock().unwrap_or_else(PoisonError::into_inner);
                        *last = Some((error.outcome(), error.what().to_owned()));
                    }
                });
            }
        });
        Ok(Forward {
            port,
            failed,
            _serving: AbortOnDropHandle::new(serving),
        })
    }

    /// Cause of the last failed connection; `None` if none failed.
    pub fn failed(&self) -> Option<(Outcome, String)> {
        self.failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

async fn forward_stream(pods: &Api<Pod>, name: &str, to: u16, mut here: TcpStream) -> Result<()> {
    let failed = |what: &str| Error::server(format!("the port-forward to the scratch pod {what}"));
    here.set_nodelay(true)
        .map_err(|e| failed("failed").because(e))?;
    let forwarder = pods.portforward(name, &[to]).await;
    let mut forwarder = forwarder.map_err(|e| failure("forward a port to the scratch pod", e))?;
    let there = forwarder.take_stream(to);
    let mut there = there.ok_or_else(|| failed("has no stream"))?;
    let copied = tokio::io::copy_bidirectional(&mut here, &mut there).await;
    copied.map_err(|e| failed("broke").because(e))?;
    drop(there);
    forwarder
        .join()
        .await
        .map_err(|e| failed("broke").because(e))
}
