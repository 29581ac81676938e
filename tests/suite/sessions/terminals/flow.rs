//! Who does not read slows his own program down, and costs nobody else anything.

use std::{fs, time::Duration};

use blackbox::{Server, deadline::found, pids_below, status_field};

use super::{Person, session};

/// What a process has in memory, in KiB.
fn resident(pid: u32) -> u64 {
    status_field(pid, "VmRSS").unwrap().trim_end_matches(" kB").trim().parse().unwrap()
}

/// The processes of this name that the server's sandboxes have.
fn named(server: &Server, name: &str) -> Vec<u32> {
    let below = pids_below(server.keeper_pid());
    below.into_iter().filter(|pid| status_field(*pid, "Name").as_deref() == Some(name)).collect()
}

/// Waits until a program sleeps and has used no time for a while: nobody takes what it writes.
fn blocked(pid: u32) {
    let mut last = String::new();
    found(Duration::from_secs(100), || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let now = fields[11..13].join(" ");
        let waits = fields[0] == "S" && now == last;
        last = now;
        std::thread::sleep(Duration::from_millis(100));
        waits.then_some(())
    })
    .expect("the program waits");
}

fn floods(name: &str, command: &str) {
    let server = Server::start();
    let (noisy, quiet) = (session(&server), session(&server));
    let mut neighbour = Person::sit_down(&server, &quiet);
    neighbour.ready();
    let mut beside = Person::sit_down(&server, &noisy);
    beside.ready();
    let mut person = Person::sit_down(&server, &noisy);
    person.ready();
    let before = resident(server.pid());
    let agents: Vec<(u32, u64)> =
        named(&server, "atoll-agent").into_iter().map(|pid| (pid, resident(pid))).collect();
    person.type_in(&format!("{command}\n"));
    let flood = found(Duration::from_secs(100), || named(&server, name).first().copied()).unwrap();
    blocked(flood);
    for number in 0..20 {
        for other in [&mut neighbour, &mut beside] {
            other.type_in(&format!("echo tok''en-{number}\n"));
            other.expect(&format!("token-{number}\r\n"));
        }
    }
    let grown = resident(server.pid()).saturating_sub(before);
    assert!(grown < 32 << 10, "the server grew by {grown} KiB");
    for (pid, before) in agents {
        let grown = resident(pid).saturating_sub(before);
        assert!(grown < 8 << 10, "an agent grew by {grown} KiB");
    }
    // It goes on when it is looked at, and ends when it is told to.
    let mut read = 0;
    while read < 16 << 20 {
        read += person.next().unwrap().len();
    }
    person.shown.clear();
    person.type_in("\x03");
    person.type_in("stty sane; echo do''ne\n");
    person.expect("done\r\n");
    found(Duration::from_secs(100), || named(&server, name).is_empty().then_some(())).expect("it has ended");
}

#[test]
fn an_endless_text_waits_for_its_reader() {
    floods("yes", "yes");
}

#[test]
fn endless_noise_waits_for_its_reader() {
    floods("cat", "cat /dev/urandom");
}
