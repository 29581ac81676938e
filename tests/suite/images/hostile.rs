//! Layers that attack whoever unpacks them, through a real registry.

use std::{fs, thread};

use blackbox::Server;

use super::{
    Folder,
    content::{Tar, gzip, root_file_system},
    good, image, image_with_input, listed, names_in, nothing_left, refused,
    registry::{OCI_GZIP, OCI_MANIFEST, Registry},
    trees,
};

#[test]
fn hostile_layers_are_refused_leave_nothing_and_harm_no_other_pull() {
    let (server, registry) = (Server::start(), Registry::start());
    let canary = Folder::new("canary");
    let outside = canary.path().join("x").display().to_string();
    fs::write(&outside, "untouched").unwrap();
    let new = Tar::default;
    let bomb = vec![0; 64 << 20];
    let layers = [
        ("absolute", new().file(&outside, "hit"), "absolute"),
        ("dots", new().file(&format!("../../../../../../../../..{outside}"), "hit"), "`..`"),
        (
            "link",
            new().entry(b'2', "l", &canary.path().display().to_string(), b"").file("l/x", "hit"),
            "leads out",
        ),
        (
            "climb",
            new().entry(b'2', "l", "../../../../../../../../..", b"").file(&format!("l{outside}"), "hit"),
            "leads out",
        ),
        ("hardlink", new().entry(b'1', "h", &outside, b"").file("h", "hit"), "hard link"),
        ("passwd", new().entry(b'2', "l", "/etc", b"").entry(b'1', "h", "l/passwd", b""), "hard link"),
        (
            "whiteout",
            new().entry(b'2', "l", &canary.path().display().to_string(), b"").file("l/.wh.x", ""),
            "leads out",
        ),
        ("names", new().entry(b'L', "././@LongLink", "", &bomb).file("x", "x"), "more than 33554432 bytes"),
        ("content", new().entry(b'0', "zeros", "", &bomb), "more than 33554432 bytes"),
    ];
    let root = root_file_system();
    registry.push("good", "latest", OCI_MANIFEST, &[(OCI_GZIP, gzip(&root), &root)]);
    let base = Tar::default().file("base", "base").end();
    for (tag, tar, _) in &layers {
        let tar = Tar::end(tar.clone());
        let pushed = [(OCI_GZIP, gzip(&base), &base[..]), (OCI_GZIP, gzip(&tar), &tar)];
        registry.push("bad", tag, OCI_MANIFEST, &pushed);
    }
    thread::scope(|scope| {
        let (registry, server) = (&registry, &server);
        let other = scope.spawn(move || good(&image(server, "pull", &[&registry.reference("good")])));
        for (tag, _, word) in &layers {
            let name = registry.reference(&format!("bad:{tag}"));
            let why = refused(&image(server, "pull", &["--max-size", "32M", &name]));
            assert!(why.contains(word), "{tag}: {why}");
        }
        other.join().unwrap();
    });
    assert_eq!(fs::read_to_string(&outside).unwrap(), "untouched");
    assert_eq!(fs::read_dir(canary.path()).unwrap().count(), 1);
    // What was left while another pull went on is gone after this.
    good(&image(&server, "prune", &[]));
    assert_eq!((names_in(&server, "layers").len(), names_in(&server, "partial").len()), (1, 0));
    good(&image(&server, "rm", &[&registry.reference("good")]));
    nothing_left(&server);
    let why = refused(&image(&server, "pull", &["--max-size", "32M", &registry.reference("bad:dots")]));
    assert!(why.contains("`..`"), "{why}");
    nothing_left(&server);
}

#[test]
fn devices_are_not_made_and_what_rules_an_overlay_is_not_set() {
    let server = Server::start();
    let overlay = b"32 SCHILY.xattr.user.kept=value\n41 SCHILY.xattr.trusted.overlay.opaque=y\n\
        38 SCHILY.xattr.user.overlay.opaque=y\n";
    let tar = Tar::default()
        .entry(b'3', "disk", "", b"")
        .entry(b'4', "block", "", b"")
        .entry(b'x', "pax", "", overlay)
        .file("file", "content")
        .end();
    good(&image_with_input(&server, "import", &["--name", "devices", "-"], &tar));
    let tree = trees(&server, &listed(&server)[0]).remove(0);
    let names: Vec<_> = fs::read_dir(&tree).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file"]);
    let mut buffer = [0; 256];
    let length = rustix::fs::listxattr(tree.join("file"), &mut buffer[..]).unwrap();
    assert_eq!(&buffer[..length], b"user.kept\0");
}
