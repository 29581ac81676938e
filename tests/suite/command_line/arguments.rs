//! Arguments that make no sense: told before anything is done, with what would.

use std::process::Command;

use blackbox::atoll;

use super::{Folder, run, texts};

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
fn values_out_of_range_are_told_the_range() {
    let folder = Folder::new("range");
    let run_dir = folder.0.join("run");
    let run_in = |arguments: &[&str]| run(&[&["--run-dir", run_dir.to_str().unwrap()], arguments].concat());
    for timeout in ["0", "0ms", "25h", "999999h"] {
        let output = run_in(&["--timeout", timeout, "--", "true"]);
        let (_, stderr) = texts(&output);
        assert!(!output.status.success(), "{timeout}");
        assert!(stderr.contains("--timeout") && stderr.contains("between 1ms and 24h"), "{stderr}");
    }
    for memory in ["0", "1K", "15M", "2T"] {
        let output = run_in(&["--memory", memory, "--", "true"]);
        let (_, stderr) = texts(&output);
        assert!(!output.status.success(), "{memory}");
        assert!(stderr.contains("--memory") && stderr.contains("between 16M and 1T"), "{stderr}");
    }
    assert!(!run_dir.exists(), "something was done before the arguments were looked at");
}

#[test]
fn an_unknown_option_is_not_taken_for_a_command() {
    let (_, stderr) = texts(&run(&["--memroy", "64M", "--", "true"]));
    assert!(stderr.contains("--memroy") && stderr.contains("--memory"), "{stderr}");
    // Behind the command, everything is the command's.
    assert_eq!(texts(&run(&["echo", "--memory", "-n", "--", "x"])).0, "--memory -n -- x\n");
}

#[test]
fn a_server_whose_defaults_no_sandbox_could_have_does_not_start() {
    for (option, value, word) in [
        ("--memory-default", "1K", "memory"),
        ("--memory-max", "64M", "memory"),
        ("--pids-default", "1", "pids"),
        ("--timeout-max", "0", "timeout"),
        ("--running-max", "0", "running_max"),
        ("--lease-oneshot", "0", "lease_oneshot"),
        ("--output-max", "99T", "output_max"),
        ("--body-max", "0", "body_max"),
        ("--storage-size", "0", "storage_size"),
        ("--hosts-allowed", "https://atoll.example.org", "hosts_allowed"),
        ("--vm-user", "", "vm_user"),
        ("--toolchains", "toolchains", "toolchains"),
        ("--dns", "::1", "dns"),
        ("--network-allow", "10.0.0.0/33", "network_allow"),
    ] {
        let folder = Folder::new("defaults");
        let data = folder.0.join("data");
        let mut command = Command::new(atoll());
        command.args(["serve", "--listen", "127.0.0.1:0", "--no-toolchain-install", option, value]);
        let output = command.arg("--data-dir").arg(&data).output().unwrap();
        let (_, stderr) = texts(&output);
        assert!(!output.status.success() && stderr.contains(word), "{option} {value}: {stderr}");
        assert!(!data.exists(), "{option} {value}");
    }
}

#[test]
fn what_is_no_id_is_told_without_a_server() {
    for command in ["logs", "rm"] {
        let output = Command::new(atoll()).args([command, "../sandboxes"]).output().unwrap();
        let (_, stderr) = texts(&output);
        assert!(!output.status.success() && stderr.contains("atoll ps"), "{stderr}");
    }
}
