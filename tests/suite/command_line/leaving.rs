//! However `atoll run` ends, its sandbox ends with it, and nothing of it is left on the host.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use blackbox::{children_of, deadline::wait_until, pids_below, status_field};
use rustix::process::{Pid, Signal, kill_process};

use super::{piped, run_command, texts};

/// Where the runs of one test are, so that what they leave can be told from what others do.
struct RunFolder(PathBuf);

impl RunFolder {
    fn new(name: &str) -> Self {
        Self(PathBuf::from(format!("/var/tmp/atoll-r{}-{name}", std::process::id())))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let folder = ["--run-dir", self.0.to_str().unwrap()];
        run_command(&[&folder, arguments].concat())
    }

    /// A run that says when its program is up, and that goes on until it is ended.
    fn endless(&self) -> Child {
        // Processes that leave their session and ignore what can be ignored must go as well.
        let script =
            "echo mine > /left; trap '' TERM INT HUP; setsid sleep 1000 & echo up; sleep 1000; sleep 1000";
        let mut child = piped(&mut self.command(&["--net", "nat", "--", "sh", "-c", script]));
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "up\n");
        child
    }

    /// What is on the host of these runs beside the storage that is kept for the next one.
    fn traces(&self, processes: &[u32]) -> BTreeSet<String> {
        let data = self.0.join("0");
        let mut found = BTreeSet::new();
        for folder in ["run", "storage/sandboxes"] {
            found.extend(entries(&data.join(folder)));
        }
        // One that has ended may wait for init to notice.
        let state = |pid: &u32| status_field(*pid, "State").filter(|state| !state.starts_with('Z'));
        let alive = processes.iter().filter_map(|pid| Some(format!("process {pid}: {}", state(pid)?)));
        found.extend(alive);
        let owner = data.as_os_str().as_encoded_bytes();
        let number = (0..16).find(|n| fs::read(format!("/run/atoll/{n}.lock")).is_ok_and(|had| had == owner));
        if let Some(number) = number {
            for hierarchy in entries(Path::new("/sys/fs/cgroup")) {
                let groups = entries(&Path::new(&hierarchy).join(format!("atoll-{number}")));
                found.extend(groups.into_iter().filter(|group| Path::new(group).is_dir()));
            }
            let interfaces = entries(Path::new("/sys/class/net"));
            let prefix = format!("/atl{number:x}-");
            found.extend(interfaces.into_iter().filter(|interface| interface.contains(&prefix)));
        }
        found
    }

    /// At once: whoever waited for the run need not wait for anything else. But for the interface, which the
    /// kernel removes behind the last process's back.
    fn nothing_left_at_once(&self, processes: &[u32]) {
        let mut left = self.traces(processes);
        left.retain(|trace| !trace.contains("/sys/class/net/"));
        assert_eq!(left, BTreeSet::new());
        self.nothing_left(processes);
    }

    fn nothing_left(&self, processes: &[u32]) {
        wait_until("nothing is left of the run", || self.traces(processes).is_empty());
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        for mounted in ["run", "storage"] {
            let point = self.0.join("0").join(mounted);
            let _ = Command::new("umount").arg(point).stderr(Stdio::null()).status();
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().display().to_string()).collect()
}

#[test]
fn a_killed_run_leaves_nothing() {
    let folder = RunFolder::new("kill");
    let mut child = folder.endless();
    let processes = pids_below(child.id());
    let during = folder.traces(&processes);
    let seen = |what: &str| during.iter().any(|trace| trace.contains(what));
    let all = ["process", "storage/sandboxes/", "/run/", "/sys/fs/cgroup/", "/sys/class/net/"];
    assert!(all.into_iter().all(seen), "the look sees what runs: {during:#?}");
    assert!(processes.len() >= 4, "launcher, agent and programs: {processes:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    folder.nothing_left(&processes);
    // Nor is anything in the way of the next one.
    let next = folder.command(&["--", "ls", "/left"]).output().unwrap();
    assert!(!next.status.success() && texts(&next).1.contains("/left"), "{next:?}");
}

#[test]
fn a_signal_ends_the_run_and_leaves_nothing() {
    let folder = RunFolder::new("signal");
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let mut child = folder.endless();
        let processes = pids_below(child.id());
        kill_process(Pid::from_child(&child), signal).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(code), "{signal:?}");
        folder.nothing_left_at_once(&processes);
    }
}

#[test]
fn a_signal_ends_a_run_whose_output_nobody_reads() {
    let folder = RunFolder::new("unread");
    let mut child = piped(&mut folder.command(&["--", "yes"]));
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 64 << 10]).unwrap();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    folder.nothing_left(&[]);
}

#[test]
fn a_signal_that_the_run_was_told_to_ignore_is_ignored() {
    let folder = RunFolder::new("nohup");
    let run = folder.command(&["--", "sh", "-c", "echo up; read line; echo $line"]);
    let mut command = Command::new("nohup");
    let mut child = piped(command.arg(run.get_program()).args(run.get_args()));
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    stdout.read_line(&mut said).unwrap();
    kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"still there\n").unwrap();
    stdout.read_to_string(&mut said).unwrap();
    assert_eq!(said, "up\nstill there\n");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_has_had_enough_ends_the_run() {
    let folder = RunFolder::new("head");
    let mut child = piped(&mut folder.command(&["--", "sh", "-c", "trap '' PIPE; while :; do echo y; done"]));
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 2]).unwrap();
    let processes = pids_below(child.id());
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), texts(&output).1.as_str()), (Some(141), ""));
    folder.nothing_left_at_once(&processes);
}

#[test]
fn a_run_that_ends_by_itself_leaves_nothing() {
    let folder = RunFolder::new("end");
    let script = "echo x > /x; setsid sleep 1000 & exit 5";
    let output = folder.command(&["--net", "nat", "--", "sh", "-c", script]).output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    folder.nothing_left_at_once(&[]);
    assert!(folder.0.join("0/storage").exists(), "the look looks at the right place");
}

#[test]
fn the_records_of_an_earlier_run_are_in_nobodys_way() {
    let folder = RunFolder::new("records");
    assert!(folder.command(&["--", "true"]).status().unwrap().success());
    let database = folder.0.join("0/server/atoll.db");
    assert!(database.exists());
    // As another version's would be.
    fs::write(&database, "no database that this version knows".repeat(1000)).unwrap();
    let output = folder.command(&["--", "echo", "ran"]).output().unwrap();
    assert_eq!(texts(&output), ("ran\n".to_owned(), String::new()));
}

#[test]
fn a_run_prepares_no_other_sandboxes() {
    let folder = RunFolder::new("ahead");
    let mut child = folder.endless();
    let is_launcher = |pid: &u32| status_field(*pid, "Name").as_deref() == Some("atoll-launcher");
    let launcher = pids_below(child.id()).into_iter().find(is_launcher).unwrap();
    let mut looks = 0;
    wait_until("the launcher had time to start another", || {
        assert_eq!(children_of(launcher).len(), 1);
        looks += 1;
        looks > 25
    });
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    child.wait().unwrap();
}
