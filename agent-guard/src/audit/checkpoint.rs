//! Checkpoints: records by which whoever holds the log's key vouches for all records before (Ed25519, RFC 8032).
//!
//! What is signed is the checkpoint's own record without its signature: it has the hash of the record before it, and so of
//! all. It must not know files but that of the key, nor when a checkpoint is due.

use core::fmt;
use core::str::FromStr;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::Serialize;
use serde_json::Value;

use super::chain::{self, Link};
use crate::system::{paths, random};

/// What a checkpoint says that it is.
pub(super) const WHAT: &str = "checkpoint";
/// Bytes of the key's file: the secret key in hexadecimal, and a newline.
const FILE_BYTES: u64 = 65;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Its file could not be opened.
    #[error("cannot open the audit log's key: {0}")]
    Open(#[from] paths::Failure),
    /// Its file could not be read or made.
    #[error("cannot read or write the audit log's key {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What stands there is none.
    #[error("{} holds no key: expected 64 hexadecimal digits and a newline; move it away, and a new key is made", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
}

/// The key that signs.
pub struct Key(SigningKey);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.public())
    }
}

impl Key {
    /// The key in a file; it is made if it is not there. Only its owner can read it.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |source| Failure::File { path: path.to_owned(), source };
        let mut file = paths::open_append(path)?;
        if file.metadata().map_err(failed)?.len() == 0 {
            let secret = random::bytes::<32>().map_err(failed)?;
            let text = format!("{}\n", HEXLOWER.encode(&secret));
            file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        }
        Self::read(path)
    }

    /// The key in a file that is there.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let failed = |source| Failure::File { path: path.to_owned(), source };
        let mut text = String::new();
        let file = File::open(path).map_err(failed)?;
        file.take(FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
        let secret = text.strip_suffix('\n').and_then(|digits| HEXLOWER.decode(digits.as_bytes()).ok());
        let secret: Option<[u8; 32]> = secret.and_then(|bytes| bytes.try_into().ok());
        let secret = secret.ok_or_else(|| Failure::NoKey { path: path.to_owned() })?;
        Ok(Self(SigningKey::from_bytes(&secret)))
    }

    /// The half that anybody may have.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// A checkpoint's line.
    pub(super) fn sign(&self, link: &Link, body: &impl Serialize) -> Result<String, serde_json::Error> {
        let mut record = chain::record(link, body)?;
        record["key"] = self.public().to_string().into();
        let signature = self.0.sign(record.to_string().as_bytes());
        record["signature"] = HEXLOWER.encode(&signature.to_bytes()).into();
        Ok(record.to_string())
    }
}

/// The half of the key that anybody may have, and verify with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// A text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a public key: 64 hexadecimal digits in lower case, as `agent-guard audit key` prints it")]
pub struct NotAKey;

impl FromStr for PublicKey {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let bytes: Option<[u8; 32]> = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        let key = bytes.ok_or(NotAKey)?;
        VerifyingKey::from_bytes(&key).map(|_key| Self(key)).map_err(|_error| NotAKey)
    }
}

/// Who has signed a record; `None` for one that is no checkpoint, and `Err` for one whose signature is none.
#[must_use]
pub(super) fn signer(line: &[u8]) -> Option<Result<PublicKey, ()>> {
    let Ok(Value::Object(mut record)) = serde_json::from_slice(line) else { return None };
    if record.get("what").and_then(Value::as_str) != Some(WHAT) {
        return None;
    }
    let signature = record.remove("signature");
    let verified = || {
        let key: PublicKey = record.get("key")?.as_str()?.parse().ok()?;
        let signature = HEXLOWER.decode(signature?.as_str()?.as_bytes()).ok()?;
        let signature = Signature::from_slice(&signature).ok()?;
        let text = Value::Object(record).to_string();
        VerifyingKey::from_bytes(&key.0).ok()?.verify_strict(text.as_bytes(), &signature).ok()?;
        Some(key)
    };
    Some(verified().ok_or(()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::json;

    use super::{Failure, Key, PublicKey, WHAT, signer};
    use crate::audit::chain::{Hash, Link};

    const LINK: Link = Link { sequence: 1, previous: Hash::NONE, torn: None };

    #[test]
    fn a_key_is_made_once_and_only_its_owner_can_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let made = Key::open(&path).unwrap().public();
        assert_eq!(Key::open(&path).unwrap().public(), made);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(made.to_string().parse(), Ok(made));
        assert!(!fs::read_to_string(&path).unwrap().contains(&made.to_string()));
        for wrong in ["", "ab", "zz"] {
            fs::write(&path, format!("{wrong}\n")).unwrap();
            assert!(matches!(Key::open(&path), Err(Failure::NoKey { .. })), "{wrong}");
        }
        assert!("ab".parse::<PublicKey>().is_err());
    }

    #[test]
    fn a_checkpoint_that_was_changed_anywhere_has_no_signer() {
        let directory = tempfile::tempdir().unwrap();
        let key = Key::open(&directory.path().join("key")).unwrap();
        let line = key.sign(&LINK, &json!({ "what": WHAT })).unwrap();
        assert_eq!(signer(line.as_bytes()), Some(Ok(key.public())));
        assert_eq!(signer(b"{\"what\":\"held\"}"), None);
        for at in 0..line.len() {
            let mut changed = line.clone().into_bytes();
            changed[at] ^= 1;
            assert_ne!(signer(&changed), Some(Ok(key.public())), "{}", String::from_utf8_lossy(&changed));
        }
    }
}
