//! Programs that take more than they are given: each ends or is capped at its limit, the answer says which,
//! and neighbours and server notice nothing.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use blackbox::{Run, Server};
use serde_json::{Value, json};

/// Runs a greedy program while a neighbour answers requests all the time. Afterwards nothing of it is left.
fn beside_a_neighbour(server: &Server, program: &Value) -> Run {
    let neighbour = server.create(&json!({"runtime": "bash", "code": "echo alive"}));
    assert_eq!(server.run(&neighbour).output(), "alive\n");
    let before = server.traces_at_rest();
    let done = AtomicBool::new(false);
    let run = thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut answers = 0;
            while !done.load(Ordering::Relaxed) || answers == 0 {
                assert_eq!(server.run(&neighbour).output(), "alive\n");
                answers += 1;
            }
        });
        let run = server.execute(program);
        done.store(true, Ordering::Relaxed);
        watch.join().expect("the neighbour answered all the time");
        run
    });
    server.nothing_left(&before);
    run
}

#[test]
fn a_fork_bomb_in_bash_ends_at_the_process_limit() {
    let server = Server::start();
    let bomb = json!({"runtime": "bash", "code": ":(){ :|:& };:\nwait\nsleep 1000", "timeout_ms": 3000});
    let run = beside_a_neighbour(&server, &bomb);
    assert!(run.hit("processes"), "{:?}", run.limits_hit);
    assert!(run.stderr.contains("Process limit reached: at most 256"), "{:?}", tail(&run.stderr));
}

#[test]
fn a_fork_loop_in_python_ends_at_the_process_limit() {
    let server = Server::start_with(&["--pids-default", "64"]);
    let code = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n";
    let bomb = json!({"runtime": "python", "code": code, "timeout_ms": 3000});
    let run = beside_a_neighbour(&server, &bomb);
    assert!(run.hit("processes") && run.hit("timeout"), "{:?}", run.limits_hit);
    assert_eq!((run.success, run.exit_code), (false, 124));
    assert!(run.stderr.contains("at most 64"), "{:?}", tail(&run.stderr));
}

#[test]
fn a_program_that_eats_memory_ends_at_the_memory_limit() {
    let server = Server::start();
    let greedy = json!({
        "runtime": "python", "code": "a = []\nwhile True: a.append(bytearray(1 << 20))\n", "memory_limit_mb": 100,
    });
    let run = beside_a_neighbour(&server, &greedy);
    assert!(!run.success && run.exit_code == 137, "{run:?}");
    assert_eq!(run.limits_hit, ["memory"]);
    assert!(run.stderr.contains("Out of memory: the limit is 100 MB"), "{run:?}");
    let modest =
        json!({"runtime": "python", "code": "print(len(bytearray(50 << 20)))", "memory_limit_mb": 100});
    assert_eq!(server.execute(&modest).output(), "52428800\n");
}

#[test]
fn memory_in_a_child_process_counts_as_well() {
    let server = Server::start();
    let code = "python3 -c 'a = bytearray(300 << 20)'; echo the shell goes on";
    let run = beside_a_neighbour(&server, &json!({"runtime": "bash", "code": code, "memory_limit_mb": 128}));
    assert!(run.hit("memory"), "{run:?}");
    assert_eq!(run.stdout, "the shell goes on\n");
}

#[test]
fn a_program_that_fills_the_disk_ends_at_the_disk_limit() {
    let server = Server::start_with(&["--disk-default", "64M"]);
    let code = "dd if=/dev/urandom of=/sandbox/big bs=1M count=500; rm -f /sandbox/big; \
                dd if=/dev/urandom of=/usr/local/big bs=1M count=500";
    let run = beside_a_neighbour(&server, &json!({"runtime": "bash", "code": code, "timeout_ms": 60_000}));
    assert!(!run.success && run.hit("disk"), "{run:?}");
    assert!(run.stderr.contains("Disk full: the limit is 64 MB"), "{run:?}");
    let errors = ["Disk quota exceeded", "No space left on device"];
    assert!(errors.iter().any(|error| run.stderr.contains(error)), "{run:?}");
    assert!(!run.stderr.contains("500+0 records out"), "{run:?}");
    let modest = "dd if=/dev/urandom of=/sandbox/small bs=1M count=32 2>&1 && stat -c %s /sandbox/small";
    let run = server.execute_code("bash", modest);
    assert!(run.success && run.stdout.ends_with("33554432\n"), "{run:?}");
}

