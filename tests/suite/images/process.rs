//! The process that reads what is hostile: what it could do if it were taken over.

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::MetadataExt,
    process::{Command, Stdio},
    time::Duration,
};

use blackbox::{atoll, children_of, deadline::found, status_field};

use super::{Folder, content::Tar};

#[test]
fn the_process_that_asks_registries_has_no_power_over_the_host() {
    let mut child =
        Command::new(atoll()).arg("image-ask").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // It waits for the question, and has read nothing that came over a network.
    let is_without = || status_field(child.id(), "NoNewPrivs").filter(|value| value == "1");
    found(Duration::from_secs(30), is_without).expect("it gives up its power");
    let field = |name: &str| status_field(child.id(), name).unwrap();
    let ids = |name: &str| field(name).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!((ids("Uid"), ids("Gid")), (vec!["65534".to_owned(); 4], vec!["65534".to_owned(); 4]));
    assert_eq!(ids("Groups"), [""; 0]);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(u64::from_str_radix(&field(set), 16), Ok(0), "{set}");
    }
    drop(child.stdin.take());
    assert!(!child.wait().unwrap().success(), "no question is none that it answers");
}

#[test]
fn the_process_that_unpacks_has_no_power_over_the_host() {
    let folder = Folder::new("unpack");
    let mut child = Command::new(atoll())
        .args(["image-unpack", "1000000"])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let tar = Tar::default().file("made", "content").end();
    // It waits in the middle of the archive.
    stdin.write_all(&tar[..1024]).unwrap();
    let confined = found(Duration::from_secs(30), || {
        let made = fs::metadata(folder.path().join("made")).is_ok();
        children_of(child.id()).first().copied().filter(|_| made)
    });
    let pid = confined.expect("it unpacks");
    let field = |name: &str| status_field(pid, name).unwrap();
    let ids: Vec<u32> = field("Uid").split_whitespace().map(|id| id.parse().unwrap()).collect();
    assert!(ids.iter().all(|id| *id >= 0x7000_0000), "it is a user of the host: {ids:?}");
    assert_eq!((field("NoNewPrivs").as_str(), field("Seccomp").as_str()), ("1", "2"));
    // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETFCAP: within its user namespace.
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        assert_eq!(u64::from_str_radix(&field(set), 16), Ok(0x8000_001b), "{set}");
    }
    for namespace in ["user", "mnt", "pid", "net", "ipc", "uts"] {
        let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/{namespace}")).unwrap();
        assert_ne!(of(&pid.to_string()), of("self"), "{namespace}");
    }
    let root = fs::read_dir(format!("/proc/{pid}/root")).unwrap();
    let seen: Vec<_> = root.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(seen, ["made"], "it sees the layer's folder alone");
    stdin.write_all(&tar[1024..]).unwrap();
    drop(stdin);
    let mut answer = String::new();
    child.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
    assert!(child.wait().unwrap().success() && answer.starts_with("{\"Unpacked\""), "{answer}");
    assert_eq!(fs::metadata(folder.path().join("made")).unwrap().uid(), 0, "on the disk 0 is 0");
}
