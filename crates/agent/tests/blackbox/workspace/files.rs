//! Files below a folder: whole, by any name, and never outside of it.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
};

use protocol::{
    agent::{FailureKind, Request},
    frame::STREAM_BYTES,
};

use super::workspace;
use crate::wire::{Agent, assert_failure};

#[test]
fn what_was_written_is_read_whatever_its_name() {
    let agent = Agent::start();
    let root = workspace(&agent);
    let mut connection = agent.connect();
    let long = "n".repeat(255);
    let content: Vec<u8> = (0..3 * STREAM_BYTES + 17).map(|number| number as u8).collect();
    for name in [
        &b"plain"[..],
        b"new\nline",
        b"'\"`$(x)",
        "🦀".as_bytes(),
        long.as_bytes(),
        b"\xff\xfe",
        b"a/b/./c//d",
    ] {
        connection.workspace_write(&root, name, &content).unwrap();
        assert!(connection.workspace_read(&root, name, content.len() as u64).unwrap() == content, "{name:?}");
        assert!(fs::read(agent.path("root").join(OsStr::from_bytes(name))).unwrap() == content);
        connection.workspace_remove(&root, name).unwrap();
        assert_failure(&connection.workspace_read(&root, name, 9).unwrap_err(), FailureKind::NotFound, "");
    }
    connection.workspace_write(&root, b"empty", b"").unwrap();
    assert_eq!(connection.workspace_read(&root, b"empty", 0).unwrap(), b"");
}

#[test]
fn nothing_leads_outside() {
    let agent = Agent::start();
    let root = workspace(&agent);
    let secret = agent.path("outside/secret");
    symlink(&secret, agent.path("root/absolute")).unwrap();
    symlink("../outside/secret", agent.path("root/climbing")).unwrap();
    symlink("../outside", agent.path("root/folder")).unwrap();
    symlink("../outside/new", agent.path("root/dangling")).unwrap();
    symlink("/proc/self/root", agent.path("root/magic")).unwrap();
    symlink("climbing", agent.path("root/chain")).unwrap();
    let absolute = secret.as_os_str().as_bytes().to_vec();
    let under_magic = [b"magic", &absolute[..]].concat();
    let names: [&[u8]; 10] = [
        &absolute,
        b"../outside/secret",
        b"a/../../outside/secret",
        b"absolute",
        b"climbing",
        b"folder/secret",
        b"folder/new",
        b"dangling",
        b"chain",
        &under_magic,
    ];
    let mut connection = agent.connect();
    for name in names {
        let shown = String::from_utf8_lossy(name);
        let read = connection.workspace_read(&root, name, 100).unwrap_err();
        assert_eq!(read.kind, FailureKind::Outside, "{shown}: {read:?}");
        let written = connection.workspace_write(&root, name, b"overwritten").unwrap_err();
        assert_eq!(written.kind, FailureKind::Outside, "{shown}: {written:?}");
    }
    for name in [&absolute[..], b"../outside/secret", b"folder/secret", b"..", &under_magic] {
        let removed = connection.workspace_remove(&root, name).unwrap_err();
        assert_eq!(removed.kind, FailureKind::Outside, "{removed:?}");
    }
    // Of what leads out only the link itself goes.
    for link in ["absolute", "climbing", "folder", "dangling", "chain", "magic"] {
        connection.workspace_remove(&root, link.as_bytes()).unwrap();
    }
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
    assert_eq!(fs::read_dir(agent.path("outside")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(agent.path("root")).unwrap().count(), 0);
}

#[test]
fn links_that_stay_below_are_followed() {
    let agent = Agent::start();
    let root = workspace(&agent);
    let mut connection = agent.connect();
    fs::create_dir_all(agent.path("root/real/deep")).unwrap();
    fs::write(agent.path("root/real/file"), "old").unwrap();
    symlink("real/deep", agent.path("root/short")).unwrap();
    symlink("../real/./file", agent.path("root/real/to_file")).unwrap();
    symlink("new", agent.path("root/real/to_new")).unwrap();
    assert_eq!(connection.workspace_read(&root, b"real/to_file", 9).unwrap(), b"old");
    connection.workspace_write(&root, b"real/to_file", b"new").unwrap();
    assert_eq!(fs::read(agent.path("root/real/file")).unwrap(), b"new");
    assert!(fs::symlink_metadata(agent.path("root/real/to_file")).unwrap().is_symlink());
    connection.workspace_write(&root, b"real/to_new", b"made").unwrap();
    assert_eq!(fs::read(agent.path("root/real/new")).unwrap(), b"made");
    connection.workspace_write(&root, b"short/x/y", b"below").unwrap();
    assert_eq!(fs::read(agent.path("root/real/deep/x/y")).unwrap(), b"below");
    symlink("b", agent.path("root/a")).unwrap();
    symlink("a", agent.path("root/b")).unwrap();
    for failure in [
        connection.workspace_read(&root, b"a", 9).unwrap_err(),
        connection.workspace_write(&root, b"a", b"").unwrap_err(),
    ] {
        assert_failure(&failure, FailureKind::Invalid, "Too many levels of symbolic links");
    }
}

#[test]
fn folders_and_files_are_not_taken_for_each_other() {
    let agent = Agent::start();
    let root = workspace(&agent);
    let mut connection = agent.connect();
    fs::create_dir(agent.path("root/folder")).unwrap();
    fs::write(agent.path("root/file"), "x").unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, agent.path("root/pipe"), rustix::fs::Mode::RWXU).unwrap();
    for name in [&b"folder"[..], b"folder/", b".", b"./"] {
        let read = connection.workspace_read(&root, name, 9).unwrap_err();
        assert_failure(&read, FailureKind::Folder, "folder");
        assert_failure(
            &connection.workspace_write(&root, name, b"").unwrap_err(),
            FailureKind::Folder,
            "folder",
        );
    }
    for name in [&b"file/below"[..], b"pipe"] {
        let read = connection.workspace_read(&root, name, 9).unwrap_err();
        assert_failure(&read, FailureKind::WrongType, "");
        assert_failure(
            &connection.workspace_write(&root, name, b"").unwrap_err(),
            FailureKind::WrongType,
            "",
        );
    }
    for name in [&b""[..], b"nul\0", &[b'x'; 256]] {
        assert_failure(&connection.workspace_read(&root, name, 9).unwrap_err(), FailureKind::Invalid, "");
        assert_failure(&connection.workspace_write(&root, name, b"").unwrap_err(), FailureKind::Invalid, "");
        assert_failure(&connection.workspace_remove(&root, name).unwrap_err(), FailureKind::Invalid, "");
    }
    assert_failure(&connection.workspace_remove(&root, b".").unwrap_err(), FailureKind::Folder, "itself");
    assert_failure(&connection.workspace_remove(&root, b"none").unwrap_err(), FailureKind::NotFound, "none");
    assert_failure(
        &connection.workspace_remove(&root, b"none/at/all").unwrap_err(),
        FailureKind::NotFound,
        "none/at/all",
    );
    connection.workspace_remove(&root, b"pipe").unwrap();
    assert_eq!(fs::read(agent.path("root/file")).unwrap(), b"x");
}

