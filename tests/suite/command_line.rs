//! The commands of `atoll`, with and without a server.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use blackbox::{Server, atoll, toolchains};
use serde_json::{Value, json};

/// A folder of one test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(format!("/var/tmp/atoll-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(atoll());
    command.arg("run").arg("--toolchains").arg(toolchains()).args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    run_command(arguments).output().unwrap()
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn run_passes_on_both_streams_and_the_exit_status() {
    let output = run(&["--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!(texts(&output), ("out\n".to_owned(), "err\n".to_owned()));
    assert_eq!(output.status.code(), Some(7));
    let output = run(&["-e", "A=b c", "--", "sh", "-c", "echo $A; id -u; kill -TERM $$"]);
    assert_eq!(texts(&output).0, "b c\n0\n");
    assert_eq!(output.status.code(), Some(143));
    let output = run(&["--", "no-such-program"]);
    assert_eq!(output.status.code(), Some(127));
    assert!(texts(&output).1.contains("no-such-program"), "{output:?}");
}

#[test]
fn run_streams_what_is_written_when_it_is_written() {
    let mut child =
        run_command(&["--", "sh", "-c", "echo first; sleep 1000"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "first\n");
    assert!(child.try_wait().unwrap().is_none(), "it has not ended yet");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT)
        .unwrap();
    assert!(!child.wait().unwrap().success());
}

#[test]
fn run_runs_source_files_of_every_language() {
    let folder = Folder::new("run");
    let files = [
        ("typescript", "a.ts", "const n: number = 6; console.log('typescript', n * 7)"),
        ("python", "a.py", "print('python', 6 * 7)"),
        ("node", "a.js", "console.log('node', 6 * 7)"),
        ("bun", "b.ts", "console.log('bun', 6 * 7 as number)"),
        ("bash", "a.sh", "echo bash $((6 * 7))"),
    ];
    for (runtime, name, code) in files {
        let output = run(&["--runtime", runtime, &folder.file(name, code)]);
        assert_eq!(texts(&output), (format!("{runtime} 42\n"), String::new()));
        assert_eq!(output.status.code(), Some(0));
    }
    let wrong = run(&["--runtime", "typescript", &folder.file("w.ts", "const n: number = 'x'")]);
    assert!(!wrong.status.success() && texts(&wrong).1.contains("TS2322"), "{wrong:?}");
    let missing = run(&["--runtime", "python", "/no/such/file.py"]);
    assert!(!missing.status.success() && texts(&missing).1.contains("/no/such/file.py"), "{missing:?}");
}

#[test]
fn run_ends_a_command_at_its_limits() {
    let output =
        run(&["--timeout", "1s", "--", "sh", "-c", "trap '' TERM; echo before; while :; do sleep 0.1; done"]);
    assert_eq!(output.status.code(), Some(124));
    let (stdout, stderr) = texts(&output);
    assert_eq!(stdout, "before\n");
    assert!(stderr.contains("timed out"), "{stderr}");
    let output = run(&["--memory", "64M", "--", "python3", "-c", "bytearray(300 << 20)"]);
    assert_eq!(output.status.code(), Some(137));
    assert!(texts(&output).1.contains("memory"), "{output:?}");
}

#[test]
fn run_has_a_network_only_when_asked() {
    let interfaces = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | sort | tr '\\n' ' '";
    assert_eq!(texts(&run(&["--", "sh", "-c", interfaces])).0, "lo ");
    assert_eq!(texts(&run(&["--net", "nat", "--", "sh", "-c", interfaces])).0, "eth0 lo ");
}

#[test]
fn wrong_arguments_are_explained() {
    for arguments in [
        &["--runtime", "ruby", "x.rb"][..],
        &["--timeout", "soon", "--", "true"],
        &["--memory", "1", "--", "true"],
        &[],
    ] {
        let output = run(arguments);
        assert!(!output.status.success() && !output.stderr.is_empty(), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn doctor_says_what_the_host_offers() {
    let output = Command::new(atoll()).args(["doctor", "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(output.status.success(), "{report:#}");
    assert!(report.to_string().len() > 200, "{report}");
    let table = Command::new(atoll()).arg("doctor").output().unwrap();
    assert!(
        table.status.success() && table.stdout.iter().filter(|byte| **byte == b'\n').count() > 5,
        "{table:?}"
    );
}

#[test]
fn ps_logs_and_rm_work_against_a_server() {
    let server = Server::start();
    let command = |arguments: &[&str]| {
        Command::new(atoll()).args(arguments).args(["--server", server.base()]).output().unwrap()
    };
    assert_eq!(serde_json::from_slice::<Value>(&command(&["ps", "--json"]).stdout).unwrap(), json!([]));
    let id = server.create(&json!({"runtime": "bash", "code": "echo line one; echo line two >&2"}));
    let _ = server.run(&id);
    let list: Value = serde_json::from_slice(&command(&["ps", "--json"]).stdout).unwrap();
    assert_eq!((&list[0]["id"], &list[0]["status"]), (&json!(id), &json!("completed")), "{list}");
    assert!(texts(&command(&["ps"])).0.contains(&id));
    let logs = command(&["logs", &id]);
    let (stdout, stderr) = texts(&logs);
    assert!(
        format!("{stdout}{stderr}").contains("line one") && format!("{stdout}{stderr}").contains("line two"),
        "{logs:?}"
    );
    assert!(command(&["rm", &id]).status.success());
    assert_eq!(server.get("/sandboxes").ok(), json!([]));
    for arguments in [["rm", id.as_str()], ["logs", id.as_str()]] {
        let output = command(&arguments);
        assert!(!output.status.success() && texts(&output).1.contains(&id), "{output:?}");
    }
    let nobody = Command::new(atoll()).args(["ps", "--server", "http://127.0.0.1:9"]).output().unwrap();
    assert!(!nobody.status.success() && texts(&nobody).1.contains("127.0.0.1:9"), "{nobody:?}");
}