#[test]
fn the_disk_limit_holds_over_uploads_too() {
    let server = Server::start_with(&["--disk-default", "16M"]);
    let id = server.create(&json!({"runtime": "bash", "code": "echo ran"}));
    let content = "x".repeat(30 << 20);
    let files = json!([{"path": "big", "content": content}]);
    let answer = server.post(&format!("/sandbox/{id}/files"), &files);
    assert!((400..=599).contains(&answer.status), "{}", answer.status);
    assert!(!answer.error(answer.status).is_empty());
    server.remove(&id);
    assert_eq!(server.execute_code("bash", "echo alive").output(), "alive\n");
}

#[test]
fn tmp_counts_as_memory_and_is_bounded() {
    let server = Server::start_with(&["--disk-default", "64M"]);
    let code = "dd if=/dev/zero of=/tmp/big bs=1M count=500; dd if=/dev/zero of=/dev/shm/big bs=1M count=500";
    let greedy = json!({"runtime": "bash", "code": code, "memory_limit_mb": 128, "timeout_ms": 60_000});
    let run = beside_a_neighbour(&server, &greedy);
    assert!(!run.success, "{run:?}");
    assert!(run.hit("memory") || run.hit("disk"), "{run:?}");
    assert!(!run.stderr.contains("500+0 records out"), "{run:?}");
}

#[test]
fn output_without_end_is_capped_and_said() {
    let server = Server::start_with(&["--output-max", "1M"]);
    let code = "yes abcdefg | head -c 2147483648; echo reached the end >&2";
    let run = beside_a_neighbour(&server, &json!({"runtime": "bash", "code": code, "timeout_ms": 120_000}));
    assert!(run.success && run.hit("output"), "{:?}", run.limits_hit);
    assert_eq!(run.stdout.len(), 1 << 20);
    assert!(run.stdout.as_bytes().chunks(8).all(|line| line == b"abcdefg\n"));
    assert!(run.stderr.starts_with("reached the end\n"), "{}", run.stderr);
    assert!(
        run.stderr.contains(&format!("{} bytes were dropped", (2_u64 << 30) - (1 << 20))),
        "{}",
        run.stderr
    );
    let errors = server.execute_code("bash", "head -c 3000000 /dev/zero | tr '\\0' e >&2; echo out");
    assert_eq!((errors.stdout.as_str(), errors.hit("output")), ("out\n", true));
    assert!(errors.stderr.len() < (1 << 20) + 200 && errors.stderr.contains("bytes were dropped"));
}

#[test]
fn ten_gigabytes_of_output_are_read_and_dropped() {
    let server = Server::start();
    let code = "import os\npiece = memoryview(b'x' * (1 << 20))\nleft = 10 << 30\n\
                while left: left -= os.write(1, piece[:min(left, len(piece))])\n";
    let run = beside_a_neighbour(&server, &json!({"runtime": "python", "code": code, "timeout_ms": 150_000}));
    assert!(run.success && run.hit("output"), "{:?} {}", run.limits_hit, run.stderr);
    assert_eq!(run.stdout.len(), 8 << 20);
    assert!(
        run.stderr.contains(&format!("{} bytes were dropped", (10_u64 << 30) - (8 << 20))),
        "{}",
        run.stderr
    );
}

