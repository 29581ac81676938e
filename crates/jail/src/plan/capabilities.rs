//! The capabilities that a sandbox's root keeps, over what belongs to its own user namespace.
//!
//! Docker's default set (moby, `oci/caps/defaults.go`) without `MKNOD`, `NET_RAW`, `AUDIT_WRITE` and
//! `SETPCAP`: nothing that installing packages or switching users inside needs.

/// A capability of capabilities(7), by name and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Without `CAP_`.
    pub name: &'static str,
    /// Of linux/capability.h.
    pub number: u32,
}

macro_rules! capabilities {
    ($($name:ident = $number:literal),* $(,)?) => {
        &[$(Capability { name: stringify!($name), number: $number }),*]
    };
}

/// What stays in the bounding set, and so the most that any process inside can ever hold.
pub const BOUNDING_SET: &[Capability] = capabilities![
    CHOWN = 0,
    DAC_OVERRIDE = 1,
    FOWNER = 3,
    FSETID = 4,
    KILL = 5,
    SETGID = 6,
    SETUID = 7,
    NET_BIND_SERVICE = 10,
    SYS_CHROOT = 18,
    SETFCAP = 31,
];

/// The highest capability number that the kernel may know (40 is `CHECKPOINT_RESTORE`, Linux 5.9); higher
/// ones are tried until the kernel refuses.
pub(crate) const HIGHEST: u32 = 63;
