//! The server, or its launcher, killed again and again, a little later each time, while sandboxes are made, run, kept,
//! put back and deleted. After each, what was acknowledged is there, and store and host agree.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use blackbox::{Client, Server, deadline::found, quotas::quotas};
use serde_json::{Value, json};

/// Who is killed.
#[derive(Clone, Copy)]
enum Victim {
    Server,
    Launcher,
}

/// How many kills are spread over the time of a round, each a little later than the last; then the times begin anew.
const OFFSETS: u32 = 25;
/// Sandboxes that are prepared for later requests, of which no record knows.
const PREPARED: usize = 6;

/// What the server acknowledged.
#[derive(Default)]
struct Acknowledged {
    /// Sandboxes, each with the snapshots it must have and the lines that each holds.
    sandboxes: BTreeMap<String, BTreeMap<String, usize>>,
    deleted: BTreeSet<String>,
    /// The sandbox whose deletion was asked for and not answered.
    doubtful: BTreeSet<String>,
}

/// One round of everything. Ends at the first answer that does not come.
fn round(client: &Client, acknowledged: &Mutex<Acknowledged>) -> Option<()> {
    let ask = |method: &str, path: &str, body: Option<Value>| {
        let body = body.map(|body| body.to_string());
        let answer = client.send(method, path, body.as_ref().map(String::as_bytes)).ok()?;
        (answer.status < 300).then_some(answer)
    };
    let program = json!({"runtime": "bash", "code": "echo line >> lines; wc -l < lines"});
    let id = ask("POST", "/sandbox", Some(program))?.json()["id"].as_str()?.to_owned();
    acknowledged.lock().unwrap().sandboxes.insert(id.clone(), BTreeMap::new());
    let run = || ask("POST", &format!("/sandbox/{id}/execute"), None);
    let snapshots = format!("/admin/api/sandboxes/{id}/snapshots");
    let keep = |lines: usize| {
        let taken = ask("POST", &snapshots, Some(json!({})))?.json()["id"].as_str()?.to_owned();
        acknowledged.lock().unwrap().sandboxes.get_mut(&id)?.insert(taken.clone(), lines);
        Some(taken)
    };
    run()?;
    let first = keep(1)?;
    run()?;
    keep(2)?;
    ask("POST", &format!("{snapshots}/{first}/restore"), None)?;
    run()?;
    keep(2)?;
    let fork = ask("POST", &format!("/admin/api/sandboxes/{id}/fork"), Some(json!({"count": 2})))?.json();
    for fork in fork.as_array()? {
        let fork = fork["id"].as_str()?.to_owned();
        acknowledged.lock().unwrap().sandboxes.insert(fork, BTreeMap::new());
    }
    let ids: Vec<String> = acknowledged.lock().unwrap().sandboxes.keys().cloned().collect();
    for id in ids.into_iter().take(3) {
        acknowledged.lock().unwrap().doubtful.insert(id.clone());
        ask("DELETE", &format!("/sandbox/{id}"), None)?;
        let mut all = acknowledged.lock().unwrap();
        all.sandboxes.remove(&id);
        all.doubtful.remove(&id);
        all.deleted.insert(id);
    }
    Some(())
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// What of the host and of the store does not fit together, in words.
fn disagreements(server: &Server) -> Vec<String> {
    let list = server.get("/sandboxes").ok();
    let mut wrong = Vec::new();
    let mut records = BTreeMap::new();
    for sandbox in list.as_array().unwrap() {
        let id = sandbox["id"].as_str().unwrap().to_owned();
        records.insert(id, sandbox["status"].as_str().unwrap().to_owned());
    }
    let layers = names(&server.data().join("storage/sandboxes"));
    let run = names(&server.data().join("run"));
    let unknown = |all: &BTreeSet<String>| all.iter().filter(|id| !records.contains_key(*id)).count();
    for (what, all) in [("layers", &layers), ("folders in run", &run)] {
        if unknown(all) > PREPARED {
            wrong.push(format!("{what} of no sandbox: {all:?}"));
        }
    }
    for id in layers.iter().filter(|id| id.contains('.')) {
        wrong.push(format!("a half done layer: {id}"));
    }
    for (id, status) in &records {
        if (status == "running") != run.contains(id) {
            wrong.push(format!("{id} is {status}, in run: {}", run.contains(id)));
        }
    }
    let mut listed = BTreeSet::new();
    for id in records.keys() {
        let taken = server.get(&format!("/admin/api/sandboxes/{id}/snapshots")).ok();
        listed.extend(taken.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()));
    }
    let kept = names(&server.data().join("storage/snapshots"));
    if listed != kept {
        wrong.push(format!("snapshots on record {listed:?}, in the storage {kept:?}"));
    }
    let groups = server.traces().groups;
    let in_groups: BTreeSet<&str> = groups.iter().filter_map(|group| group.rsplit('/').next()).collect();
    if in_groups.len() > run.len() + PREPARED {
        wrong.push(format!("control groups {in_groups:?}, in run {run:?}"));
    }
    wrong
}

