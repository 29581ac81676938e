//! What lies in `run/` when a launcher starts: notes of what runs, as they should be or as no launcher leaves them.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use blackbox::{Server, deadline::wait_until};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

/// Puts something in the place of a note, which is gone already.
type Damage = fn(&Path);

fn long_running(server: &Server) -> String {
    let id = server.create(&json!({"runtime": "bash", "code": "sleep 1000", "mode": "persistent"}));
    assert!(server.run(&id).is_running);
    id
}

#[test]
fn a_damaged_note_ends_its_sandbox_and_nothing_else() {
    let mut server = Server::start();
    let run = server.data().join("run");
    let damages: [(&str, Damage); 8] = [
        ("gone", |_| {}),
        ("empty", |note| fs::write(note, "").unwrap()),
        ("huge", |note| fs::write(note, vec![b'a'; 20 << 20]).unwrap()),
        ("a link", |note| symlink("/etc/passwd", note).unwrap()),
        ("a folder", |note| fs::create_dir(note).unwrap()),
        ("a pipe", |note| mknodat(CWD, note, FileType::Fifo, Mode::RUSR, 0).unwrap()),
        ("another process", |note| {
            let id = note.parent().unwrap().file_name().unwrap().to_str().unwrap();
            fs::write(note, format!("{id} 9 {} false", std::process::id())).unwrap();
        }),
        ("a path", |note| fs::write(note, "../../.. 9 1 false").unwrap()),
    ];
    let whole = long_running(&server);
    let programs = |server: &Server| server.traces().programs().len();
    let of_one = programs(&server);
    let damaged: Vec<String> = damages.iter().map(|_| long_running(&server)).collect();
    server.kill();
    for (id, (_, damage)) in damaged.iter().zip(&damages) {
        let note = run.join(id).join("group");
        wait_until("the launcher has left", || fs::remove_file(&note).is_ok());
        damage(&note);
    }
    // Not of a launcher at all.
    let kept = PathBuf::from(format!("/var/tmp/atoll-kept-{}", std::process::id()));
    fs::create_dir(&kept).unwrap();
    fs::write(kept.join("file"), "kept").unwrap();
    symlink(&kept, run.join("11111111-1111-4111-8111-111111111111")).unwrap();
    fs::create_dir(run.join("22222222-2222-4222-8222-222222222222")).unwrap();
    symlink(&kept, run.join("22222222-2222-4222-8222-222222222222/group")).unwrap();
    fs::create_dir(run.join("not an id")).unwrap();

    server.start_again();
    assert_eq!(server.status(&whole), "running");
    for (id, (what, _)) in damaged.iter().zip(&damages) {
        assert_eq!(server.get(&format!("/sandbox/{id}")).ok()["ended"]["reason"], "lost", "{what}");
        assert!(server.log().contains(&format!("end {id}: take it over: ")), "{what}");
        assert!(!run.join(id).exists(), "{what}");
    }
    assert_eq!((programs(&server), of_one > 0), (of_one, true));
    assert_eq!(fs::read_to_string(kept.join("file")).unwrap(), "kept");
    assert_eq!(server.execute_code("bash", "echo alive").output(), "alive\n");
    fs::remove_dir_all(&kept).unwrap();
}