#[test]
fn a_program_that_ignores_sigterm_ends_at_its_time_limit() {
    let server = Server::start();
    let code = "trap '' TERM INT HUP; echo before; (trap '' TERM; while :; do sleep 0.1; done) & while :; do sleep 0.1; done";
    let run = beside_a_neighbour(&server, &json!({"runtime": "bash", "code": code, "timeout_ms": 700}));
    assert_eq!((run.exit_code, run.success), (124, false));
    assert_eq!(run.limits_hit, ["timeout"]);
    assert!(run.stderr.contains("Execution timed out"), "{run:?}");
    assert_eq!(run.stdout, "before\n", "what was written before is kept");
}

#[test]
fn a_stored_program_that_timed_out_can_be_run_again() {
    let server = Server::start();
    let code = "if [ -e second ]; then echo fine; else touch second; while :; do :; done; fi";
    let id = server.create(&json!({"runtime": "bash", "code": code, "timeout_ms": 500}));
    assert_eq!(server.run(&id).exit_code, 124);
    assert_eq!(server.status(&id), "failed");
    assert_eq!(server.run(&id).output(), "fine\n");
    assert_eq!(server.status(&id), "completed");
}

#[test]
fn a_program_that_becomes_a_daemon_is_gone_after_the_run() {
    let server = Server::start();
    let code = "import os, sys, time\n\
                if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        \
                for fd in range(3): os.close(fd)\n        \
                while True: time.sleep(1000)\n    os._exit(0)\nos.wait()\nprint('left it behind')\n";
    let run = beside_a_neighbour(&server, &json!({"runtime": "python", "code": code}));
    assert_eq!(run.output(), "left it behind\n");
    // A daemon that keeps the output open must not make the answer wait for it either.
    let holds =
        beside_a_neighbour(&server, &json!({"runtime": "bash", "code": "setsid sleep 1000 & echo ended"}));
    assert_eq!(holds.output(), "ended\n");
}

#[test]
fn busy_programs_get_no_more_than_their_share_of_the_processors() {
    let server = Server::start_with(&["--cpu-default", "500"]);
    let program = "import os, resource\npid = os.fork()\nif pid == 0:\n    \
                   busy = 'for i in 1 2 3 4; do timeout 2 bash -c \"while :; do :; done\" & done; wait'\n    \
                   os.execvp('bash', ['bash', '-c', busy])\nos.wait()\n\
                   usage = resource.getrusage(resource.RUSAGE_CHILDREN)\nprint(usage.ru_utime + usage.ru_stime)\n";
    let run = server.execute(&json!({"runtime": "python", "code": program, "timeout_ms": 30_000}));
    let seconds: f64 = run.output().trim().parse().expect("seconds");
    // Half a core for two seconds and the start of a few programs; without a limit it would be two cores'.
    assert!(seconds < 2.0, "{seconds} s of processor time");
}

#[test]
fn waves_of_greedy_programs_do_not_wear_the_server_out() {
    let server = Server::start_with(&["--pids-default", "32", "--disk-default", "16M"]);
    let before = server.traces_at_rest();
    thread::scope(|scope| {
        for number in 0..12 {
            let server = &server;
            scope.spawn(move || {
                let (runtime, code) = [
                    ("bash", ":(){ :|:& };:; sleep 1000"),
                    ("python", "a = []\nwhile True: a.append(bytearray(1 << 20))\n"),
                    ("bash", "dd if=/dev/zero of=/sandbox/x bs=1M count=500; exit 1"),
                    ("bash", "yes"),
                ][number % 4];
                let greedy =
                    json!({"runtime": runtime, "code": code, "timeout_ms": 1500, "memory_limit_mb": 64});
                let run = server.execute(&greedy);
                assert!(!run.limits_hit.is_empty(), "{code}: {:?} {:?}", run.exit_code, tail(&run.stderr));
            });
        }
    });
    assert_eq!(server.execute_code("bash", "echo alive").output(), "alive\n");
    server.nothing_left(&before);
}

/// The end of a text that may be long.
fn tail(text: &str) -> String {
    text.chars().rev().take(200).collect::<Vec<_>>().into_iter().rev().collect()
}
