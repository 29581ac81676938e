//! The form of netlink messages to netfilter (netlink(7)): headers, attributes, answers.

use rustix::io::Errno;

/// `NLA_F_NESTED`.
const NESTED: u16 = 1 << 15;
/// Where the error number is in an answer, behind the header: `struct nlmsgerr`.
const ERROR_AT: usize = 16;

/// A message: `struct nlmsghdr` has length, kind, flags, number and sender, the last of which the kernel fills in.
pub(super) fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// An attribute: length without padding, kind, value, padded to four bytes.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An attribute of attributes.
pub(super) fn nested(kind: u16, attributes: &[u8]) -> Vec<u8> {
    attribute(kind | NESTED, attributes)
}

/// What an answer says, if it is one.
pub(super) fn outcome(answer: &[u8]) -> Option<Result<(), Errno>> {
    let code = answer.get(ERROR_AT..ERROR_AT + 4)?.try_into().map(i32::from_ne_bytes).ok()?;
    Some(if code == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(code.saturating_neg())) })
}
