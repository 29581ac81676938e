//! What `atoll run` runs, and what it passes on of it.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use super::{Folder, run, run_command, run_with_input, texts};

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
fn run_passes_arguments_to_programs_of_every_language() {
    let folder = Folder::new("arguments");
    let files = [
        ("typescript", "a.ts", "console.log(JSON.stringify(process.argv.slice(2)))"),
        ("python", "a.py", "import sys, json; print(json.dumps(sys.argv[1:], separators=(',', ':')))"),
        ("node", "a.js", "console.log(JSON.stringify(process.argv.slice(2)))"),
        ("bun", "b.ts", "console.log(JSON.stringify(process.argv.slice(2)))"),
        ("bash", "a.sh", "printf '[\"%s\",\"%s\",\"%s\"]\\n' \"$@\""),
    ];
    for (runtime, name, code) in files {
        let output = run(&["--runtime", runtime, &folder.file(name, code), "one two", "--timeout", "$HOME"]);
        let expected = ("[\"one two\",\"--timeout\",\"$HOME\"]\n".to_owned(), String::new());
        assert_eq!(texts(&output), expected, "{runtime}");
    }
}

#[test]
fn run_runs_files_of_any_name() {
    let folder = Folder::new("names");
    for name in ["deploy", "my prog.py", "x;y.py", "ümlaut.py"] {
        let output = run(&["--runtime", "python", &folder.file(name, "print('ran')")]);
        assert_eq!(texts(&output), ("ran\n".to_owned(), String::new()), "{name}");
    }
}

#[test]
fn run_takes_a_program_from_standard_input() {
    let code = b"import sys; print(sys.argv[1:], repr(sys.stdin.read()))";
    let output = run_with_input(&["--runtime", "python", "-", "a", "b"], code);
    assert_eq!(texts(&output), ("['a', 'b'] ''\n".to_owned(), String::new()));
    let nothing = run_with_input(&["--runtime", "python", "-"], b"");
    assert!(!nothing.status.success() && texts(&nothing).1.contains("standard input"), "{nothing:?}");
}
