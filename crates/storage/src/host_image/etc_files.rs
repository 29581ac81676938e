//! The files of `/etc` that are written anew for the `host` image, instead of taken from the host.
//!
//! Texts only. It must not know what else is in the image.

use protocol::GuestPath;

use super::{HOST_NAME, accounts::Accounts};
use crate::resolver::Resolver;

/// A file of the image: where, its mode, its text.
pub(super) struct EtcFile {
    pub(super) name: &'static str,
    pub(super) mode: u32,
    pub(super) text: String,
}

/// The host's own `hosts` names its neighbours; `nsswitch.conf` may ask daemons that a sandbox does not have.
const HOSTS: &str = "\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
";

const NSSWITCH: &str = "\
passwd: files
group: files
shadow: files
hosts: files dns
networks: files
protocols: files
services: files
ethers: files
rpc: files
";

/// A login shell keeps the path that the sandbox was given: it names the toolchains.
const PROFILE: &str = "\
export PATH=\"${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}\"
if [ -n \"${BASH-}\" ] && [ -f /etc/bash.bashrc ]; then
    . /etc/bash.bashrc
fi
";

const BASHRC: &str = "\
[ -z \"$PS1\" ] && return
shopt -s checkwinsize
PS1='\\u@\\h:\\w\\$ '
";

/// `su`, `runuser` and `chfn`, which scripts of packages call, want an answer. Users of one sandbox are not
/// protected from each other, so it is yes.
const PAM: &str = "\
auth required pam_permit.so
account required pam_permit.so
password required pam_permit.so
session required pam_permit.so
";

/// All of them. Paths are below `/etc`.
pub(super) fn etc_files(accounts: Accounts, resolver: &Resolver) -> Vec<EtcFile> {
    let text = |name, text: &str| EtcFile { name, mode: 0o644, text: text.to_owned() };
    vec![
        text("passwd", &accounts.passwd),
        text("group", &accounts.group),
        EtcFile { name: "shadow", mode: 0o600, text: accounts.shadow },
        text("hostname", &format!("{HOST_NAME}\n")),
        text("hosts", &format!("{HOSTS}127.0.1.1\t{HOST_NAME}\n")),
        text("nsswitch.conf", NSSWITCH),
        text("resolv.conf", &resolver.render()),
        text("host.conf", "multi on\n"),
        text("profile", PROFILE),
        text("bash.bashrc", BASHRC),
        text("pam.d/other", PAM),
    ]
}

impl EtcFile {
    /// Where it is in the image.
    pub(super) fn path(&self) -> Result<GuestPath, protocol::InvalidGuestPath> {
        GuestPath::absolute(&format!("/etc/{}", self.name))
    }
}
