//! The file system of a sandbox, as a list of steps from an empty mount namespace to a whole tree.

use protocol::{
    launcher::{ImageName, LaunchSpec},
    volume::VolumeMount,
};

use super::slot::Slot;
use crate::host::HostFacts;

/// One step. The first makes the root; when it is done the host's tree is gone from sight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountStep {
    /// A read-only tree below the sandbox's writable layer (overlayfs), owners mapped on both.
    Overlay {
        /// Where.
        on: &'static str,
        /// What lies below.
        lower: Lower,
        /// The folder of the layer that takes what is written.
        layer_folder: &'static str,
        /// Skip writing to disk what is going to be thrown away (mount option `volatile`).
        volatile: bool,
    },
    /// A copy of a tree that the launcher made when it started.
    Template {
        /// Where.
        on: &'static str,
        /// Which.
        tree: Template,
    },
    /// The toolchains, read-only, owners mapped.
    Toolchains {
        /// Where.
        on: &'static str,
    },
    /// A proc of the sandbox's own pid namespace.
    Proc {
        /// Where.
        on: &'static str,
    },
    /// Pseudo terminals of its own.
    DevPts {
        /// Where.
        on: &'static str,
        /// The host's id of the sandbox's group `tty`, which owns terminals.
        tty_gid: u32,
        /// How many there may be. The kernel has a number for the whole host (`kernel.pty.max`, 4096).
        terminals_max: u32,
    },
    /// Memory as a folder that everybody may write, counted as the sandbox's memory.
    Tmpfs {
        /// Where.
        on: &'static str,
        /// The most it holds.
        size_bytes: u64,
        /// The host's id of the sandbox's root, who owns it.
        owner: u32,
    },
    /// Hides a file behind `/dev/null`, a folder behind an empty one.
    Mask {
        /// What.
        path: &'static str,
    },
    /// Makes a file or folder read-only.
    ReadOnly {
        /// What.
        path: &'static str,
    },
    /// A folder that outlives the sandbox, or belongs to the host.
    Volume {
        /// Its place in the request.
        index: u8,
        /// What, where and how.
        mount: VolumeMount,
    },
}

/// The read-only tree of an overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lower {
    /// The skeleton of the `host` image: `/etc` and empty folders.
    HostSkeleton,
    /// The host's `/usr`.
    HostUsr,
}

/// A tree that the launcher prepares once, for all sandboxes, read-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Template {
    /// Device nodes and the links beside them.
    Dev,
    /// The little of `/sys` that programs read to learn how many processors there are.
    Sys,
}

/// What `/tmp` holds. It counts as the sandbox's memory, whose limit may be reached before.
const TMP_BYTES: u64 = 256 << 20;
/// What `/dev/shm` holds, as in Docker.
const SHM_BYTES: u64 = 64 << 20;
/// The group `tty` of Debian, which grantpt(3) expects to own terminals.
const TTY_GID: u32 = 5;
/// Pseudo terminals of one sandbox.
const TERMINALS_MAX: u32 = 128;

/// Plans the mounts of a sandbox.
#[must_use]
pub fn mount_steps(spec: &LaunchSpec, slot: Slot, host: &HostFacts) -> Vec<MountStep> {
    let owner = slot.first_id();
    let mut steps = match spec.image {
        ImageName::Host => vec![
            MountStep::Overlay {
                on: "/",
                lower: Lower::HostSkeleton,
                layer_folder: "root",
                volatile: spec.ephemeral,
            },
            MountStep::Overlay {
                on: "/usr",
                lower: Lower::HostUsr,
                layer_folder: "usr",
                volatile: spec.ephemeral,
            },
            MountStep::Toolchains { on: "/opt/atoll/toolchains" },
        ],
    };
    steps.extend([
        MountStep::Template { on: "/dev", tree: Template::Dev },
        MountStep::DevPts { on: "/dev/pts", tty_gid: owner + TTY_GID, terminals_max: TERMINALS_MAX },
        MountStep::Tmpfs { on: "/dev/shm", size_bytes: SHM_BYTES, owner },
        MountStep::Tmpfs { on: "/tmp", size_bytes: TMP_BYTES, owner },
        MountStep::Template { on: "/sys", tree: Template::Sys },
        MountStep::Proc { on: "/proc" },
    ]);
    steps.extend(host.proc_masked.iter().map(|path| MountStep::Mask { path }));
    steps.extend(host.proc_read_only.iter().map(|path| MountStep::ReadOnly { path }));
    let volumes =
        (0..).zip(&spec.volumes).map(|(index, mount)| MountStep::Volume { index, mount: mount.clone() });
    let mut volumes: Vec<MountStep> = volumes.collect();
    // One that is mounted in another comes after it.
    volumes.sort_by(|a, b| a.target().cmp(b.target()));
    steps.extend(volumes);
    steps
}

/// Empty folders of an image that a layer has itself, hiding those: overlay, path in it, mode. Where image and layers are
/// subvolumes of one btrfs, overlayfs takes the numbers of files from either as they are, and both count from the same
/// number on. A folder of the image, below which a program makes a folder that happens to have its number, looks to
/// find(1) and rm(1) like a loop. So the folders that programs fill are not the image's.
pub(crate) const OWN_FOLDERS: [(&str, &str, u32); 2] = [("root", "sandbox", 0o755), ("root", "root", 0o700)];

/// The folders of a layer that overlays use: upper and work folder for each.
#[must_use]
pub(crate) fn layer_folders(steps: &[MountStep]) -> Vec<&'static str> {
    steps
        .iter()
        .filter_map(|step| match step {
            MountStep::Overlay { layer_folder, .. } => Some(*layer_folder),
            _ => None,
        })
        .collect()
}

impl MountStep {
    /// The path inside the sandbox that the step is about.
    #[must_use]
    pub fn target(&self) -> &str {
        match self {
            Self::Overlay { on, .. }
            | Self::Template { on, .. }
            | Self::Toolchains { on }
            | Self::Proc { on }
            | Self::DevPts { on, .. }
            | Self::Tmpfs { on, .. } => on,
            Self::Mask { path } | Self::ReadOnly { path } => path,
            Self::Volume { mount, .. } => mount.target.as_str(),
        }
    }
}
