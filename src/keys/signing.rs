//! Detached signatures of documents, in OpenSSH's format (SSHSIG): `ssh-keygen -Y verify -n drctl` verifies them.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ssh_key::public::KeyData;
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey, Signature, SshSig};

use crate::keys::read_file;
use crate::util::error::{Error, Result};

/// The namespace of all signatures: one that was made for another purpose is not valid.
pub const NAMESPACE: &str = "drctl";

/// The variable that names the file of the signing key.
const VARIABLE: &str = "DRCTL_SIGNING_KEY_FILE";

/// How long an agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Maximum length of an answer of an agent in bytes.
const MOST_ANSWER: u32 = 64 << 10;

/// A key that signs.
pub enum SigningKey {
    /// The private key itself.
    File(Box<PrivateKey>),
    /// The public key of one that an agent has, and the agent's socket.
    Agent(Box<PublicKey>, PathBuf),
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.fingerprint())
    }
}

impl SigningKey {
    /// Reads an unencrypted private key, or the public key of one that the agent at `SSH_AUTH_SOCK` has.
    pub(super) fn read(path: &Path) -> Result<SigningKey> {
        let socket = std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from);
        SigningKey::parse(&read_file(path, VARIABLE)?, socket).map_err(|why| {
            Error::usage(format!("{VARIABLE} {} {why}", path.display()))
                .hint("create one with ssh-keygen -t ed25519 -N '' -f FILE")
        })
    }

    /// The key in a text; else the reason, as the end of a sentence. It never contains a part of the text.
    fn parse(text: &str, socket: Option<PathBuf>) -> Result<SigningKey, String> {
        let key = if let Ok(public) = PublicKey::from_openssh(text.trim()) {
            let socket = socket.ok_or(
                "is a public key, and SSH_AUTH_SOCK names no agent that has the private one",
            )?;
            SigningKey::Agent(Box::new(public), socket)
        } else {
            let private = PrivateKey::from_openssh(text)
                .map_err(|_| "is no private key in OpenSSH's format".to_owned())?;
            if private.is_encrypted() {
                return Err("has a passphrase, for which nobody can be asked; use an agent".into());
            }
            SigningKey::File(Box::new(private))
        };
        match key.public().algorithm() {
            Algorithm::Ed25519 => Ok(key),
            other => Err(format!("is of type {other}; ssh-ed25519 is supported")),
        }
    }

    fn public(&self) -> &KeyData {
        match self {
            SigningKey::File(key) => key.public_key().key_data(),
            SigningKey::Agent(key, _) => key.key_data(),
        }
    }

    /// SHA-256 of the public key, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        self.public().fingerprint(HashAlg::Sha256).to_string()
    }

    /// The public key, as in `allowed_signers`.
    pub fn public_key(&self) -> String {
        let public = PublicKey::from(self.public().clone());
        public.to_openssh().unwrap_or_default()
    }

    /// Signs a document. Blocks while an agent answers.
    pub fn sign(&self, document: &[u8]) -> Result<String> {
        let failed = |e: &dyn std::fmt::Display| {
            Error::unexpected("cannot sign the manifest or a record").because(e.to_string())
        };
        let signature = match self {
            SigningKey::File(key) => key.sign(NAMESPACE, HashAlg::Sha512, document),
            SigningKey::Agent(key, socket) => {
                let data = SshSig::signed_data(NAMESPACE, HashAlg::Sha512, document)
                    .map_err(|e| failed(&e))?;
                let signature = ask_agent(socket, key, &data).map_err(|e| {
                    Error::usage(format!(
                        "the agent at {} does not sign with the key in {VARIABLE}",
                        socket.display()
                    ))
                    .because(e)
                    .hint("add the key with ssh-add, or name a file with a private key")
                })?;
                SshSig::new(
                    key.key_data().clone(),
                    NAMESPACE,
                    HashAlg::Sha512,
                    signature,
                )
            }
        };
        let signature = signature.map_err(|e| failed(&e))?;
        // An agent may return anything.
        PublicKey::from(self.public().clone())
            .verify(NAMESPACE, document, &signature)
            .map_err(|_| {
                Error::usage(format!(
                    "the signature by the key in {VARIABLE} is not valid"
                ))
                .hint("check the agent, or name a file with a private key")
            })?;
        signature.to_pem(LineEnding::LF).map_err(|e| failed(&e))
    }
}

/// Asks an agent for a signature (draft-miller-ssh-agent).
fn ask_agent(socket: &Path, key: &PublicKey, data: &[u8]) -> std::io::Result<Signature> {
    const SIGN_REQUEST: u8 = 13;
    const SIGN_RESPONSE: u8 = 14;
    let wrong = |what: &str| std::io::Error::other(what.to_owned());
    let key = key.to_bytes().map_err(std::io::Error::other)?;
    let mut request = vec![SIGN_REQUEST];
    for part in [&key, data] {
        request.extend((part.len() as u32).to_be_bytes());
        request.extend(part);
    }
    request.extend(0u32.to_be_bytes());

    let mut agent = UnixStream::connect(socket)?;
    agent.set_read_timeout(Some(PATIENCE))?;
    agent.set_write_timeout(Some(PATIENCE))?;
    agent.write_all(&(request.len() as u32).to_be_bytes())?;
    agent.write_all(&request)?;
    let mut length = [0; 4];
    agent.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > MOST_ANSWER {
        return Err(wrong("its answer is longer than a signature"));
    }
    let mut answer = vec![0; length as usize];
    agent.read_exact(&mut answer)?;
    // Its type, and a signature with its length.
    match answer.split_first_chunk::<5>() {
        Some(([SIGN_RESPONSE, ..], signature)) => {
            Signature::try_from(signature).map_err(std::io::Error::other)
        }
        _ => Err(wrong("it refused")),
    }
}

#[cfg(test)]
#[path = "signing_tests.rs"]
mod tests;
