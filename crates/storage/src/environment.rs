//! The environment that programs in `host`-image sandboxes start with, before their own variables.
//!
//! It must not know any program or dialect.

use protocol::launcher::ImageName;

use crate::{
    layout::DataDir,
    toolchains::{ToolchainName, ToolchainState, toolchain_list},
};

/// Where programs of the image are: as in Debian's `/etc/profile` for root, and after those what the image adds itself.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/atoll/bin";

/// All certificates that the host trusts, in one file.
const CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Clients that bring a list of authorities of their own, and how each is told of the host's.
const CA_VARIABLES: [&str; 6] = [
    "SSL_CERT_FILE",       // OpenSSL and what uses it
    "NODE_EXTRA_CA_CERTS", // Node, npm, Bun
    "REQUESTS_CA_BUNDLE",  // requests of Python
    "CURL_CA_BUNDLE",      // curl
    "GIT_SSL_CAINFO",      // git
    "PIP_CERT",            // pip
];

/// The variables, for the toolchains and the image that are in `data` now. Ask before privileges are dropped:
/// only root can look into the image.
#[must_use]
pub fn environment_base(data: &DataDir) -> Vec<(String, String)> {
    let installed = toolchain_list(data).into_iter();
    let installed = installed.filter(|status| matches!(status.state, ToolchainState::Installed(_)));
    let names: Vec<ToolchainName> = installed.map(|status| status.name).collect();
    let rootfs = data.image_rootfs(&ImageName::Host);
    let has_ca_bundle = rootfs.join(CA_BUNDLE.trim_start_matches('/')).as_path().exists();
    environment_for(&names, has_ca_bundle)
}

fn environment_for(toolchains: &[ToolchainName], has_ca_bundle: bool) -> Vec<(String, String)> {
    let bins = toolchains.iter().map(|name| name.guest_bin()).chain([PATH.to_owned()]);
    let mut variables = vec![
        ("PATH".to_owned(), bins.collect::<Vec<_>>().join(":")),
        ("HOME".to_owned(), "/root".to_owned()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ("TERM".to_owned(), "xterm-256color".to_owned()),
    ];
    if has_ca_bundle {
        variables.extend(CA_VARIABLES.map(|name| (name.to_owned(), CA_BUNDLE.to_owned())));
    }
    if toolchains.contains(&ToolchainName::Node) {
        variables.extend(node_variables().map(|(name, value)| (name.to_owned(), value)));
    }
    variables
}

/// npm lies in a read-only folder: what it installs globally, and the operator's settings, are elsewhere.
/// node-gyp has Node's headers at hand and need not fetch them.
fn node_variables() -> [(&'static str, String); 4] {
    [
        ("npm_config_prefix", "/usr/local".to_owned()),
        ("npm_config_globalconfig", "/etc/npmrc".to_owned()),
        ("npm_config_update_notifier", "false".to_owned()),
        ("npm_package_config_node_gyp_nodedir", ToolchainName::Node.guest_folder()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value<'a>(variables: &'a [(String, String)], name: &str) -> Option<&'a str> {
        variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn toolchains_come_first_in_the_path() {
        let variables = environment_for(&[ToolchainName::Node, ToolchainName::Typescript], true);
        assert_eq!(
            value(&variables, "PATH"),
            Some(
                "/opt/atoll/toolchains/node/bin:/opt/atoll/toolchains/typescript/bin:\
                 /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/atoll/bin"
            )
        );
        assert_eq!(value(&variables, "npm_config_prefix"), Some("/usr/local"));
        assert_eq!(value(&variables, "NODE_EXTRA_CA_CERTS"), Some(CA_BUNDLE));
    }

    #[test]
    fn what_is_not_there_is_not_named() {
        let variables = environment_for(&[], false);
        let names: Vec<&str> = variables.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["PATH", "HOME", "LANG", "TERM"]);
    }

    #[test]
    fn the_image_is_asked_for_its_certificates() {
        let temp = tempfile::tempdir().unwrap();
        let data = DataDir::new(protocol::HostPath::new(temp.path())).unwrap();
        assert_eq!(value(&environment_base(&data), "SSL_CERT_FILE"), None);
        let certs = data.image_rootfs(&ImageName::Host).join("etc/ssl/certs");
        std::fs::create_dir_all(certs.as_path()).unwrap();
        std::fs::write(certs.join("ca-certificates.crt").as_path(), "").unwrap();
        assert_eq!(value(&environment_base(&data), "SSL_CERT_FILE"), Some(CA_BUNDLE));
    }
}
