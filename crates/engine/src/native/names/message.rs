//! Questions and answers about names: what is taken from messages, and what is made of them. Bytes from a sandbox and
//! from anybody's name server come here; it must not know sockets.

use std::net::Ipv4Addr;

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, RData, Record, RecordType},
};
use protocol::policy::{Action, NetworkPolicy};

use super::known::LONGEST;

/// The largest datagram that is sent: it passes most networks in one piece (RFC 9715).
const DATAGRAM_BYTES_MAX: u16 = 1232;
/// The largest that whoever does not speak of it takes (RFC 1035).
const DATAGRAM_BYTES_USUAL: u16 = 512;
/// Names that lead from one to the next.
const CHAIN_MAX: usize = 16;

/// A question that a sandbox asked.
pub(super) struct Question {
    message: Message,
    query: Query,
    /// The name, as policies have it.
    pub(super) name: String,
    /// The longest answer that whoever asks takes in a datagram.
    pub(super) answer_bytes_max: usize,
}

/// What a name server said.
pub(super) struct Answer {
    code: ResponseCode,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    /// The names on the way, but for the one that was asked for.
    chain: Vec<String>,
    /// The addresses, each with its time to live.
    pub(super) addresses: Vec<(Ipv4Addr, u32)>,
}

impl Question {
    /// Takes a question apart. What is none that can be answered is answered by `Err`, or not at all.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Option<Vec<u8>>> {
        let message = Message::from_vec(bytes).map_err(|_| None)?;
        if message.metadata.message_type != MessageType::Query {
            return Err(None);
        }
        let refuse = |code| Err(reply(&message, code).to_vec().ok());
        if message.metadata.op_code != OpCode::Query {
            return refuse(ResponseCode::NotImp);
        }
        let [query] = message.queries.as_slice() else { return refuse(ResponseCode::FormErr) };
        if query.query_class() != DNSClass::IN {
            return refuse(ResponseCode::Refused);
        }
        if [RecordType::AXFR, RecordType::IXFR].contains(&query.query_type()) {
            return refuse(ResponseCode::Refused);
        }
        let Some(name) = text_of(query.name()) else { return refuse(ResponseCode::NXDomain) };
        let asked = message.edns.as_ref().map_or(DATAGRAM_BYTES_USUAL, Edns::max_payload);
        let most = asked.clamp(DATAGRAM_BYTES_USUAL, DATAGRAM_BYTES_MAX);
        Ok(Self { query: query.clone(), name, answer_bytes_max: usize::from(most), message })
    }

    /// The same question from the resolver itself.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        let mut fqdn = Name::from_ascii(name).ok()?;
        fqdn.set_fqdn(true);
        let query = Query::query(fqdn, RecordType::A);
        Some(Self { message: Message::query(), query, name: name.to_owned(), answer_bytes_max: usize::MAX })
    }

    /// The message that passes the question on, under a number that nobody can guess.
    pub(super) fn forward(&self, with_edns: bool) -> Message {
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.queries = vec![self.query.clone()];
        if with_edns {
            let mut edns = Edns::new();
            edns.set_max_payload(DATAGRAM_BYTES_MAX);
            message.set_edns(edns);
        }
        message
    }

    /// There is no such name, as far as this sandbox goes.
    pub(super) fn refuse(&self) -> Option<Vec<u8>> {
        reply(&self.message, ResponseCode::NXDomain).to_vec().ok()
    }

    /// Nobody could be asked.
    pub(super) fn fail(&self) -> Option<Vec<u8>> {
        reply(&self.message, ResponseCode::ServFail).to_vec().ok()
    }

    /// The answer for whoever asked. Over datagrams one that is too long says so, and is asked for again.
    pub(super) fn answer(&self, answer: Answer, is_datagram: bool) -> Option<Vec<u8>> {
        let mut message = reply(&self.message, answer.code);
        message.answers = answer.answers;
        message.authorities = answer.authorities;
        let bytes = message.to_vec().ok()?;
        if is_datagram && bytes.len() > self.answer_bytes_max {
            return message.truncate().to_vec().ok();
        }
        Some(bytes)
    }
}

