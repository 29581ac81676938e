//! From verdicts to a classic BPF program (seccomp(2), linux/filter.h): a binary search over the numbers.

use super::{Condition, HIGHEST_KNOWN, Verdict, verdict};
use crate::sys::FilterInstruction;

/// `BPF_LD | BPF_W | BPF_ABS`: load a word of `struct seccomp_data`.
const LOAD: u16 = 0x20;
/// `BPF_JMP | BPF_JEQ | BPF_K`.
const JUMP_EQUAL: u16 = 0x15;
/// `BPF_JMP | BPF_JGE | BPF_K`.
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
/// `BPF_JMP | BPF_JSET | BPF_K`.
const JUMP_BITS: u16 = 0x45;
/// `BPF_ALU | BPF_AND | BPF_K`.
const AND: u16 = 0x54;
/// `BPF_RET | BPF_K`.
const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// `AUDIT_ARCH_*` of linux/audit.h: a filter is for one architecture's numbers.
#[cfg(target_arch = "x86_64")]
const THIS_ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const THIS_ARCHITECTURE: u32 = 0xc000_00b7;

/// Compiles the policy. Foreign architectures' calls (32-bit ones, say) kill the process.
#[must_use]
pub fn compile() -> Vec<FilterInstruction> {
    let mut program = vec![
        instruction(LOAD, 0, 0, ARCHITECTURE),
        instruction(JUMP_EQUAL, 1, 0, THIS_ARCHITECTURE),
        instruction(RETURN, 0, 0, KILL_PROCESS),
        instruction(LOAD, 0, 0, NUMBER),
    ];
    program.extend(search(&ranges()));
    program
}

/// The first numbers of the runs of equal verdicts, in order. The last run has no end: x32's numbers, which
/// have bit 30 set, are in it.
fn ranges() -> Vec<(u32, Verdict)> {
    let mut ranges: Vec<(u32, Verdict)> = Vec::new();
    for number in 0..=HIGHEST_KNOWN + 1 {
        let verdict = verdict(number);
        if ranges.last().is_none_or(|(_, last)| *last != verdict) {
            ranges.push((number, verdict));
        }
    }
    ranges
}

/// Code that finds the verdict over a loaded number among `ranges`.
fn search(ranges: &[(u32, Verdict)]) -> Vec<FilterInstruction> {
    match ranges {
        [] => Vec::new(),
        [(_, verdict)] => reach(*verdict),
        _ => {
            let (lower, upper) = ranges.split_at(ranges.len() / 2);
            let (left, right) = (search(lower), search(upper));
            // A conditional jump reaches 255 instructions; beyond, it goes by an unconditional one.
            let mut code = match u8::try_from(left.len()) {
                Ok(distance) => vec![instruction(JUMP_GREATER_OR_EQUAL, distance, 0, upper[0].0)],
                Err(_) => vec![
                    instruction(JUMP_GREATER_OR_EQUAL, 0, 1, upper[0].0),
                    instruction(0x05, 0, 0, left.len() as u32),
                ],
            };
            code.extend(left);
            code.extend(right);
            code
        }
    }
}

/// Code that ends in `verdict`.
fn reach(verdict: Verdict) -> Vec<FilterInstruction> {
    let give = |value| instruction(RETURN, 0, 0, value);
    match verdict {
        Verdict::Allow => vec![give(ALLOW)],
        Verdict::Deny => vec![give(ERRNO | EPERM)],
        Verdict::NotThere => vec![give(ERRNO | ENOSYS)],
        Verdict::If(Condition::WithoutBits { argument, bits }) => vec![
            load_argument(argument),
            instruction(JUMP_BITS, 0, 1, bits),
            give(ERRNO | EPERM),
            give(ALLOW),
        ],
        Verdict::If(Condition::NoneOf { sets }) => {
            let mut code = Vec::new();
            for set in sets {
                for (index, (argument, value)) in set.iter().enumerate() {
                    // Over the rest of the set's pairs, and its end.
                    let to_next_set = (2 * (set.len() - 1 - index) + 1) as u8;
                    code.push(load_argument(*argument));
                    code.push(instruction(JUMP_EQUAL, 0, to_next_set, *value));
                }
                code.push(give(ERRNO | EPERM));
            }
            code.push(give(ALLOW));
            code
        }
        Verdict::If(Condition::IsOneOf { argument, values }) => {
            let mut code = vec![load_argument(argument)];
            for (index, value) in values.iter().enumerate() {
                let to_allow = (values.len() - index) as u8;
                code.push(instruction(JUMP_EQUAL, to_allow, 0, *value));
            }
            code.extend([give(ERRNO | EPERM), give(ALLOW)]);
            code
        }
        Verdict::If(Condition::OutsideFamily { argument, bits, family, but }) => {
            let mut code = vec![load_argument(argument)];
            for (index, value) in but.iter().enumerate() {
                // Over the rest, the look at the family and the refusal.
                let to_allow = (but.len() - 1 - index + 3) as u8;
                code.push(instruction(JUMP_EQUAL, to_allow, 0, *value));
            }
            code.extend([
                instruction(AND, 0, 0, bits),
                instruction(JUMP_EQUAL, 0, 1, family),
                give(ERRNO | EPERM),
                give(ALLOW),
            ]);
            code
        }
    }
}

