//! One program per runtime, run through the server's own HTTP API, and the table of what came of them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::ServeError;
use super::http::post;

/// How long one program may take; the first TypeScript run also warms the compiler up.
const RUN_LIMIT: Duration = Duration::from_secs(120);

/// What every program prints: the sum of the squares of 1, 2 and 3.
const EXPECTED: &str = "14";

const PROGRAMS: [Program; 4] = [
    Program {
        runtime: "node",
        code: "console.log(`Node.js ${process.version}:`, [1, 2, 3].reduce((sum, n) => sum + n * n, 0));",
    },
    Program {
        runtime: "bun",
        code: "console.log(`Bun ${Bun.version}:`, [1, 2, 3].reduce((sum, n) => sum + n * n, 0));",
    },
    Program {
        runtime: "typescript",
        code: "const squares: number[] = [1, 2, 3].map((n: number): number => n * n);\n\
               console.log(\"TypeScript:\", squares.reduce((sum: number, n: number): number => sum + n, 0));",
    },
    Program {
        runtime: "python",
        code: "import platform\nprint(f'Python {platform.python_version()}:', sum(n * n for n in (1, 2, 3)))",
    },
];

/// The body of `POST /execute`.
#[derive(Serialize)]
struct Program {
    runtime: &'static str,
    code: &'static str,
}

/// What `POST /execute` answers, as far as the table shows it.
#[derive(Deserialize)]
struct Run {
    success: bool,
    stdout: String,
    stderr: String,
    exit_code: Option<i32>,
    execution_time_ms: u64,
}

/// Runs the programs one after the other on the server at `listen` and prints a line for each.
pub(super) fn programs_run(listen: SocketAddr) -> Result<(), ServeError> {
    let url = format!("http://{listen}/execute");
    let mut failed = Vec::new();
    println!("\n{:<11} {:>4} {:>10} {:>14}  output", "runtime", "exit", "run (ms)", "request (ms)");
    for program in &PROGRAMS {
        let runtime = program.runtime;
        let start = Instant::now();
        let run: Run =
            post(&url, program, RUN_LIMIT).map_err(|source| ServeError::Request { runtime, source })?;
        println!("{}", line_of(runtime, &run, start.elapsed()));
        if !run.as_expected() {
            failed.push(runtime);
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(ServeError::Programs { runtimes: failed }) }
}

/// A command to copy into another terminal.
pub(super) fn curl_example(listen: SocketAddr) -> String {
    format!(
        "curl http://{listen}/execute -H 'content-type: application/json' \
         -d '{{\"runtime\": \"python\", \"code\": \"print(6 * 7)\"}}'"
    )
}

impl Run {
    fn as_expected(&self) -> bool {
        self.success && self.stdout.trim_end().ends_with(EXPECTED)
    }
}

fn line_of(runtime: &str, run: &Run, request: Duration) -> String {
    let exit = run.exit_code.map_or_else(|| "-".to_owned(), |code| code.to_string());
    let output = [run.stdout.trim_end(), run.stderr.trim_end()]
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect::<Vec<_>>()
        .join("\n");
    // Further lines stay in the table's last column.
    let output = output.replace('\n', &format!("\n{:44}", ""));
    format!("{runtime:<11} {exit:>4} {:>10} {:>14}  {output}", run.execution_time_ms, request.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(answer: &str) -> Run {
        serde_json::from_str(answer).unwrap()
    }

    #[test]
    fn a_run_counts_only_with_success_and_the_right_output() {
        let answer = |success: bool, stdout: &str| {
            run(&format!(
                r#"{{"success":{success},"stdout":"{stdout}","stderr":"","exit_code":0,"execution_time_ms":3}}"#
            ))
        };
        assert!(answer(true, "Bun 1: 14\\n").as_expected());
        assert!(!answer(false, "Bun 1: 14\\n").as_expected());
        assert!(!answer(true, "Bun 1:\\n").as_expected());
    }

    #[test]
    fn a_failed_run_shows_its_stderr_in_the_output_column() {
        let run =
            run(r#"{"success":false,"stdout":"","stderr":"a\nb\n","exit_code":null,"execution_time_ms":7}"#);
        assert_eq!(
            line_of("node", &run, Duration::from_millis(12)),
            format!("node           -          7             12  a\n{:44}b", "")
        );
    }
}
