//! Single commands in sandboxes from images: `atoll run --image`.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use blackbox::{Server, atoll};

use super::{
    content::{Tar, gzip, root_file_system, zstd},
    good, image, image_with_input, listed, names_in, refused,
    registry::{OCI_GZIP, OCI_MANIFEST, OCI_ZSTD, Registry},
    trees,
};

/// `atoll run` with the images of a server.
fn run(server: &Server, arguments: &[&str]) -> Output {
    let mut run = Command::new(atoll());
    run.args(["run", "--data-dir"]).arg(server.data()).args(arguments).stdin(Stdio::null());
    run.output().unwrap()
}

fn printed(server: &Server, image: &str, script: &str) -> String {
    good(&run(server, &["--image", image, "--", "bash", "-c", script]))
}

#[test]
fn a_command_runs_in_an_image_that_is_pulled_when_it_is_not_there() {
    let (server, registry) = (Server::start(), Registry::start());
    let base = root_file_system();
    let top = Tar::default()
        .file("etc/.wh.old", "")
        .file("etc/new", "new\n")
        .file("var/cache/.wh..wh..opq", "")
        .file("var/cache/fresh", "")
        .end();
    let layers = [(OCI_GZIP, gzip(&base), &base[..]), (OCI_ZSTD, zstd(&top), &top)];
    registry.push("debian", "12", OCI_MANIFEST, &layers);
    let name = registry.reference("debian:12");
    let first = run(&server, &["--image", &name, "--", "cat", "/etc/os-release"]);
    assert!(good(&first).contains("ID=debian"), "{first:?}");
    let told = String::from_utf8_lossy(&first.stderr);
    assert!(told.contains(&format!("{name}: unpacking")), "{told}");
    assert_eq!(listed(&server)[0]["name"], name.as_str());

    let again = run(&server, &["--image", &name, "--", "apt", "list", "--installed"]);
    let packages = good(&again);
    assert!(packages.lines().any(|line| line.starts_with("base-files/")), "{packages}");
    assert!(!String::from_utf8_lossy(&again.stderr).contains("unpacking"), "it is there: {again:?}");

    // What lower layers have and upper ones take away is gone; what the image says of programs holds.
    assert_eq!(printed(&server, &name, "ls /etc/old /etc/new /var/cache 2>&1 | sort"), {
        "\n/etc/new\n/var/cache:\nfresh\nls: cannot access '/etc/old': No such file or directory\n"
    });
    assert_eq!(printed(&server, &name, "id -u; echo ~; pwd; echo $A"), "1000\n/\n/tmp\nb\n");
    let own = good(&run(&server, &["--image", &name, "-e", "A=client", "--", "bash", "-c", "echo $A"]));
    assert_eq!(own, "client\n", "the client's environment is over the image's");
    assert!(good(&run(&server, &["--image", &name])).starts_with("uid=1000(user)"), "its own command");
}

#[test]
fn what_is_the_hosts_to_say_is_the_same_as_without_an_image() {
    let server = Server::start();
    let root = root_file_system();
    good(&image_with_input(&server, "import", &["--name", "mine", "-"], &root));
    let script = "cat /etc/hostname /etc/hosts /etc/resolv.conf; ls /dev /sys; stat -c '%a %n' /tmp /dev/shm";
    let without = good(&run(&server, &["--", "bash", "-c", script]));
    assert_eq!(printed(&server, "mine", script), without);
    assert_eq!(printed(&server, "mine", "ls -A /opt/atoll 2>&1; ls -A /sandbox"), {
        "ls: cannot access '/opt/atoll': No such file or directory\n"
    });
}