#[test]
fn one_that_is_too_large_is_not_read() {
    let agent = Agent::start();
    let root = workspace(&agent);
    fs::write(agent.path("root/file"), "12345").unwrap();
    let mut connection = agent.connect();
    let failure = connection.workspace_read(&root, b"file", 4).unwrap_err();
    assert_failure(&failure, FailureKind::TooLarge, "it has 5 bytes, more than 4");
    assert_eq!(connection.workspace_read(&root, b"file", 5).unwrap(), b"12345");
}

#[test]
fn a_write_that_breaks_off_changes_nothing_and_one_that_ends_keeps_the_mode() {
    let agent = Agent::start();
    let root = workspace(&agent);
    fs::write(agent.path("root/script"), "old").unwrap();
    fs::set_permissions(agent.path("root/script"), fs::Permissions::from_mode(0o751)).unwrap();
    let mut broken = agent.connect();
    broken.send(&Request::WorkspaceWrite { root: root.clone(), path: b"script".to_vec() });
    broken.input(&vec![7; 1 << 20]);
    crate::wire::eventually("the draft exists", || fs::read_dir(agent.path("root")).unwrap().count() == 2);
    // Others do not see it.
    let (listed, _) = agent.connect().lists::<protocol::workspace::TreeEntry>(&Request::WorkspaceTree {
        root: root.clone(),
        entries_max: 10,
        bytes_max: 1000,
    });
    assert_eq!(listed.len(), 1);
    broken.close();
    crate::wire::eventually("the draft is gone", || fs::read_dir(agent.path("root")).unwrap().count() == 1);
    assert_eq!(fs::read(agent.path("root/script")).unwrap(), b"old");
    agent.connect().workspace_write(&root, b"script", b"new").unwrap();
    assert_eq!(fs::read(agent.path("root/script")).unwrap(), b"new");
    let mode = fs::metadata(agent.path("root/script")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o751);
}

#[test]
fn a_folder_goes_with_all_below_it_and_not_what_links_lead_to() {
    let agent = Agent::start();
    let root = workspace(&agent);
    for number in 0..3000 {
        fs::create_dir_all(agent.path(&format!("root/gone/{}", number % 50))).unwrap();
        fs::write(agent.path(&format!("root/gone/{}/{number}", number % 50)), "").unwrap();
    }
    symlink("../../outside", agent.path("root/gone/link")).unwrap();
    fs::write(agent.path("root/stays"), "").unwrap();
    agent.connect().workspace_remove(&root, b"gone").unwrap();
    let left: Vec<_> =
        fs::read_dir(agent.path("root")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["stays"]);
    assert_eq!(fs::read_to_string(agent.path("outside/secret")).unwrap(), "secret");
}