fn check(server: &Server, acknowledged: &mut Acknowledged) {
    let agreed = found(Duration::from_secs(10), || disagreements(server).is_empty().then_some(()));
    assert!(agreed.is_ok(), "store and host disagree: {:#?}", disagreements(server));
    for id in std::mem::take(&mut acknowledged.doubtful) {
        if server.get(&format!("/sandbox/{id}")).status == 404 {
            acknowledged.sandboxes.remove(&id);
        }
    }
    for (id, snapshots) in &acknowledged.sandboxes {
        let taken = server.get(&format!("/admin/api/sandboxes/{id}/snapshots")).ok();
        let has = |snapshot: &str| taken.as_array().unwrap().iter().any(|it| it["id"] == snapshot);
        for (snapshot, lines) in snapshots {
            assert!(has(snapshot), "{snapshot} of {id} is lost: {taken}");
            let file = format!("storage/snapshots/{snapshot}/root/upper/sandbox/lines");
            let content = fs::read_to_string(server.data().join(file)).unwrap_or_default();
            assert_eq!(content.lines().count(), *lines, "{snapshot} of {id}");
        }
    }
    for id in &acknowledged.deleted {
        assert_eq!(server.get(&format!("/sandbox/{id}")).status, 404, "{id} is back");
    }
}

fn kill_again_and_again(victim: Victim, times: u32) {
    let mut server = Server::start();
    let mut acknowledged = Mutex::new(Acknowledged::default());
    let start = Instant::now();
    assert!(round(&server, &acknowledged).is_some(), "a round that nothing disturbs comes to its end");
    let step = start.elapsed() / OFFSETS;
    for number in 0..times {
        let client = (*server).clone();
        thread::scope(|scope| {
            scope.spawn(|| round(&client, &acknowledged));
            thread::sleep(step * (number % OFFSETS));
            match victim {
                Victim::Server => server.kill(),
                Victim::Launcher => server.launcher_kill(),
            }
        });
        if matches!(victim, Victim::Server) {
            server.start_again();
        }
        check(&server, acknowledged.get_mut().unwrap());
    }
    assert_eq!(server.execute_code("bash", "echo alive").output(), "alive\n");
    for sandbox in server.get("/sandboxes").ok().as_array().unwrap() {
        server.remove(sandbox["id"].as_str().unwrap());
    }
    let groups = || quotas(&server).into_keys().filter(|name| name.starts_with("1_")).collect::<Vec<_>>();
    let counted = found(Duration::from_secs(60), || groups().is_empty().then_some(()));
    assert!(counted.is_ok(), "what sandboxes held that are gone is still counted: {:?}", groups());
}

#[test]
fn a_server_killed_fifty_times_loses_nothing_that_it_acknowledged() {
    kill_again_and_again(Victim::Server, 50);
}

#[test]
fn a_server_killed_fifty_times_more_loses_nothing_that_it_acknowledged() {
    kill_again_and_again(Victim::Server, 50);
}

#[test]
fn a_launcher_killed_fifty_times_leaves_nothing_half_done() {
    kill_again_and_again(Victim::Launcher, 50);
}

#[test]
fn a_launcher_killed_fifty_times_more_leaves_nothing_half_done() {
    kill_again_and_again(Victim::Launcher, 50);
}
