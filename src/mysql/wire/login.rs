//! Connects and logs in, with the plugins that the driver supports.

use std::io;
use std::pin::Pin;

use mysql_async::consts::CapabilityFlags;
use mysql_async::{DriverError, IoError};
use mysql_common::io::ParseBuf;
use mysql_common::packets::{
    AuthPlugin, AuthSwitchRequest, HandshakePacket, HandshakeResponse, SslRequest,
};
use mysql_common::proto::MySerialize;
use tokio::net::{TcpStream, UnixStream};

use super::packets::{Duplex, Packets};
use super::{END, ERROR, KEEPALIVE, server_error};
use crate::mysql::ServerConfig;
use crate::mysql::connect::CONNECT_TIMEOUT;
use crate::mysql::url::Endpoint;

/// The protocol's maximum, so that only the server limits the length of a row.
const MAX_PACKET_BYTES: u32 = 1 << 30;

/// utf8mb4_general_ci, which all servers have.
const COLLATION: u8 = 45;

/// Why a login failed.
pub(super) enum Failed {
    /// The server does not support TLS.
    NoTls,
    /// The server does not have the password in its cache, and asks for it on a connection that others can read.
    NotCached,
    Io(io::Error),
    Driver(mysql_async::Error),
}

impl Failed {
    /// The same failure as the driver reports it.
    pub(super) fn into_driver_error(self) -> mysql_async::Error {
        match self {
            Failed::NoTls => DriverError::NoClientSslFlagFromServer.into(),
            Failed::NotCached => IoError::Io(io::Error::other(
                "the server forgot the password during the login",
            ))
            .into(),
            Failed::Io(io) => IoError::Io(io).into(),
            Failed::Driver(error) => error,
        }
    }
}

impl From<io::Error> for Failed {
    fn from(io: io::Error) -> Self {
        Failed::Io(io)
    }
}

/// The packets of a connection that has logged in.
pub(super) async fn open(config: &ServerConfig, encrypt: bool) -> Result<Packets, Failed> {
    let (stream, host) = connect(&config.url.endpoint).await?;
    let mut packets = Packets::new(stream);
    let first = packets.next(CONNECT_TIMEOUT).await?.to_vec();
    if first.first() == Some(&ERROR) {
        return Err(Failed::Driver(server_error(&first)));
    }
    let greeting: HandshakePacket<'_> = ParseBuf(&first).parse(())?;
    let capabilities = wanted(encrypt) & greeting.capabilities();
    if encrypt {
        if !capabilities.contains(CapabilityFlags::CLIENT_SSL) {
            return Err(Failed::NoTls);
        }
        let request = SslRequest::new(capabilities, MAX_PACKET_BYTES, COLLATION);
        packets.send(&serialized(&request)).await?;
        packets = packets.encrypted(&config.url, &host).await?;
    }
    let mut nonce = greeting.scramble_1_ref().to_vec();
    nonce.extend_from_slice(greeting.scramble_2_ref().unwrap_or_default());
    // Without its final zero.
    nonce.resize(20, 0);
    // Any other plugin is announced by a request to switch to it.
    let plugin = match greeting.auth_plugin() {
        Some(AuthPlugin::CachingSha2Password) => AuthPlugin::CachingSha2Password,
        _ => AuthPlugin::MysqlNativePassword,
    };
    let password = config.password.as_ref().map(|password| password.reveal());
    let secret = plugin.gen_data(password, &nonce);
    let response = HandshakeResponse::new(
        secret.as_deref(),
        greeting.server_version_parsed().unwrap_or_default(),
        Some(config.url.user.as_bytes()),
        None::<&[u8]>,
        Some(plugin.clone()),
        capabilities,
        None,
        MAX_PACKET_BYTES,
    );
    packets.send(&serialized(&response)).await?;
    let is_secure = encrypt || matches!(config.url.endpoint, Endpoint::Socket(_));
    let login = Login {
        password,
        is_secure,
        allows_cleartext: config.allows_cleartext(encrypt),
    };
    login.finish(&mut packets, plugin.into_owned()).await?;
    Ok(packets)
}

fn wanted(encrypt: bool) -> CapabilityFlags {
    let mut wanted = CapabilityFlags::CLIENT_LONG_PASSWORD
        | CapabilityFlags::CLIENT_LONG_FLAG
        | CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_TRANSACTIONS
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_PLUGIN_AUTH
        | CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA;
    wanted.set(CapabilityFlags::CLIENT_SSL, encrypt);
    wanted
}

fn serialized(packet: &impl MySerialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.serialize(&mut bytes);
    bytes
}

async fn connect(endpoint: &Endpoint) -> io::Result<(Pin<Box<dyn Duplex>>, String)> {
    match endpoint {
        Endpoint::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            let probes = socket2::TcpKeepalive::new().with_time(KEEPALIVE);
            socket2::SockRef::from(&stream).set_tcp_keepalive(&probes)?;
            Ok((Box::pin(stream), host.clone()))
        }
        Endpoint::Socket(path) => {
            let stream = UnixStream::connect(path).await?;
            Ok((Box::pin(stream), String::new()))
        }
    }
}

/// What decides how a password is sent.
struct Login<'a> {
    password: Option<&'a str>,
    /// Whether the connection is encrypted or local.
    is_secure: bool,
    /// Whether the server may ask for the password itself.
    allows_cleartext: bool,
}

impl Login<'_> {
    /// Answers the server until it accepts or refuses.
    async fn finish(
        &self,
        packets: &mut Packets,
        mut plugin: AuthPlugin<'static>,
    ) -> Result<(), Failed> {
        let mut switched = false;
        loop {
            let packet = packets.next(CONNECT_TIMEOUT).await?.to_vec();
            match (packet.as_slice(), &plugin) {
                ([0, ..], _) => return Ok(()),
                ([ERROR, ..], _) => return Err(Failed::Driver(server_error(&packet))),
                ([END, _, ..], _) if !switched => {
                    let request: AuthSwitchRequest<'_> = ParseBuf(&packet).parse(())?;
                    plugin = self.supported(request.auth_plugin())?;
                    switched = true;
                    let data = plugin.gen_data(self.password, request.plugin_data());
                    packets.send(data.as_deref().unwrap_or_default()).await?;
                }
                // The server knows the password: its OK follows.
                ([1, 3], AuthPlugin::CachingSha2Password) => {}
                ([1, 4], AuthPlugin::CachingSha2Password) if self.is_secure => {
                    let password = self.password.unwrap_or_default().as_bytes();
                    packets.send(&[password, b"\0"].concat()).await?;
                }
                ([1, 4], AuthPlugin::CachingSha2Password) => return Err(Failed::NotCached),
                _ => return Err(io::Error::other("unexpected packet during the login").into()),
            }
        }
    }

    fn supported(&self, plugin: AuthPlugin<'_>) -> Result<AuthPlugin<'static>, Failed> {
        match plugin {
            AuthPlugin::CachingSha2Password | AuthPlugin::MysqlNativePassword => {
                Ok(plugin.into_owned())
            }
            AuthPlugin::MysqlClearPassword if self.allows_cleartext => Ok(plugin.into_owned()),
            AuthPlugin::MysqlClearPassword => {
                Err(Failed::Driver(DriverError::CleartextPluginDisabled.into()))
            }
            other => {
                let name = String::from_utf8_lossy(other.as_bytes()).into_owned();
                Err(Failed::Driver(
                    DriverError::UnknownAuthPlugin { name }.into(),
                ))
            }
        }
    }
}
