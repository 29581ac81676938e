//! Pulls that succeed, and pulls that fail for what the registry has.

use std::{fs, os::unix::fs::MetadataExt, thread};

use blackbox::Server;
use serde_json::json;

use super::{
    content::{Tar, gzip, root_file_system, zstd},
    front::Front,
    good, image, image_with_input, listed, names_in, nothing_left, refused,
    registry::{
        DOCKER_GZIP, DOCKER_MANIFEST, OCI_GZIP, OCI_INDEX, OCI_MANIFEST, OCI_ZSTD, Registry, USER, digest_of,
    },
    run_in, trees,
};

#[test]
fn layers_of_every_kind_make_one_root_that_programs_run_in() {
    let (server, registry) = (Server::start(), Registry::start());
    let base = root_file_system();
    let second = Tar::default()
        .file("etc/.wh.old", "")
        .file("var/cache/.wh..wh..opq", "")
        .file("var/cache/fresh", "fresh")
        .file("tmp/new", "new")
        .end();
    let third = Tar::default().file("etc/third", "third").end();
    let layers = [(OCI_GZIP, gzip(&base), &base[..]), (OCI_ZSTD, zstd(&second), &second)];
    registry.push("team/debian", "1", OCI_MANIFEST, &layers);
    let docker = [(DOCKER_GZIP, gzip(&base), &base[..]), (DOCKER_GZIP, gzip(&third), &third)];
    let docker = registry.push("team/debian", "docker", DOCKER_MANIFEST, &docker);
    let name = registry.reference("team/debian:1");
    let output = image(&server, "pull", &[&name]);
    assert!(good(&output).starts_with(&format!("{name}@sha256:")), "{output:?}");
    let shown = String::from_utf8_lossy(&output.stderr);
    assert!(shown.contains("downloading") && shown.contains("unpacking"), "{shown}");
    let pulled = listed(&server).remove(0);
    let config = json!({
        "entrypoint": ["/bin/bash"], "cmd": ["-c", "id"], "env": ["A=b"], "user": "1000", "workdir": "/tmp",
    });
    assert_eq!((&pulled["config"], &pulled["platform"]), (&config, &json!("linux/amd64")));
    let script = "ls /etc /var/cache; cat /tmp/new; stat -c '%a %u:%g' /tmp /usr/bin/suid; id -u";
    let printed = run_in(&server, &pulled, script);
    assert_eq!(
        printed,
        "/etc:\napt\nos-release\npasswd\nresolv.conf\n\n/var/cache:\nfresh\nnew1777 0:0\n4755 0:0\n0\n"
    );
    let old = fs::metadata(trees(&server, &pulled)[1].join("etc/old")).unwrap();
    assert_eq!((old.uid(), old.gid()), (1000, 50), "owners are as in the image");
    assert!(names_in(&server, "partial").is_empty());

    let pinned = registry.reference(&format!("team/debian@{}", docker["digest"].as_str().unwrap()));
    good(&image(&server, "pull", &[&pinned]));
    assert_eq!(names_in(&server, "layers").len(), 3, "the lowest layer is shared");
    let second = listed(&server).into_iter().find(|image| image["name"] == *pinned).unwrap();
    assert_eq!(run_in(&server, &second, "cat /etc/third /etc/old"), "thirdold");
}

#[test]
fn a_password_opens_a_private_registry_and_is_asked_for() {
    let (server, registry) = (Server::start(), Registry::start_locked());
    let layer = Tar::default().file("a", "a").end();
    registry.push("secret", "latest", OCI_MANIFEST, &[(OCI_GZIP, gzip(&layer), &layer)]);
    let name = registry.reference("secret");
    let without = refused(&image(&server, "pull", &[&name]));
    assert!(without.contains("--password-stdin") && without.contains("private"), "{without}");
    let login = ["--username", USER.0, "--password-stdin", &name];
    let wrong = refused(&image_with_input(&server, "pull", &login, b"no\n"));
    assert!(wrong.contains("check the user name and the password"), "{wrong}");
    nothing_left(&server);
    let output = image_with_input(&server, "pull", &login, format!("{}\n", USER.1).as_bytes());
    assert!(good(&output).starts_with(&name));
    assert_eq!(listed(&server).len(), 1);
}

#[test]
fn a_token_is_fetched_where_the_registry_says() {
    let (server, registry) = (Server::start(), Registry::start());
    let layer = Tar::default().file("a", "a").end();
    registry.push("team/tool", "latest", OCI_MANIFEST, &[(OCI_GZIP, gzip(&layer), &layer)]);
    let front = Front::start(registry.address()).wants_token();
    let name = front.reference("team/tool");
    let without = refused(&image(&server, "pull", &[&name]));
    assert!(without.contains("private"), "{without}");
    let login = ["--username", USER.0, "--password-stdin", &name];
    good(&image_with_input(&server, "pull", &login, USER.1.as_bytes()));
    let asked = front.asked();
    let token = asked.iter().find(|request| request.contains("GET /token")).unwrap();
    assert!(
        token.contains("scope=repository:team/tool:pull") && token.contains("service=test%20service"),
        "{token}"
    );
}

