//! Images that are here: imported, listed, removed.

use std::fs;

use blackbox::Server;
use serde_json::json;

use super::{
    Folder,
    content::{Tar, gzip, root_file_system},
    good, image, image_with_input, listed, names_in, nothing_left, refused, run_in,
};

#[test]
fn an_archive_from_a_file_or_standard_input_becomes_an_image() {
    let (server, folder) = (Server::start(), Folder::new("import"));
    let root = root_file_system();
    let file = folder.path().join("root.tar.gz");
    fs::write(&file, gzip(&root)).unwrap();
    good(&image(&server, "import", &["--name", "mine", &file.display().to_string()]));
    good(&image_with_input(&server, "import", &["--name", "team/other:2", "-"], &root));
    let names: Vec<_> = listed(&server).iter().map(|image| image["name"].clone()).collect();
    assert_eq!(names, [json!("mine:latest"), json!("team/other:2")]);
    for image in listed(&server) {
        assert_eq!(run_in(&server, &image, "cat /etc/old; stat -c %u /etc/old"), "old1000\n");
    }
    let why = refused(&image(&server, "import", &["--name", "host", "-"]));
    assert!(why.contains("another name"), "{why}");
    let why = refused(&image_with_input(&server, "import", &["--name", "x", "-"], b"no archive"));
    assert!(why.contains("is damaged"), "{why}");
    assert_eq!(names_in(&server, "layers").len(), 2);
    let table = good(&image(&server, "list", &[]));
    assert!(table.contains("team/other:2") && table.lines().count() == 3, "{table}");
    good(&image(&server, "rm", &["mine", "team/other:2"]));
    nothing_left(&server);
    let why = refused(&image(&server, "rm", &["mine"]));
    assert!(why.contains("there is no image mine:latest here"), "{why}");
}

#[test]
fn pruning_removes_what_no_image_needs_and_keeps_to_a_size() {
    let server = Server::start();
    let tar = |size: usize| Tar::default().entry(b'0', "data", "", &vec![b'x'; size]).end();
    good(&image_with_input(&server, "import", &["--name", "small", "-"], &tar(1 << 20)));
    good(&image_with_input(&server, "import", &["--name", "large", "-"], &tar(8 << 20)));
    let images = server.data().join("storage/images");
    fs::create_dir_all(images.join("layers/.new-cut-off/tree")).unwrap();
    fs::write(images.join("partial").join("0".repeat(64)), "part").unwrap();
    good(&image(&server, "prune", &[]));
    assert_eq!(
        (names_in(&server, "layers").len(), names_in(&server, "partial").len()),
        (2, 1),
        "a part may go on"
    );
    good(&image(&server, "prune", &["--keep", "20M"]));
    assert_eq!((listed(&server).len(), names_in(&server, "partial").len()), (2, 0));
    good(&image(&server, "prune", &["--keep", "0"]));
    nothing_left(&server);
}