/// Loads the lower half of an argument: the calls with conditions take 32-bit values there.
fn load_argument(argument: u8) -> FilterInstruction {
    instruction(LOAD, 0, 0, ARGUMENTS + 8 * u32::from(argument))
}

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> FilterInstruction {
    FilterInstruction { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel would; the value it returns, and how many instructions it took.
    fn run(program: &[FilterInstruction], architecture: u32, number: u32, arguments: [u32; 6]) -> (u32, u32) {
        let (mut at, mut accumulator, mut steps) = (0_usize, 0_u32, 0);
        loop {
            let FilterInstruction { code, jt, jf, k } = program[at];
            steps += 1;
            at += 1;
            let mut jump = |taken: bool| at += usize::from(if taken { jt } else { jf });
            match code {
                LOAD if k == NUMBER => accumulator = number,
                LOAD if k == ARCHITECTURE => accumulator = architecture,
                LOAD => accumulator = arguments[((k - ARGUMENTS) / 8) as usize],
                JUMP_EQUAL => jump(accumulator == k),
                JUMP_GREATER_OR_EQUAL => jump(accumulator >= k),
                JUMP_BITS => jump(accumulator & k != 0),
                AND => accumulator &= k,
                0x05 => at += k as usize,
                RETURN => return (k, steps),
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    fn expected(verdict: Verdict, arguments: [u32; 6]) -> u32 {
        let allowed = match verdict {
            Verdict::Allow => true,
            Verdict::Deny => false,
            Verdict::NotThere => return ERRNO | ENOSYS,
            Verdict::If(Condition::WithoutBits { argument, bits }) => {
                arguments[usize::from(argument)] & bits == 0
            }
            Verdict::If(Condition::NoneOf { sets }) => !sets
                .iter()
                .any(|set| set.iter().all(|(argument, value)| arguments[usize::from(*argument)] == *value)),
            Verdict::If(Condition::IsOneOf { argument, values }) => {
                values.contains(&arguments[usize::from(argument)])
            }
            Verdict::If(Condition::OutsideFamily { argument, bits, family, but }) => {
                let value = arguments[usize::from(argument)];
                but.contains(&value) || value & bits != family
            }
        };
        if allowed { ALLOW } else { ERRNO | EPERM }
    }

    #[test]
    fn the_program_gives_each_call_the_verdict_of_the_table() {
        let program = compile();
        let values = [0, 8, 17, 38, 40, 0x20000, 0x0002_0000, 0x1000_0000, 0x7e02_0000, u32::MAX];
        // Requests to btrfs: to make a subvolume, a snapshot, and to copy a file without its bytes.
        let requests = [0x5000_940e, 0x5000_9417, 0x4004_9409];
        let values = values.into_iter().chain(requests).collect::<Vec<u32>>();
        let sockets = [[16, 2, 15, 0, 0, 0], [16, 2, 0, 0, 0, 0], [2, 2, 15, 0, 0, 0], [40, 1, 0, 0, 0, 0]];
        for number in (0..HIGHEST_KNOWN + 100).chain([0x4000_0000, 0x4000_003b, u32::MAX]) {
            for arguments in values.iter().map(|value| [*value; 6]).chain(sockets) {
                let (given, steps) = run(&program, THIS_ARCHITECTURE, number, arguments);
                assert_eq!(given, expected(verdict(number), arguments), "call {number} with {arguments:x?}");
                assert!(steps <= 24, "call {number} takes {steps} instructions");
            }
        }
    }

    #[test]
    fn foreign_architectures_are_killed() {
        let i386 = 0x4000_0003;
        assert_eq!(run(&compile(), i386, 0, [0; 6]).0, KILL_PROCESS);
    }

    #[test]
    fn the_program_fits_the_kernels_maximum() {
        assert!(compile().len() < 4096);
    }
}