#[test]
fn an_index_leads_to_this_platform_and_says_which_there_are() {
    let (server, registry) = (Server::start(), Registry::start());
    let layer = Tar::default().file("a", "a").end();
    let layers = [(OCI_GZIP, gzip(&layer), &layer[..])];
    let mut other = registry.push_for("multi", "arm", OCI_MANIFEST, &layers, "arm64");
    other["platform"] = json!({"os": "linux", "architecture": "arm64", "variant": "v8"});
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [other]});
    registry.push_manifest("multi", "others", OCI_INDEX, &index);
    for tag in ["others", "arm"] {
        let why = refused(&image(&server, "pull", &[&registry.reference(&format!("multi:{tag}"))]));
        assert!(why.contains("not for linux/amd64; it is for linux/arm64"), "{why}");
    }
    nothing_left(&server);
    let mut ours = registry.push("multi", "ours", OCI_MANIFEST, &layers);
    ours["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [other, ours]});
    registry.push_manifest("multi", "all", OCI_INDEX, &index);
    good(&image(&server, "pull", &[&registry.reference("multi:all")]));
}

#[test]
fn what_is_not_there_or_is_not_what_it_should_be_is_refused() {
    let (server, registry) = (Server::start(), Registry::start());
    let layer = Tar::default().file("a", "a").end();
    let packed = gzip(&layer);
    registry.push("x", "1", OCI_MANIFEST, &[(OCI_GZIP, packed.clone(), &layer)]);
    let why = refused(&image(&server, "pull", &[&registry.reference("x:2")]));
    assert!(why.contains("has no image"), "{why}");
    let why = refused(&image(&server, "pull", &[&registry.reference(&format!("x@{}", digest_of(b"no")))]));
    assert!(why.contains("has no image"), "{why}");
    let other = Tar::default().file("b", "b").end();
    registry.push("x", "lie", OCI_MANIFEST, &[(OCI_GZIP, gzip(&other), &layer)]);
    let why = refused(&image(&server, "pull", &[&registry.reference("x:lie")]));
    assert!(why.contains("not what the image's configuration says"), "{why}");
    let mut changed = packed.clone();
    changed[packed.len() - 9] ^= 1;
    fs::write(registry.blob_file(&digest_of(&packed)), changed).unwrap();
    let why = refused(&image(&server, "pull", &[&registry.reference("x:1")]));
    assert!(why.contains("its digest is"), "{why}");
    nothing_left(&server);
    let why = refused(&image(&server, "pull", &["127.0.0.1:1/x"]));
    assert!(why.contains("cannot be reached"), "{why}");
    for text in ["Debian", "a:", "https://x.example/a", "x@sha256:12"] {
        let why = refused(&image(&server, "pull", &[text]));
        assert!(why.contains("is no reference of an image"), "{why}");
    }
    nothing_left(&server);
}

#[test]
fn a_download_that_breaks_off_goes_on_where_it_was() {
    let (server, registry) = (Server::start(), Registry::start());
    let base = root_file_system();
    registry.push("big", "latest", OCI_MANIFEST, &[(OCI_GZIP, gzip(&base), &base)]);
    let front = Front::start(registry.address()).cuts_after(256 << 10);
    let name = front.reference("big");
    good(&image(&server, "pull", &[&name]));
    let resumed =
        front.asked().iter().filter(|request| request.to_lowercase().contains("\r\nrange: bytes=")).count();
    assert!(resumed >= 1, "{:?}", front.asked());
    assert_eq!(run_in(&server, &listed(&server)[0], "id -u"), "0\n");
}

#[test]
fn pulls_at_once_share_their_layers() {
    let (server, registry) = (Server::start(), Registry::start());
    let base = root_file_system();
    for tag in ["a", "b", "c"] {
        let top = Tar::default().file(tag, tag).end();
        let layers = [(OCI_GZIP, gzip(&base), &base[..]), (OCI_GZIP, gzip(&top), &top)];
        registry.push("many", tag, OCI_MANIFEST, &layers);
    }
    thread::scope(|scope| {
        for tag in ["a", "b", "c", "a"] {
            let name = registry.reference(&format!("many:{tag}"));
            let server = &server;
            scope.spawn(move || good(&image(server, "pull", &[&name])));
        }
    });
    assert_eq!((listed(&server).len(), names_in(&server, "layers").len()), (3, 4));
    assert!(names_in(&server, "partial").is_empty());
}