/// What a name server's bytes say on a question that was sent as `asked`.
pub(super) enum Heard {
    /// They are no answer to it.
    Nothing,
    /// The answer is too long for a datagram.
    Truncated,
    /// The server does not know extensions.
    NoExtensions,
    /// The answer.
    Answer(Box<Answer>),
}

impl Answer {
    /// Reads an answer.
    pub(super) fn read(bytes: &[u8], asked: &Message) -> Heard {
        let Ok(message) = Message::from_vec(bytes) else { return Heard::Nothing };
        let (said, wanted) = (&message.metadata, &asked.metadata);
        let fits = said.id == wanted.id && said.message_type == MessageType::Response;
        let (Some(query), true) = (asked.queries.first(), fits && message.queries == asked.queries) else {
            return Heard::Nothing;
        };
        if said.truncation {
            return Heard::Truncated;
        }
        let code = said.response_code;
        if asked.edns.is_some() && [ResponseCode::FormErr, ResponseCode::NotImp].contains(&code) {
            return Heard::NoExtensions;
        }
        Heard::Answer(Box::new(Self::of(query, message)))
    }

    /// Takes what belongs to the question: records of the name, and of those that it leads to.
    fn of(query: &Query, message: Message) -> Self {
        let code = message.metadata.response_code;
        let mut names = vec![query.name().clone()];
        while names.len() <= CHAIN_MAX {
            let last = names.last();
            let next = message.answers.iter().find_map(|record| match &record.data {
                RData::CNAME(to) if Some(&record.name) == last => Some(to.0.clone()),
                _ => None,
            });
            match next {
                Some(next) if !names.contains(&next) => names.push(next),
                _ => break,
            }
        }
        let belongs = |record: &Record| record.dns_class == DNSClass::IN && names.contains(&record.name);
        let mut answers: Vec<Record> = message.answers.into_iter().filter(belongs).collect();
        let mut addresses = Vec::new();
        for record in &mut answers {
            // What is remembered longer than the address is let through would end in nothing.
            record.ttl = record.ttl.min(LONGEST);
            if let RData::A(address) = &record.data {
                addresses.push((address.0, record.ttl));
            }
        }
        let is_soa = |record: &Record| record.record_type() == RecordType::SOA;
        let authorities = message.authorities.into_iter().filter(is_soa).collect();
        let chain = names.iter().skip(1).map(|name| text_of(name).unwrap_or_default()).collect();
        Self { code, answers, authorities, chain, addresses }
    }

    /// Whether a rule that comes before the one about the name denies another one on the way.
    pub(super) fn is_denied(&self, policy: &NetworkPolicy, name: &str) -> bool {
        let asked = policy.of_name(name).rank;
        self.chain.iter().any(|name| {
            let decision = policy.of_name(name);
            decision.action == Action::Deny && decision.rank < asked
        })
    }
}

fn reply(to: &Message, code: ResponseCode) -> Message {
    let mut message = Message::response(to.metadata.id, to.metadata.op_code);
    message.metadata.recursion_desired = to.metadata.recursion_desired;
    message.metadata.recursion_available = true;
    message.metadata.response_code = code;
    message.queries.clone_from(&to.queries);
    if to.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(DATAGRAM_BYTES_MAX);
        message.set_edns(edns);
    }
    message
}

/// A name in the form of policies. None for one with bytes that no host's name has: a dot within a part would make it
/// look like another.
fn text_of(name: &Name) -> Option<String> {
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'_';
    if !name.iter().all(|label| label.iter().all(is_letter)) {
        return None;
    }
    let labels: Vec<String> =
        name.iter().map(|label| String::from_utf8_lossy(label).to_ascii_lowercase()).collect();
    Some(labels.join("."))
}

#[cfg(test)]
mod tests;
