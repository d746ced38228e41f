//! The signature that tells a receiver who sent a message, and when. Pure.
//!
//! The time is signed with the body, so that a receiver can refuse what somebody has kept and sends again.

use data_encoding::HEXLOWER;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// What a receiver shares with the daemon.
#[derive(Clone)]
pub struct Secret(Hmac<Sha256>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// The secret of a file's content: all of it, but for white space at its end. None where nothing else is there.
    #[must_use]
    pub fn of(content: &[u8]) -> Option<Self> {
        let key = content.trim_ascii_end();
        // A key of any length is one for HMAC; an empty one is everybody's.
        if key.is_empty() { None } else { Hmac::new_from_slice(key).ok().map(Self) }
    }

    /// Signs a body at a time: the header's value.
    #[must_use]
    pub fn sign(&self, timestamp: i64, body: &str) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{timestamp}.").as_bytes());
        mac.update(body.as_bytes());
        format!("sha256={}", HEXLOWER.encode(&mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_signature_is_the_hmac_of_time_and_body() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac key
        let expected = "sha256=a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03";
        let secret = Secret::of(b"key\n").expect("is one");
        let signature = secret.sign(1_700_000_000, "{\"a\":1}");
        assert_eq!(signature, expected);
        assert_ne!(signature, secret.sign(1_700_000_001, "{\"a\":1}"));
    }

    #[test]
    fn nothing_is_no_secret() {
        assert!(Secret::of(b"").is_none() && Secret::of(b" \n").is_none());
        assert_eq!(format!("{:?}", Secret::of(b"key")), "Some(Secret)");
    }
}
