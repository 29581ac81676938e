//! Whether a text of the host's configuration holds a credential. In doubt it does.
//!
//! Pure functions over text. They must not know which files they are asked about.

/// Names of settings whose values are secret: npm's `_auth` and `_authToken`, passwords, tokens.
const SECRET_NAMES: [&str; 7] = ["_auth", "password", "passwd", "token", "secret", "credential", "apikey"];

/// A part of a URL's path that is longer than this and has nothing but letters and digits is taken for a
/// token: private package archives put it there.
const PATH_TOKEN_BYTES: usize = 32;

/// Whether a private key, of any kind, is inside (RFC 7468, RFC 9580 section 6.2).
pub(super) fn has_private_key(bytes: &[u8]) -> bool {
    let marker = b"PRIVATE KEY";
    bytes.windows(marker.len()).any(|window| window == marker)
}

/// Whether any line holds a credential, or there is a private key.
pub(super) fn has_credential(text: &str) -> bool {
    has_private_key(text.as_bytes()) || text.lines().any(line_has_credential)
}

/// The text without the lines that hold a credential.
pub(super) fn lines_without(text: &str) -> String {
    let lines = text.lines().filter(|line| !line_has_credential(line));
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn line_has_credential(line: &str) -> bool {
    name_is_secret(line) || line.split("://").skip(1).any(url_has_credential)
}

/// The name of a setting ends at `=`, or else at `: `, or else with the first word.
fn name_is_secret(line: &str) -> bool {
    let line = line.trim();
    let name = line
        .split_once('=')
        .or_else(|| line.split_once(": "))
        .map_or_else(|| line.split_whitespace().next().unwrap_or_default(), |(name, _)| name)
        .to_ascii_lowercase();
    SECRET_NAMES.iter().any(|secret| name.contains(secret))
}

/// `rest` is what follows `://`.
fn url_has_credential(rest: &str) -> bool {
    let url = rest.split(|c: char| c.is_whitespace() || "\"'<>();,".contains(c)).next().unwrap_or_default();
    let (before_query, query) = url.split_once('?').unwrap_or((url, ""));
    let (authority, path) = before_query.split_once('/').unwrap_or((before_query, ""));
    let is_token =
        |part: &str| part.len() >= PATH_TOKEN_BYTES && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    authority.contains('@') || path.split('/').any(is_token) || !query.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_found() {
        for text in [
            "deb https://user:pass@mirror.example/debian bookworm main",
            "URIs: https://user@mirror.example/debian",
            "Acquire::http::Proxy \"http://u:p@proxy.example:3128/\";",
            "index-url = https://__token__:pypi-xyz@pypi.example/simple",
            "//npm.example/:_authToken=abc",
            "_auth = dXNlcjpwYXNz",
            "//npm.example/:_password=abc",
            "Password: hunter2",
            "machine apt.example login u password p\npassword p",
            "deb https://apt.example/priv/0123456789abcdef0123456789abcdef0123/debian any main",
            "deb https://apt.example/debian?key=1 any main",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            "-----BEGIN PGP PRIVATE KEY BLOCK-----",
        ] {
            assert!(has_credential(text), "{text}");
        }
    }

    #[test]
    fn ordinary_configuration_is_kept() {
        for text in [
            "deb http://mirror.example.org/debian bookworm main",
            "Types: deb\n# http://snapshot.debian.org/archive/debian/20250520T000000Z\nURIs: http://mirror.example.org/debian",
            "[global]\ncert = /etc/ssl/certs/ca-certificates.crt\nindex-url = https://pypi.example/simple",
            "Acquire::http::Proxy \"http://proxy.example:3128/\";",
            "Acquire::Languages \"none\";",
            "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg",
            "-----BEGIN PGP PUBLIC KEY BLOCK-----",
            "# mail someone@example.org about https://deb.example/",
            "",
        ] {
            assert!(!has_credential(text), "{text}");
        }
    }

    #[test]
    fn only_the_lines_with_credentials_go() {
        let text = "registry=https://npm.example/\n//npm.example/:_authToken=abc\ncafile=/etc/ssl/ca.pem\n";
        assert_eq!(lines_without(text), "registry=https://npm.example/\ncafile=/etc/ssl/ca.pem\n");
    }
}
