//! Webhook signatures: the provider's own scheme, and Standard Webhooks.
//!
//! Checked against the vectors of the two schemes' published clients. Compared in constant time (by the HMAC itself).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// How old a signature may be, in seconds, unless an endpoint says otherwise.
pub const TOLERANCE: i64 = 300;

/// Why a webhook is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SignatureError {
    /// The header has no time, or none that is a number.
    #[error("no time in the signature header")]
    NoTime,
    /// The header has no signature of the scheme.
    #[error("no signature of the expected scheme")]
    NoSignature,
    /// No signature fits the body.
    #[error("no signature fits the body")]
    Mismatch,
    /// Signed too long ago (or, for Standard Webhooks, too far in the future).
    #[error("the time is outside the tolerance")]
    Stale,
    /// The secret can't be read.
    #[error("the secret can't be read")]
    Secret,
}

/// The provider's header for a body: `t=...,v1=...`, with one `v1` for each secret (several while one is rotated).
pub fn sign(secrets: &[&str], time: i64, body: &[u8]) -> String {
    let mut header = format!("t={time}");
    for secret in secrets {
        let mac = provider_mac(secret, &time.to_string(), body);
        header.push_str(&format!(",v1={}", hex::encode(mac.finalize().into_bytes())));
    }
    header
}

/// Verifies the provider's header at `now`, with a tolerance in seconds (0 switches the test off). A time in the future passes.
pub fn verify(secret: &str, header: &str, body: &[u8], now: i64, tolerance: i64) -> Result<(), SignatureError> {
    let pairs: Vec<(&str, &str)> = header.split(',').filter_map(|pair| pair.split_once('=')).collect();
    let time = pairs
        .iter()
        .find(|(name, _)| *name == "t")
        .and_then(|(_, time)| Some((*time, time.parse::<i64>().ok()?)));
    let Some((text, time)) = time else {
        return Err(SignatureError::NoTime);
    };
    let mut signatures = pairs.iter().filter(|(name, _)| *name == "v1").peekable();
    if signatures.peek().is_none() {
        return Err(SignatureError::NoSignature);
    }
    let fits = |(_, signature): &(&str, &str)| {
        let expected = provider_mac(secret, text, body);
        hex::decode(signature).is_ok_and(|signature| expected.verify_slice(&signature).is_ok())
    };
    if !signatures.any(fits) {
        return Err(SignatureError::Mismatch);
    }
    if tolerance > 0 && time < now.saturating_sub(tolerance) {
        return Err(SignatureError::Stale);
    }
    Ok(())
}

fn provider_mac(secret: &str, time: &str, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = keyed(secret.as_bytes());
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes a key of any length"),
    }
}

/// The header `webhook-signature` of Standard Webhooks.
pub fn sign_standard(secret: &str, id: &str, time: i64, body: &[u8]) -> Result<String, SignatureError> {
    let mac = standard_mac(secret, id, time, body)?;
    Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

/// Verifies the headers of Standard Webhooks at `now`, 5 minutes both ways.
pub fn verify_standard(
    secret: &str,
    headers: StandardHeaders<'_>,
    body: &[u8],
    now: i64,
) -> Result<(), SignatureError> {
    let time: i64 = headers.timestamp.parse().map_err(|_| SignatureError::NoTime)?;
    let signatures: Vec<&str> = headers
        .signature
        .split(' ')
        .filter_map(|entry| entry.strip_prefix("v1,"))
        .collect();
    if signatures.is_empty() {
        return Err(SignatureError::NoSignature);
    }
    let mut fits = false;
    for signature in signatures {
        let mac = standard_mac(secret, headers.id, time, body)?;
        fits |= STANDARD
            .decode(signature)
            .is_ok_and(|signature| mac.verify_slice(&signature).is_ok());
    }
    if !fits {
        return Err(SignatureError::Mismatch);
    }
    if now.abs_diff(time) > TOLERANCE.unsigned_abs() {
        return Err(SignatureError::Stale);
    }
    Ok(())
}

/// The three headers of Standard Webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandardHeaders<'a> {
    /// `webhook-id`.
    pub id: &'a str,
    /// `webhook-timestamp`.
    pub timestamp: &'a str,
    /// `webhook-signature`.
    pub signature: &'a str,
}

impl fmt::Display for StandardHeaders<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.id, self.timestamp, self.signature)
    }
}

fn standard_mac(secret: &str, id: &str, time: i64, body: &[u8]) -> Result<Hmac<Sha256>, SignatureError> {
    let encoded = secret.strip_prefix("whsec_").unwrap_or(secret);
    let key = STANDARD.decode(encoded).map_err(|_| SignatureError::Secret)?;
    if !(24..=64).contains(&key.len()) {
        return Err(SignatureError::Secret);
    }
    let mut mac = keyed(&key);
    mac.update(format!("{id}.{time}.").as_bytes());
    mac.update(body);
    Ok(mac)
}

#[cfg(test)]
mod tests {
    use super::{SignatureError, StandardHeaders, TOLERANCE, sign, sign_standard, verify, verify_standard};

