//! What goes out comes in again as it was, and archives of others' making come in.

use std::{fs, process::Command};

use blackbox::{Server, deadline::wait_until};
use rustix::process::{Signal, kill_process};
use serde_json::json;

use super::{
    MAKE, export, filtered, hash, import, import_ok, keyed, python, restore, snapshot_names, snapshots,
    vm_create, vm_output,
};

#[test]
fn what_is_exported_comes_in_again_as_it_was() {
    let server = Server::start();
    let client = keyed(&server);
    vm_create(&client, "a");
    vm_create(&client, "b");
    vm_output(&client, "b", "mkdir -p d .dot; echo old > d/e; echo old > .dot/f; echo old > gone");
    vm_output(&client, "a", &python(MAKE));
    let made = hash(&client, "a");
    let snapshot = snapshot_names(&client, "a").pop().unwrap();

    let path = format!("/vms/a/snapshots/{snapshot}/export");
    let answer = client.send_bytes("GET", &path, None).unwrap();
    assert_eq!(answer.status, 200);
    let (headers, archive) = (answer.headers, answer.body);
    let header = |name: &str| headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str());
    assert_eq!(header("content-type"), Some("application/zstd"));
    let name = format!("attachment; filename=\"a-{snapshot}.tar.zst\"");
    assert_eq!(header("content-disposition"), Some(name.as_str()));
    let listed = filtered("tar", &["--zstd", "-t"], &archive);
    assert!(String::from_utf8_lossy(&listed).lines().count() > 2000, "tar(1) reads it");

    let row = import_ok(&client, "b", &archive);
    assert_eq!(hash(&client, "b"), made);
    let listed = &snapshots(&client, "b")[2];
    assert_eq!(&row, listed);
    assert_eq!((&row["vm_name"], &row["command"], &row["s3_key"]), (&json!("b"), &json!(null), &json!(null)));
    let imported = row["snapshot_name"].as_str().unwrap();
    assert!(imported.strip_prefix("import_").unwrap().parse::<u64>().is_ok(), "{row}");
    vm_output(&client, "b", "rm -r d; echo new > plain");
    assert_eq!(restore(&client, "b", imported).status, 200);
    assert_eq!(hash(&client, "b"), made, "its snapshot holds it");
    assert_eq!(hash(&client, "a"), made, "and where it came from is as it was");
}

