//! Programs that take the whole screen.

use blackbox::Server;

use super::{Person, session};

#[test]
fn an_editor_edits_and_saves() {
    let server = Server::start();
    let session = session(&server);
    let mut person = Person::sit_down(&server, &session);
    person.ready();
    person.type_in("LC_ALL=C.UTF-8 vim -u NONE -N note.txt; echo le''ft\n");
    // It takes the alternate screen, and fills it.
    person.expect("\x1b[?1049h");
    person.expect("~");
    person.type_in("ifirst line");
    person.expect("first line");
    person.resize(100, 40);
    person.type_in("\x1b");
    person.type_in("osecond é🦀\x1b");
    person.expect("second");
    person.type_in(":wq\n");
    person.expect("left\r\n");
    let saved = server.get(&format!("/api/files/{session}/content?path=note.txt")).ok();
    assert_eq!(saved["content"], "first line\nsecond é🦀\n");
}

#[test]
fn processes_are_watched_on_a_screen_that_changes_its_size() {
    let server = Server::start();
    let mut person = Person::sit_down(&server, &session(&server));
    person.ready();
    person.type_in("top -d 0.2; echo le''ft\n");
    person.expect("PID");
    person.resize(120, 10);
    person.expect("PID");
    person.type_in("q");
    person.expect("left\r\n");
}