#[test]
fn an_image_leads_nobody_out_and_its_setuid_programs_have_no_power() {
    let server = Server::start();
    // Where the launcher mounts and writes, the image has links to the host's folders, and files.
    let hostile = Tar::default()
        .entry(b'2', "proc", "/root", b"")
        .entry(b'2', "dev", "../../../../../etc", b"")
        .entry(b'2', "tmp", "/etc", b"")
        .entry(b'2', "sandbox", "/root", b"")
        .file("sys", "a file")
        .end();
    let root = root_file_system();
    let registry = Registry::start();
    let base = Tar::default().file("etc/.wh.nothing", "").end();
    let layers = [
        (OCI_GZIP, gzip(&root), &root[..]),
        (OCI_GZIP, gzip(&base), &base[..]),
        (OCI_GZIP, gzip(&hostile), &hostile[..]),
    ];
    registry.push("hostile", "latest", OCI_MANIFEST, &layers);
    let name = registry.reference("hostile");
    let seen = printed(
        &server,
        &name,
        "stat -c '%F %n' /proc /dev /tmp /sandbox /sys; echo > /tmp/atoll-test-x; cat /proc/1/comm",
    );
    let folders = ["/proc", "/dev", "/tmp", "/sandbox", "/sys"].map(|path| format!("directory {path}\n"));
    assert_eq!(seen, format!("{}memfd:atoll-age\n", folders.concat()));
    assert!(!Path::new("/etc/atoll-test-x").exists(), "it led out");
    let script = "stat -c '%a %u' /usr/bin/suid; cat /proc/self/status | while read a b; do \
        [ $a = NoNewPrivs: ] && echo $b; done; while read -r line; do [[ $line == *' / / '* ]] && echo \
        \"$line\"; done < /proc/self/mountinfo; true";
    let told = printed(&server, &name, script);
    assert!(told.starts_with("4755 0\n1\n"), "{told}");
    assert!(told.contains("nosuid") && told.contains("nodev"), "{told}");
}

#[test]
fn as_many_layers_are_launched_as_are_taken() {
    let (server, registry) = (Server::start(), Registry::start());
    let root = root_file_system();
    let tars: Vec<Vec<u8>> =
        (1..127).map(|number| Tar::default().file(&format!("layers/{number}"), "").end()).collect();
    let uppers = tars.iter().map(|tar| (OCI_GZIP, gzip(tar), &tar[..]));
    let layers: Vec<_> = [(OCI_GZIP, gzip(&root), &root[..])].into_iter().chain(uppers).collect();
    registry.push("high", "latest", OCI_MANIFEST, &layers);
    let name = registry.reference("high");
    assert_eq!(printed(&server, &name, "set -- /layers/*; echo $#"), "126\n");
    assert_eq!(names_in(&server, "layers").len(), 127);
}

#[test]
fn what_runs_from_an_image_keeps_it() {
    let server = Server::start();
    let root = root_file_system();
    good(&image_with_input(&server, "import", &["--name", "mine", "-"], &root));
    let tree = trees(&server, &listed(&server)[0]).remove(0);
    let mut running = Command::new(atoll())
        .args(["run", "--data-dir"])
        .arg(server.data())
        .args(["--image", "mine", "--", "bash", "-c", "echo up; read line; cat /etc/old"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = running.stdout.take().unwrap();
    let mut up = [0; 3];
    std::io::Read::read_exact(&mut output, &mut up).unwrap();
    let why = refused(&image(&server, "rm", &["mine"]));
    assert!(why.contains("is in use"), "{why}");
    good(&image(&server, "prune", &["--keep", "0"]));
    assert!(tree.exists() && listed(&server).len() == 1);
    drop(running.stdin.take());
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut output, &mut rest).unwrap();
    assert_eq!(rest, "old");
    assert!(running.wait().unwrap().success());
    good(&image(&server, "rm", &["mine"]));
    super::nothing_left(&server);
}

#[test]
fn what_can_not_be_pulled_is_told_apart() {
    let (server, registry, locked) = (Server::start(), Registry::start(), Registry::start_locked());
    let layer = Tar::default().file("a", "a").end();
    locked.push("secret", "latest", OCI_MANIFEST, &[(OCI_GZIP, gzip(&layer), &layer)]);
    registry.push_for("other", "latest", OCI_MANIFEST, &[(OCI_GZIP, gzip(&layer), &layer)], "arm64");
    for (name, word) in [
        (registry.reference("none"), "has no image"),
        (registry.reference("other"), "not for linux/amd64"),
        (locked.reference("secret"), "it is private, or there is none"),
        ("127.0.0.1:1/x".to_owned(), "cannot be reached"),
    ] {
        let output = run(&server, &["--image", &name, "--", "true"]);
        let why = refused(&output);
        assert!(why.contains(word) && why.contains("get the image"), "{name}: {why}");
    }
    super::nothing_left(&server);
}
