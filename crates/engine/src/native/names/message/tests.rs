//! Messages of name servers, taken apart and put together. It must not know sockets.

use hickory_proto::rr::rdata::{A, CNAME};
use proptest::prelude::*;
use protocol::policy::Rule;

use super::*;

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn asked(text: &str) -> Message {
    let mut message = Message::query();
    message.queries = vec![Query::query(name(text), RecordType::A)];
    message
}

fn question(text: &str) -> Question {
    Question::read(&asked(text).to_vec().unwrap()).unwrap_or_else(|_| panic!("a question"))
}

fn cname(from: &str, to: &str) -> Record {
    Record::from_rdata(name(from), 300, RData::CNAME(CNAME(name(to))))
}

fn address(of: &str, last: u8, ttl: u32) -> Record {
    Record::from_rdata(name(of), ttl, RData::A(A(Ipv4Addr::new(203, 0, 113, last))))
}

/// What is made of a server's answer to a question.
fn heard(question: &Question, answers: Vec<Record>) -> Answer {
    let asked = question.forward(true);
    let mut said = reply(&asked, ResponseCode::NoError);
    said.answers = answers;
    match Answer::read(&said.to_vec().unwrap(), &asked) {
        Heard::Answer(answer) => *answer,
        _ => panic!("an answer"),
    }
}

#[test]
fn addresses_are_of_the_name_or_of_what_it_leads_to() {
    let question = question("A.Example.");
    assert_eq!(question.name, "a.example");
    let answers = vec![
        address("c.example.", 3, 86_400),
        cname("b.example.", "c.example."),
        cname("a.example.", "b.example."),
        address("evil.test.", 9, 60),
    ];
    let answer = heard(&question, answers);
    assert_eq!(answer.addresses, [(Ipv4Addr::new(203, 0, 113, 3), 3600)]);
    assert_eq!(answer.chain, ["b.example", "c.example"]);
    let message = Message::from_vec(&question.answer(answer, true).unwrap()).unwrap();
    assert_eq!(message.answers.len(), 3, "and nothing else is passed on");
    assert!(message.answers.iter().all(|record| record.ttl <= 3600));
}

#[test]
fn names_that_lead_in_a_circle_or_on_and_on_lead_nowhere() {
    let circle = vec![cname("a.example.", "b.example."), cname("b.example.", "a.example.")];
    assert_eq!(heard(&question("a.example."), circle).addresses, []);
    let mut long: Vec<Record> =
        (0..40).map(|at| cname(&format!("n{at}.example."), &format!("n{}.example.", at + 1))).collect();
    long.push(address("n40.example.", 1, 60));
    assert_eq!(heard(&question("n0.example."), long).addresses, []);
}

#[test]
fn a_name_that_leads_to_a_denied_one_is_denied_unless_it_was_allowed_before() {
    let answer = heard(&question("a.example."), vec![cname("a.example.", "bad.test.")]);
    let rule = |action, target: &str| Rule { action, target: target.parse().unwrap() };
    let (allow, deny) = (rule(Action::Allow, "a.example"), rule(Action::Deny, "bad.test"));
    let denies = |default, rules| answer.is_denied(&NetworkPolicy::new(default, rules).unwrap(), "a.example");
    assert!(denies(Action::Allow, vec![deny.clone()]));
    assert!(denies(Action::Deny, vec![deny.clone(), allow.clone()]));
    assert!(!denies(Action::Deny, vec![allow.clone(), deny]));
    assert!(!denies(Action::Deny, vec![allow]), "what is denied by default alone is led to");
}

#[test]
fn what_is_no_answer_to_the_question_is_not_heard() {
    let question = question("a.example.");
    let asked = question.forward(false);
    let good = reply(&asked, ResponseCode::NoError);
    let read = |message: &Message| Answer::read(&message.to_vec().unwrap(), &asked);
    assert!(matches!(read(&good), Heard::Answer(_)));
    let mut other = good.clone();
    other.metadata.id ^= 1;
    assert!(matches!(read(&other), Heard::Nothing));
    other = good.clone();
    other.queries = vec![Query::query(name("b.example."), RecordType::A)];
    assert!(matches!(read(&other), Heard::Nothing));
    other = good.clone();
    other.metadata.message_type = MessageType::Query;
    assert!(matches!(read(&other), Heard::Nothing));
    other = good.truncate();
    assert!(matches!(read(&other), Heard::Truncated));
    let with_edns = question.forward(true);
    let refused = reply(&with_edns, ResponseCode::FormErr).to_vec().unwrap();
    assert!(matches!(Answer::read(&refused, &with_edns), Heard::NoExtensions));
}

#[test]
fn a_part_of_a_name_that_has_a_dot_in_it_is_not_taken_for_two() {
    let mut odd = Message::query();
    let labels: [&[u8]; 2] = [b"a.example", b"com"];
    odd.queries = vec![Query::query(Name::from_labels(labels).unwrap(), RecordType::A)];
    let Err(Some(refused)) = Question::read(&odd.to_vec().unwrap()) else { panic!("refused") };
    assert_eq!(Message::from_vec(&refused).unwrap().metadata.response_code, ResponseCode::NXDomain);
}

#[test]
fn a_long_answer_is_cut_short_over_datagrams_only() {
    let question = question("a.example.");
    let many: Vec<Record> = (0..200).map(|last| address("a.example.", last, 60)).collect();
    let datagram = question.answer(heard(&question, many.clone()), true).unwrap();
    assert!(datagram.len() <= 512 && Message::from_vec(&datagram).unwrap().metadata.truncation);
    let whole = question.answer(heard(&question, many), false).unwrap();
    assert_eq!(Message::from_vec(&whole).unwrap().answers.len(), 200);
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Question::read(&bytes);
        let _ = Answer::read(&bytes, &asked("a.example."));
    }

    #[test]
    fn changed_messages_are_read_without_harm(at in 0..200_usize, byte in any::<u8>(), length in 0..200_usize) {
        let asked = asked("a.example.");
        let mut said = reply(&asked, ResponseCode::NoError);
        said.answers = vec![cname("a.example.", "b.example."), address("b.example.", 1, 60)];
        let mut bytes = said.to_vec().unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(bytes.len().max(length) - length.min(bytes.len()) / 2);
        let _ = Answer::read(&bytes, &asked);
        let _ = Question::read(&bytes);
    }
}
