//! The access tokens of each sandbox: whoever has one may do what it is for, and nothing else.
//!
//! They are not kept: they follow from the sandbox's id and a secret of this server (HMAC-SHA-256, RFC 2104). They end
//! with the sandbox.

use hmac::{Hmac, KeyInit, Mac};
use protocol::SandboxId;
use sha2::Sha256;
use store::{Batch, Fact, Store};
use subtle::ConstantTimeEq;

use crate::{Caller, Engine, Error, Result, Sandbox};

const SECRET_BYTES: usize = 32;
/// Two for each byte of a SHA-256.
const TOKEN_DIGITS: usize = 64;

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To talk to what runs inside, and to have things run there.
    Enter,
    /// To see and change the network policy.
    NetworkPolicy,
}

impl Purpose {
    fn word(self) -> &'static [u8] {
        match self {
            Self::Enter => b"enter",
            Self::NetworkPolicy => b"network-policy",
        }
    }
}

/// Makes tokens.
pub(crate) struct Tokens(Hmac<Sha256>);

impl Tokens {
    /// With the secret of the store, which is made if there is none.
    pub(crate) async fn read(store: &Store) -> Result<Self> {
        let secret = match store.fact_get(Fact::TokenSecret).await.map_err(Error::internal)? {
            Some(secret) => secret,
            None => {
                let mut bytes = [0; SECRET_BYTES];
                getrandom::fill(&mut bytes).map_err(Error::internal)?;
                let secret = hex(&bytes);
                let batch = Batch::new().fact_put(Fact::TokenSecret, secret.clone()).durable();
                store.apply(batch).await.map_err(Error::internal)?;
                secret
            }
        };
        Hmac::new_from_slice(secret.as_bytes()).map(Self).map_err(Error::internal)
    }

    fn token(&self, sandbox: SandboxId, purpose: Purpose) -> String {
        let mut mac = self.0.clone();
        mac.update(sandbox.uuid().as_bytes());
        mac.update(purpose.word());
        hex(&mac.finalize().into_bytes())
    }
}

/// Bytes as lower-case digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether a text has the form of an access token, which no API key has.
#[must_use]
pub fn has_token_form(text: &str) -> bool {
    text.len() == TOKEN_DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl Engine {
    /// A sandbox's access token for something: 64 hex digits.
    #[must_use]
    pub fn access_token(&self, sandbox: &Sandbox, purpose: Purpose) -> String {
        self.inner.tokens.token(sandbox.id, purpose)
    }

    /// Whoever presents a sandbox's access token, as the owner of that sandbox; none if it is not that. Compared in
    /// constant time.
    #[must_use]
    pub fn caller_by_token(&self, id: SandboxId, token: &str, purpose: Purpose) -> Option<Caller> {
        let right = self.inner.tokens.token(id, purpose);
        let fits: bool = right.as_bytes().ct_eq(token.as_bytes()).into();
        let handle = self.handle(&Caller::open(), id).ok().filter(|_| fits)?;
        let owner = handle.view.borrow().owner.clone();
        Some(Caller { owner, administrator: false })
    }
}