    const SECRET: &str = "whsec_test_secret_1";
    const B1: &str = r#"{"id":"evt_1","type":"payment_intent.succeeded"}"#;
    const B2: &str = r#"{"id": "evt_1", "type": "payment_intent.succeeded"}"#;
    const B5: &str = r#"{"type":"payment.succeeded","timestamp":"2023-11-14T22:13:20Z","data":{"id":"pay_1"}}"#;
    const A: &str = "f8e2e7743d3bdc5ae6d976e1b929b09d5f4dead5521d5a699dda43135b196a6a";
    const C: &str = "fd1bfea9611123bdabc198314fcbcdd375eb7fc1afebb5148d282d3803151dff";
    const KEY_G: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const KEY_H: &str = "whsec_a2tra2tra2tra2tra2tra2tra2tra2tr";
    const G: &str = "gpXFqsFVZHDFb9+FiuubVrQNh+qltWuguZ8Ne79/Lxo=";
    const H: &str = "lCoOHq5/pNUzQ2EzM7EaRQm80fh7H8qbBhCfXRZcx6Y=";
    const T: i64 = 1_700_000_000;

    #[test]
    fn the_provider_scheme_meets_its_vectors() {
        let vectors = [
            (SECRET, T, B1, A),
            (
                SECRET,
                T + 1,
                B1,
                "1e6e10197f6d19b588350b3224f3a3c41c6f8291224675f000e3eba934ded731",
            ),
            ("whsec_other", T, B1, C),
            (
                SECRET,
                T,
                B2,
                "51daf3a7821f5df198418039958b565655ba11e63bf7426a21f5e4a141ae0d09",
            ),
            (
                SECRET,
                T,
                "",
                "1255ce5be0b18d90cb33658a5bd4895f474de17cd78fe3fd952061be13ae7830",
            ),
            (
                SECRET,
                T,
                r#"{"name":"Zoë €5"}"#,
                "b5ee1dda0c83ec77c7a64ceeaaa96bb9f62e53d20b205b7a766d920abc7a8b2f",
            ),
        ];
        for (secret, time, body, expected) in vectors {
            assert_eq!(
                sign(&[secret], time, body.as_bytes()),
                format!("t={time},v1={expected}"),
                "{body}"
            );
        }
    }

    #[test]
    fn the_provider_scheme_is_verified_as_its_clients_do() {
        let check = |header: &str, body: &str, now| verify(SECRET, header, body.as_bytes(), now, TOLERANCE);
        let good = format!("t={T},v1={A}");
        for now in [T, T + 300] {
            assert_eq!(check(&good, B1, now), Ok(()));
        }
        assert_eq!(check(&good, B1, T + 301), Err(SignatureError::Stale));
        assert_eq!(check(&good, B1, T - 100_000), Ok(()));
        let for_ever = verify(SECRET, &good, B1.as_bytes(), T + 1_000_000, 0);
        assert_eq!(for_ever, Ok(()), "a tolerance of 0 switches the test off");
        assert_eq!(check(&format!("t={T},v1={C},v1={A}"), B1, T), Ok(()));
        assert_eq!(check(&format!("t={T},v0=x,v1={A}"), B1, T), Ok(()));
        assert_eq!(
            check(&format!("t={},v1={A}", T + 1), B1, T),
            Err(SignatureError::Mismatch)
        );
        assert_eq!(check(&good, B2, T), Err(SignatureError::Mismatch));
        assert_eq!(check(&format!("v1={A}"), B1, T), Err(SignatureError::NoTime));
        assert_eq!(check(&format!("t={T},v0={A}"), B1, T), Err(SignatureError::NoSignature));
    }

    #[test]
    fn standard_webhooks_meet_their_vectors() {
        let vectors = [
            (KEY_G, "msg_1", T, B5, G),
            (KEY_H, "msg_1", T, B5, H),
            (KEY_G, "msg_2", T, B5, "8xwQUN4M1X2wNUz2mgdAl3YVHvEoPuwommAZV3PEPps="),
            (
                KEY_G,
                "msg_1",
                T + 300,
                B5,
                "Xwk331wsKUK3dPenKVKT9GkxO16IvznIqOvs/Tb2Hds=",
            ),
            (KEY_G, "msg_1", T, "", "amcCR9+HGJUcbpN0HzliuKzDJkenCx5mV9lf3DlQ0mM="),
            (
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                r#"{"test": 2432232314}"#,
                "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
        ];
        for (secret, id, time, body, expected) in vectors {
            let signed = sign_standard(secret, id, time, body.as_bytes());
            assert_eq!(signed, Ok(format!("v1,{expected}")), "{id} {body}");
        }
    }

    #[test]
    fn standard_webhooks_are_verified_both_ways_in_time_and_over_rotated_secrets() {
        let rotated = format!("v1,{H} v1,{G}");
        let timestamp = T.to_string();
        let headers = StandardHeaders {
            id: "msg_1",
            timestamp: &timestamp,
            signature: &rotated,
        };
        for (now, expected) in [
            (T - 300, Ok(())),
            (T + 300, Ok(())),
            (T - 301, Err(SignatureError::Stale)),
            (T + 301, Err(SignatureError::Stale)),
        ] {
            assert_eq!(verify_standard(KEY_G, headers, B5.as_bytes(), now), expected);
        }
        // Not base64; and base64 of 3 and of 65 bytes.
        for secret in [
            "whsec_short".to_owned(),
            "whsec_AAEC".to_owned(),
            format!("{}=", "A".repeat(87)),
        ] {
            assert_eq!(
                verify_standard(&secret, headers, B5.as_bytes(), T),
                Err(SignatureError::Secret),
                "{secret}"
            );
        }
    }
}
