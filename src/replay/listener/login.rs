//! The login of a replica: one account with a random password, which is checked.

use std::io;

use mysql_common::constants::{CapabilityFlags, StatusFlags};
use mysql_common::io::ParseBuf;
use mysql_common::packets::{AuthPlugin, AuthSwitchRequest, HandshakePacket, HandshakeResponse};
use mysql_common::proto::MySerialize as _;
use mysql_common::scramble::{scramble_native, scramble_sha256};
use rand::Rng as _;
use rand::distr::Alphanumeric;

use crate::mysql::Flavour;
use crate::replay::listener::packet::Wire;
use crate::util::secret::Secret;

/// Collation of the greeting: utf8mb3_general_ci, which every server knows.
const COLLATION: u8 = 33;

/// The only account of a listener.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name.
    pub user: String,
    /// Its password.
    pub password: Secret,
}

impl Account {
    /// An account with a random name and a random password.
    pub fn random() -> Account {
        Account {
            user: format!("drctl_{}", random(8)),
            // MariaDB and MySQL take 32 characters as the password of a replica.
            password: Secret::new(random(32)),
        }
    }
}

/// Letters and digits: no byte of them means anything to the protocol.
fn random(length: usize) -> String {
    let mut source = rand::rng();
    (0..length)
        .map(|_| char::from(source.sample(Alphanumeric)))
        .collect()
}

/// Greets a client and checks who it is; false for any other, which has its error by then.
pub async fn admit(
    wire: &mut Wire,
    flavour: Flavour,
    id: u32,
    account: &Account,
) -> io::Result<bool> {
    let nonce = random(20);
    let plugin = match flavour {
        Flavour::MySql => AuthPlugin::CachingSha2Password,
        Flavour::MariaDb => AuthPlugin::MysqlNativePassword,
    };
    wire.send(&greeting(flavour, id, nonce.as_bytes(), &plugin))
        .await?;
    wire.flush().await?;
    let answer = wire.receive().await?;
    let response: HandshakeResponse<'_> = ParseBuf(&answer).parse(())?;
    let mut proof = response.scramble_buf().to_vec();
    if response.auth_plugin() != Some(&plugin) {
        let name = plugin.as_bytes().to_vec();
        let request = AuthSwitchRequest::new(name, [nonce.as_bytes(), b"\0"].concat());
        let mut packet = Vec::new();
        request.serialize(&mut packet);
        wire.send(&packet).await?;
        wire.flush().await?;
        proof = wire.receive().await?;
    }
    let password = account.password.reveal().as_bytes();
    let expected: Option<Vec<u8>> = match flavour {
        Flavour::MySql => scramble_sha256(nonce.as_bytes(), password).map(|it| it.to_vec()),
        Flavour::MariaDb => scramble_native(nonce.as_bytes(), password).map(|it| it.to_vec()),
    };
    // The nonce is new each time, so that the duration of a comparison reveals nothing.
    if response.user() != account.user.as_bytes() || Some(proof) != expected {
        wire.error(1045, b"28000", "Access denied").await?;
        return Ok(false);
    }
    if flavour == Flavour::MySql {
        // Fast authentication: the server knows the password.
        wire.send(&[1, 3]).await?;
    }
    wire.ok().await?;
    Ok(true)
}

fn greeting(flavour: Flavour, id: u32, nonce: &[u8], plugin: &AuthPlugin<'_>) -> Vec<u8> {
    // Replicas look at the first digits alone. MariaDB takes what begins otherwise for MySQL.
    let version = match flavour {
        Flavour::MySql => "8.4.0-drctl",
        Flavour::MariaDb => "5.5.5-10.11.0-MariaDB-drctl",
    };
    let capabilities = CapabilityFlags::CLIENT_LONG_PASSWORD
        | CapabilityFlags::CLIENT_LONG_FLAG
        | CapabilityFlags::CLIENT_CONNECT_WITH_DB
        | CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_TRANSACTIONS
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_PLUGIN_AUTH
        | CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA
        // Clients set this flag in any case, and send what it stands for only if it was offered.
        | CapabilityFlags::CLIENT_CONNECT_ATTRS;
    let (first, second) = nonce.split_at(8);
    let packet = HandshakePacket::new(
        10,
        version.as_bytes(),
        id,
        first.try_into().unwrap_or_default(),
        Some([second, b"\0"].concat()),
        capabilities,
        COLLATION,
        StatusFlags::SERVER_STATUS_AUTOCOMMIT,
        Some(plugin.as_bytes().to_vec()),
    );
    let mut bytes = Vec::new();
    packet.serialize(&mut bytes);
    bytes
}
