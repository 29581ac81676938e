//! A page is loaded anew: its terminals are where they were.

use std::time::Duration;

use blackbox::{Server, deadline::found};

use super::{Person, session};

#[test]
fn a_terminal_goes_on_where_it_was_when_its_page_is_gone() {
    let server = Server::start();
    let session = session(&server);
    let mut person = Person::sit_down(&server, &session);
    person.type_in("secret=40; echo be''fore\n");
    person.expect("before\r\n");
    let Person { socket, terminal, .. } = person;
    socket.vanish();
    let mut person = Person::sit_down_before(&server, &session, &terminal);
    person.expect("before\r\n");
    person.type_in("echo =$((secret + 2))=\n");
    person.expect("=42=\r\n");
    // Another that looks takes its place, and it shows the same.
    let mut other = Person::sit_down_before(&server, &session, &terminal);
    other.expect("=42=\r\n");
    other.type_in("exit 5\n");
    assert_eq!(other.leave().1, 5);
}

#[test]
fn a_program_that_nobody_watches_goes_on_and_its_latest_words_are_kept() {
    let server = Server::start();
    let session = session(&server);
    let mut person = Person::sit_down(&server, &session);
    person.ready();
    // Far more than is kept of it.
    person.type_in("seq 2000000; echo la''st; echo done > done.txt\n");
    person.expect("2\r\n");
    let Person { socket, terminal, .. } = person;
    socket.vanish();
    let path = format!("/api/files/{session}/content?path=done.txt");
    found(Duration::from_secs(100), || (server.get(&path).status == 200).then_some(()))
        .expect("it goes on without anybody");
    let mut person = Person::sit_down_before(&server, &session, &terminal);
    let kept = person.expect("last\r\n");
    assert!(kept.ends_with("1999999\r\n2000000\r\n"), "{:?}", &kept[kept.len().saturating_sub(100)..]);
    assert!(kept.len() < 4 << 20, "{} bytes were kept", kept.len());
    person.ready();
}