#[test]
fn a_file_that_is_almost_all_hole_goes_out_and_comes_in() {
    let server = Server::start();
    let client = keyed(&server);
    vm_create(&client, "a");
    vm_create(&client, "b");
    vm_output(&client, "a", "truncate -s 1T vast; echo -n start | dd of=vast conv=notrunc status=none");
    let middle = "dd of=vast bs=1M seek=500K conv=notrunc status=none";
    vm_output(&client, "a", &format!("echo -n middle | {middle}; echo last > last"));
    let snapshot = snapshot_names(&client, "a").pop().unwrap();
    let archive = export(&client, "a", &snapshot);
    assert!(archive.len() < 100_000, "{} bytes", archive.len());
    let told = "1099511627776 startmiddle last";
    let look = "head -c 5 vast; dd if=vast bs=6 count=1 iflag=skip_bytes skip=536870912000 status=none";
    let tell =
        format!("echo $(stat -c %s vast) $({look}) $(cat last); test $(du -k vast | cut -f 1) -lt 1000");

    let folder = std::env::temp_dir().join(format!("atoll-vast-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    filtered("tar", &["--zstd", "-x", "-C", folder.to_str().unwrap()], &archive);
    let unpacked = Command::new("sh").args(["-c", &tell]).current_dir(&folder).output().unwrap();
    fs::remove_dir_all(&folder).unwrap();
    assert!(unpacked.status.success(), "holes are filled: {unpacked:?}");
    assert_eq!(String::from_utf8_lossy(&unpacked.stdout).trim_end(), told, "tar(1) knows the holes");

    import_ok(&client, "b", &archive);
    assert_eq!(vm_output(&client, "b", &tell).trim_end(), told);
}

#[test]
fn an_export_holds_what_there_was_when_its_snapshot_was_taken() {
    let server = Server::start();
    let client = keyed(&server);
    vm_create(&client, "a");
    vm_output(&client, "a", "echo one > f");
    let first = snapshot_names(&client, "a").pop().unwrap();
    vm_output(&client, "a", "echo two > f");
    for (snapshot, listed) in [("initial", ""), (&first, "f\n")] {
        let archive = export(&client, "a", snapshot);
        let names = String::from_utf8(filtered("tar", &["--zstd", "-t"], &archive)).unwrap();
        assert_eq!(names, listed);
        import_ok(&client, "a", &archive);
    }
    assert_eq!(vm_output(&client, "a", "cat f"), "one\n");
}

#[test]
fn an_archive_that_tar_makes_comes_in() {
    let server = Server::start();
    let client = keyed(&server);
    vm_create(&client, "a");
    let folder = server.data().with_extension("made");
    fs::create_dir_all(folder.join("src/deep")).unwrap();
    fs::write(folder.join("src/deep/main.c"), "int main;\n").unwrap();
    std::os::unix::fs::symlink("deep/main.c", folder.join("src/link")).unwrap();
    for options in [["--zstd", "--format=gnu"], ["--zstd", "--format=pax"]] {
        let made =
            Command::new("tar").args(options).arg("-C").arg(&folder).args(["-cf", "-", "src"]).output();
        let made = made.unwrap();
        assert!(made.status.success(), "{made:?}");
        vm_output(&client, "a", "echo > before");
        import_ok(&client, "a", &made.stdout);
        assert_eq!(vm_output(&client, "a", "ls; cat src/link"), "src\nint main;\n");
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_machine_that_has_stopped_is_exported_and_starts_for_an_import() {
    let server = Server::start();
    let client = keyed(&server);
    vm_create(&client, "a");
    vm_output(&client, "a", "echo kept > f; sleep 1000 > /dev/null 2>&1 &");
    let status = || client.get("/vms/a").ok()["status"].as_str().unwrap().to_owned();
    kill_process(server.agent_of("sleep").expect("it runs"), Signal::KILL).unwrap();
    wait_until("it is stopped", || status() == "stopped");
    let archive = export(&client, "a", &snapshot_names(&client, "a").pop().unwrap());
    assert_eq!(status(), "stopped");
    import_ok(&client, "a", &archive);
    assert_eq!((status().as_str(), vm_output(&client, "a", "ls -A").as_str()), ("running", "f\n"));
}

#[test]
fn a_machine_whose_disk_is_full_can_be_exported() {
    let server = Server::start_with(&["--disk-default", "32M"]);
    let client = keyed(&server);
    vm_create(&client, "a");
    vm_create(&client, "b");
    super::vm_run(&client, "a", "head -c 100M /dev/urandom > full");
    let full = hash(&client, "a");
    let archive = export(&client, "a", &snapshot_names(&client, "a").remove(1));
    assert!(archive.len() > 20 << 20, "{}", archive.len());
    // An archive of all that a disk holds is slightly more than fits into another.
    assert!([201, 413].contains(&import(&client, "b", &archive).status));
    assert_eq!(hash(&client, "a"), full);
}

#[test]
fn what_no_archive_can_hold_is_an_answer_that_says_so() {
    let server = Server::start();
    let client = keyed(&server);
    vm_create(&client, "a");
    vm_output(&client, "a", &python("import os\nfor _ in range(300): os.mkdir('d'); os.chdir('d')"));
    let last = snapshot_names(&client, "a").pop().unwrap();
    let text = client.get(&format!("/vms/a/snapshots/{last}/export")).error(409);
    assert!(text.starts_with("The snapshot can't be exported: archive d/d/"), "{text}");
    assert!(text.ends_with("it is below more than 256 folders"), "{text}");
}
