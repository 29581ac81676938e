//! Images: pulled from a real registry and imported, good ones and hostile ones.

mod content;
mod front;
mod hostile;
mod launch;
mod pending;
mod process;
mod pull;
mod registry;
mod shared;
mod shelf;
mod user;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use blackbox::{Server, atoll};
use serde_json::Value;

/// `atoll image …` on the data directory of a server.
fn image_command(server: &Server, command: &str, arguments: &[&str]) -> Command {
    let mut image = Command::new(atoll());
    image.args(["image", command, "--data-dir"]).arg(server.data()).args(arguments).stdin(Stdio::null());
    image
}

fn image(server: &Server, command: &str, arguments: &[&str]) -> Output {
    image_command(server, command, arguments).output().unwrap()
}

fn image_with_input(server: &Server, command: &str, arguments: &[&str], input: &[u8]) -> Output {
    with_input(&mut image_command(server, command, arguments), input)
}

/// Runs a command with this as its standard input.
fn with_input(command: &mut Command, input: &[u8]) -> Output {
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // The program may end before it has read everything.
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().unwrap()
    })
}

fn good(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn refused(output: &Output) -> String {
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The images that are there, as JSON.
fn listed(server: &Server) -> Vec<Value> {
    serde_json::from_str::<Value>(&good(&image(server, "list", &["--json"])))
        .unwrap()
        .as_array()
        .unwrap()
        .clone()
}

/// The names of what lies in a folder of the images.
fn names_in(server: &Server, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(server.data().join("storage/images").join(folder)).into_iter().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Nothing of a pull that failed is there.
fn nothing_left(server: &Server) {
    for folder in ["names", "digests", "layers", "partial"] {
        assert!(names_in(server, folder).is_empty(), "{folder}: {:?}", names_in(server, folder));
    }
}

/// The trees of an image's layers, from the highest on.
fn trees(server: &Server, image: &Value) -> Vec<PathBuf> {
    let layers = image["layers"].as_array().unwrap().iter().rev();
    let hex = |layer: &Value| layer.as_str().unwrap().trim_start_matches("sha256:").to_owned();
    layers.map(|layer| server.data().join("storage/images/layers").join(hex(layer)).join("tree")).collect()
}

/// Runs a script in the image's root, as overlayfs stacks its layers, and returns what it prints.
fn run_in(server: &Server, image: &Value, script: &str) -> String {
    let lower: Vec<String> = trees(server, image).iter().map(|tree| tree.display().to_string()).collect();
    // One folder alone is no overlay: an empty one is put on top.
    let mount = "mkdir -p $0/top $0/root && mount -t tmpfs none $0/top && \
        mount -t overlay none -o ro,lowerdir=$0/top:$1 $0/root && exec chroot $0/root /bin/bash -c \"$2\"";
    let place = Folder::new("run");
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", mount])
        .arg(place.path())
        .args([&lower.join(":"), script])
        .output()
        .unwrap();
    good(&output)
}

/// A folder of one test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = PathBuf::from(format!("/var/tmp/atoll-image-{name}-{}-{count}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
