//! Standard input of `atoll run`: passed on whole, no further ahead than it is taken.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    process::Stdio,
};

use blackbox::{deadline::wait_until, status_field};
use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};

use super::{Folder, piped, run, run_command, run_with_input, texts};

#[test]
fn input_reaches_commands_and_programs() {
    let output = run_with_input(&["--", "cat"], b"hi\n");
    assert_eq!(texts(&output), ("hi\n".to_owned(), String::new()));
    let folder = Folder::new("input");
    let files = [
        ("python", "a.py", "import sys; print(sys.stdin.read().upper(), end='')"),
        ("node", "a.js", "process.stdin.on('data', data => process.stdout.write(`${data}`.toUpperCase()))"),
        (
            "typescript",
            "a.ts",
            "process.stdin.on('data', (data: Buffer) => process.stdout.write(`${data}`.toUpperCase()))",
        ),
        ("bash", "a.sh", "tr a-z A-Z"),
    ];
    for (runtime, name, code) in files {
        let output = run_with_input(&["--runtime", runtime, &folder.file(name, code)], b"some words\n");
        assert_eq!(texts(&output), ("SOME WORDS\n".to_owned(), String::new()), "{runtime}");
    }
}

#[test]
fn every_byte_of_a_large_input_comes_back() {
    let mut input = vec![0; 48 << 20];
    File::open("/dev/urandom").unwrap().read_exact(&mut input).unwrap();
    let output = run_with_input(&["--", "cat"], &input);
    assert!(output.status.success());
    assert!(output.stdout == input, "{} bytes came back of {}", output.stdout.len(), input.len());
}

#[test]
fn input_is_passed_on_while_more_may_come() {
    let mut child = piped(&mut run_command(&["--", "cat"]));
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    for word in ["one\n", "two\n"] {
        stdin.write_all(word.as_bytes()).unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, word);
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn input_that_nobody_reads_keeps_nobody_waiting() {
    let output = run_with_input(&["--", "sh", "-c", "echo done; exit 3"], &vec![b'x'; 32 << 20]);
    assert_eq!((texts(&output).0.as_str(), output.status.code()), ("done\n", Some(3)));
    // The input never ends, and the program does not even look at it.
    let mut child = piped(&mut run_command(&["--", "true"]));
    let _open = child.stdin.take();
    assert!(child.wait().unwrap().success());
}

#[test]
fn input_is_read_no_faster_than_the_program_reads_it() {
    let mut child = piped(&mut run_command(&["--", "sh", "-c", "echo up; exec sleep 1000"]));
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let mut stdin = child.stdin.take().unwrap();
    rustix::io::ioctl_fionbio(&stdin, true).unwrap();
    let mut taken = 0;
    let mut looks_full = 0;
    wait_until("no more is taken", || {
        match stdin.write(&[0; 64 << 10]) {
            Ok(written) => (taken, looks_full) = (taken + written, 0),
            Err(_) => looks_full += 1,
        }
        looks_full > 25 || taken > 256 << 20
    });
    let kb: u64 = status_field(child.id(), "VmHWM").unwrap().trim_end_matches(" kB").parse().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(taken < 32 << 20, "{taken} bytes were taken");
    assert!(kb < 256 << 10, "{kb} kB of memory");
}

#[test]
fn input_may_be_nothing_a_file_or_a_terminal() {
    assert_eq!(texts(&run(&["--", "wc", "-c"])).0, "0\n");
    let folder = Folder::new("stdin");
    let file = File::open(folder.file("input", "from a file\n")).unwrap();
    let output = run_command(&["--", "cat"]).stdin(file).output().unwrap();
    assert_eq!(texts(&output).0, "from a file\n");

    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let path = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let open = || rustix::fs::open(&path, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let output = run_command(&["--", "echo", "typed nothing"]).stdin(open()).output().unwrap();
    assert_eq!(texts(&output).0, "typed nothing\n");
    let child = run_command(&["--", "cat"]).stdin(open()).stdout(Stdio::piped()).spawn().unwrap();
    // The second byte is Ctrl-D at the beginning of a line: the end of what is typed.
    rustix::io::write(&terminal, b"typed\n\x04").unwrap();
    assert_eq!(texts(&child.wait_with_output().unwrap()).0, "typed\n");
}
