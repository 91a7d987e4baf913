//! The address of this machine by which a server reaches it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::net::UdpSocket;

use crate::mysql::ServerConfig;
use crate::mysql::url::Endpoint;
use crate::{Error, Result};

/// The one that this machine reaches the server from.
pub async fn own_address(server: &ServerConfig) -> Result<IpAddr> {
    let Endpoint::Tcp { host, port } = &server.url.endpoint else {
        return Ok(Ipv4Addr::LOCALHOST.into());
    };
    let failed = |e| Error::server(format!("cannot find the way to {host}")).because(e);
    let mut addresses = tokio::net::lookup_host((host.as_str(), *port))
        .await
        .map_err(failed)?;
    let Some(address) = addresses.next() else {
        return Err(Error::server(format!("{host} has no address")));
    };
    let any = match address {
        SocketAddr::V4(_) => "0.0.0.0:0",
        SocketAddr::V6(_) => "[::]:0",
    };
    // Nothing is sent: this asks for the route alone.
    let socket = UdpSocket::bind(any).await.map_err(failed)?;
    socket.connect(address).await.map_err(failed)?;
    Ok(socket.local_addr().map_err(failed)?.ip())
}
