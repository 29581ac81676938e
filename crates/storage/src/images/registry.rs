//! One repository of a registry, by the distribution API (OCI distribution specification), for a process without power.
//!
//! It trusts nothing that comes: whoever calls compares digests. Only this machine itself is spoken to without
//! encryption, also after a redirection, and a login goes to no other host than the registry names for it.

use std::{
    io::Read,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use ureq::{
    Agent, Body,
    http::{Response, StatusCode, Uri, header},
    tls::{RootCerts, TlsConfig},
};

use super::{
    ImageError,
    challenge::{Challenge, challenge_read, query_encode},
    harmless,
    manifest::{ACCEPTED, Descriptor, JSON_BYTES_MAX},
    reference::{Reference, is_loopback},
};

const CONNECT_WITHIN: Duration = Duration::from_secs(20);
/// As long a registry may say nothing.
const SILENCE_MAX: Duration = Duration::from_secs(60);
const REDIRECTIONS_MAX: u32 = 5;
/// The most of an error's body that is read.
const ERROR_BYTES_MAX: u64 = 4096;

/// A user name and a password.
#[derive(Clone, Serialize, Deserialize)]
pub struct Credentials {
    /// The user's name.
    pub username: String,
    /// The password, or what stands for one.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

pub(super) struct RegistryClient<'a> {
    agent: Agent,
    reference: &'a Reference,
    credentials: Option<&'a Credentials>,
    /// What goes into `Authorization`.
    shown: Mutex<Option<String>>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl<'a> RegistryClient<'a> {
    pub(super) fn new(reference: &'a Reference, credentials: Option<&'a Credentials>) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT_WITHIN))
            .timeout_recv_response(Some(SILENCE_MAX))
            .timeout_per_read(Some(SILENCE_MAX))
            .user_agent(concat!("atoll/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build());
        let is_here = is_loopback(reference.registry());
        let config = if is_here { config.proxy(None) } else { config };
        Self { agent: config.build().into(), reference, credentials, shown: Mutex::default() }
    }

    /// A manifest.
    pub(super) fn manifest(&self, version: &str) -> Result<Vec<u8>, ImageError> {
        let path = format!("manifests/{version}");
        let response = self.get(&path, Some(ACCEPTED), None)?;
        let response = self.expect(response, &path, &[StatusCode::OK])?;
        self.body(response, &path)
    }

    /// A small blob, whole.
    pub(super) fn blob_small(&self, blob: &Descriptor) -> Result<Vec<u8>, ImageError> {
        let path = format!("blobs/{}", blob.digest);
        let response = self.get(&path, None, None)?;
        let response = self.expect(response, &path, &[StatusCode::OK])?;
        self.body(response, &path)
    }

    /// A blob from some byte on. Returns also whether the registry left out what was before.
    pub(super) fn blob(&self, blob: &Descriptor, from: u64) -> Result<(impl Read + use<>, bool), ImageError> {
        let path = format!("blobs/{}", blob.digest);
        let range = (from > 0).then(|| format!("bytes={from}-"));
        let response = self.get(&path, None, range.as_deref())?;
        let response = self.expect(response, &path, &[StatusCode::OK, StatusCode::PARTIAL_CONTENT])?;
        let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
        Ok((response.into_body().into_with_config().limit(u64::MAX).reader(), is_part))
    }

    fn get(
        &self,
        path: &str,
        accept: Option<&str>,
        range: Option<&str>,
    ) -> Result<Response<Body>, ImageError> {
        let url = format!("{}/v2/{}/{path}", self.reference.base_url(), self.reference.repository());
        let mut response = self.request(&url, accept, range)?;
        // A token may also have run out.
        if response.status() == StatusCode::UNAUTHORIZED && self.login(&response)? {
            response = self.request(&url, accept, range)?;
        }
        Ok(response)
    }

    fn request(
        &self,
        url: &str,
        accept: Option<&str>,
        range: Option<&str>,
    ) -> Result<Response<Body>, ImageError> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut url = url.to_owned();
        for redirections in 0..=REDIRECTIONS_MAX {
            let mut request = self.agent.get(&url);
            // Where a registry sends to, the address itself says that it may be read.
            if let Some(shown) = shown.as_ref().filter(|_| redirections == 0) {
                request = request.header(header::AUTHORIZATION, shown);
            }
            let headers = [(header::ACCEPT, accept), (header::RANGE, range)];
            for (name, value) in headers.into_iter().filter_map(|(name, value)| Some((name, value?))) {
                request = request.header(name, value);
            }
            let response = request.call().map_err(|error| self.broken(&error))?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            url = self.redirected(&url, location.unwrap_or_default())?;
        }
        Err(self.answered(&url, "too many redirections"))
    }

    fn redirected(&self, from: &str, location: &str) -> Result<String, ImageError> {
        let parsed = from.parse::<Uri>().ok();
        let url = match parsed.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.authority()?))) {
            Some((scheme, authority)) if location.starts_with('/') && !location.starts_with("//") => {
                format!("{scheme}://{authority}{location}")
            }
            _ => location.to_owned(),
        };
        if self.may_be_asked(&url) {
            Ok(url)
        } else {
            Err(self.answered(from, "a redirection to where nothing is encrypted"))
        }
    }

    /// Whether a URL is encrypted; a registry on this machine may also send to one on it that is not.
    fn may_be_asked(&self, url: &str) -> bool {
        let Ok(uri) = url.parse::<Uri>() else { return false };
        let is_here = || {
            is_loopback(self.reference.registry())
                && uri.authority().is_some_and(|authority| is_loopback(authority.as_str()))
        };
        match uri.scheme_str() {
            Some("https") => true,
            Some("http") => is_here(),
            _ => false,
        }
    }

    /// Does what a refusal asks for. Returns whether it is worth to ask again.
    fn login(&self, refusal: &Response<Body>) -> Result<bool, ImageError> {
        let values = refusal.headers().get_all(header::WWW_AUTHENTICATE);
        let challenge = values.iter().filter_map(|value| value.to_str().ok()).find_map(challenge_read);
        let basic = self.credentials.map(|Credentials { username, password }| {
            format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}")))
        });
        let shown = match challenge {
            None => None,
            Some(Challenge::Basic) => basic,
            Some(Challenge::Bearer { realm, service }) => {
                Some(format!("Bearer {}", self.token(&realm, service.as_deref(), basic)?))
            }
        };
        let is_new = shown.is_some();
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
        Ok(is_new)
    }

    fn token(&self, realm: &str, service: Option<&str>, basic: Option<String>) -> Result<String, ImageError> {
        if !self.may_be_asked(realm) {
            let answer = format!("the wish for a token from {}, which is not encrypted", harmless(realm));
            return Err(self.answered("a login", &answer));
        }
        let scope = format!("repository:{}:pull", self.reference.repository());
        let separator = if realm.contains('?') { '&' } else { '?' };
        let mut url = format!("{realm}{separator}scope={}", query_encode(&scope));
        if let Some(service) = service {
            url.push_str("&service=");
            url.push_str(&query_encode(service));
        }
        let mut request = self.agent.get(&url);
        if let Some(basic) = basic {
            request = request.header(header::AUTHORIZATION, basic);
        }
        let response = request.call().map_err(|error| self.broken(&error))?;
        let response = self.expect(response, "a token", &[StatusCode::OK])?;
        let bytes = self.body(response, "a token")?;
        let token: Option<Token> = serde_json::from_slice(&bytes).ok();
        token
            .and_then(|token| token.token.or(token.access_token))
            .ok_or_else(|| self.answered("a login", "no token"))
    }

    fn body(&self, response: Response<Body>, asked: &str) -> Result<Vec<u8>, ImageError> {
        let mut bytes = Vec::new();
        let reader = response.into_body().into_with_config().limit(u64::MAX).reader();
        reader.take(JSON_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| self.broken(&error))?;
        if bytes.len() as u64 > JSON_BYTES_MAX {
            return Err(self.answered(asked, "more than 4 MiB"));
        }
        Ok(bytes)
    }

    fn expect(
        &self,
        response: Response<Body>,
        asked: &str,
        statuses: &[StatusCode],
    ) -> Result<Response<Body>, ImageError> {
        let status = response.status();
        if statuses.contains(&status) {
            return Ok(response);
        }
        let (registry, image) = (self.reference.registry().to_owned(), self.reference.to_string());
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(ImageError::Denied { registry, image, logged_in: self.credentials.is_some() })
            }
            StatusCode::NOT_FOUND if asked.starts_with("manifests/") => {
                Err(ImageError::NotFound { registry, image })
            }
            _ => {
                let mut text = Vec::new();
                let body = response.into_body().into_reader().take(ERROR_BYTES_MAX).read_to_end(&mut text);
                let text = body.map(|_| harmless(&String::from_utf8_lossy(&text))).unwrap_or_default();
                if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
                    return Err(self.broken(&format!("{status} {text}")));
                }
                Err(self.answered(asked, format!("{status} {text}").trim()))
            }
        }
    }

    fn broken(&self, error: &dyn std::fmt::Display) -> ImageError {
        let message = harmless(&error.to_string());
        ImageError::Transport { registry: self.reference.registry().to_owned(), message }
    }

    fn answered(&self, asked: &str, answer: &str) -> ImageError {
        let registry = self.reference.registry().to_owned();
        ImageError::Answer { registry, asked: asked.to_owned(), answer: answer.to_owned() }
    }
}
