//! From outside of the cluster to a port of a pod: through the API server, a stream for each
//! connection, for as long as this value lives.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use crate::error::{Error, Result};

/// A port of this machine that leads to one of a pod's.
#[derive(Debug)]
pub struct Forward {
    /// The port on 127.0.0.1.
    pub port: u16,
    _serving: AbortOnDropHandle<()>,
}

impl Forward {
    /// Leads there.
    pub async fn begin(pods: Api<Pod>, name: String, to: u16) -> Result<Forward> {
        let failed =
            |e| Error::unexpected("cannot listen on 127.0.0.1 for the scratch pod").because(e);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let serving = tokio::spawn(async move {
            let mut streams = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                // Each answer goes out as it is; the ends of earlier streams are taken note of.
                while streams.try_join_next().is_some() {}
                let (pods, name) = (pods.clone(), name.clone());
                streams.spawn(async move {
                    if let Err(error) = lead(&pods, &name, to, stream).await {
                        tracing::debug!(%error, "a connection to the scratch pod ended");
                    }
                });
            }
        });
        Ok(Forward {
            port,
            _serving: AbortOnDropHandle::new(serving),
        })
    }
}

async fn lead(
    pods: &Api<Pod>,
    name: &str,
    to: u16,
    mut here: TcpStream,
) -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
    here.set_nodelay(true)?;
    let mut forwarder = pods.portforward(name, &[to]).await?;
    let mut there = forwarder.take_stream(to).ok_or("no stream")?;
    tokio::io::copy_bidirectional(&mut here, &mut there).await?;
    drop(there);
    forwarder.join().await?;
    Ok(())
}
