//! Each runtime runs real programs, and says what is wrong with broken ones.

use blackbox::{Run, Server};
use serde_json::json;

/// What a program looks like that uses everything: output on both streams, arguments of none, exit status 3.
const TALKATIVE: [(&str, &str); 5] = [
    ("node", "console.log('out ü'); console.error('err'); process.exit(3)"),
    ("bun", "console.log('out ü'); console.error('err'); process.exit(3)"),
    ("typescript", "const s: string = 'out ü'; console.log(s); console.error('err'); process.exit(3)"),
    ("python", "import sys\nprint('out ü')\nprint('err', file=sys.stderr)\nsys.exit(3)"),
    ("bash", "echo 'out ü'; echo err >&2; exit 3"),
];

#[test]
fn every_runtime_returns_both_streams_and_the_exit_status() {
    let server = Server::start();
    for (runtime, code) in TALKATIVE {
        let run = server.execute_code(runtime, code);
        assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("out ü\n", "err\n"), "{runtime}");
        assert_eq!((run.exit_code, run.success), (3, false), "{runtime}");
    }
    for (name, runtime) in [("nodejs", "node"), ("ts", "typescript")] {
        let id = server.create(&json!({"runtime": name, "code": "console.log(1)"}));
        assert_eq!(server.get(&format!("/sandbox/{id}")).ok()["runtime"], runtime);
        assert_eq!(server.run(&id).output(), "1\n");
    }
}

#[test]
fn every_runtime_gets_its_environment_variables_and_files() {
    let server = Server::start();
    let javascript = "console.log(process.env.GREETING, require('fs').readFileSync('data/x.txt', 'utf8'))";
    let programs = [
        ("node", javascript),
        ("bun", javascript),
        (
            "typescript",
            "import { readFileSync } from 'fs';\nconsole.log(process.env.GREETING, readFileSync('data/x.txt', 'utf8'));",
        ),
        ("python", "import os\nprint(os.environ['GREETING'], open('data/x.txt').read())"),
        ("bash", "echo \"$GREETING $(cat data/x.txt)\""),
    ];
    for (runtime, code) in programs {
        let run = server.execute(&json!({
            "runtime": runtime, "code": code, "env_vars": {"GREETING": "good $HOME `day`"},
            "files": [{"path": "data/x.txt", "content": "content"}],
        }));
        assert_eq!(run.output(), "good $HOME `day` content\n", "{runtime}");
    }
}

#[test]
fn node_runs_commonjs_and_es_modules() {
    let server = Server::start();
    let program = |entry: &str, code: &str| {
        server.execute(&json!({
            "runtime": "node", "code": code, "entry_point": entry,
            "files": [{"path": "lib.cjs", "content": "exports.twice = x => 2 * x"}],
        }))
    };
    assert_eq!(program("a.js", "console.log(require('./lib.cjs').twice(21))").output(), "42\n");
    assert_eq!(
        program("a.mjs", "import lib from './lib.cjs'; console.log(await lib.twice(21))").output(),
        "42\n"
    );
    let broken = program("a.js", "const = 1");
    assert!(!broken.success && broken.stderr.contains("SyntaxError"), "{broken:?}");
    let thrown = program("a.js", "throw new Error('on purpose')");
    assert!(thrown.exit_code == 1 && thrown.stderr.contains("on purpose"), "{thrown:?}");
}

#[test]
fn bun_runs_typescript_without_checking_it() {
    let server = Server::start();
    let code = "const n: number = 'no number' as any; interface A { b: string }; console.log(typeof n, Bun.version.length > 0)";
    assert_eq!(server.execute_code("bun", code).output(), "string true\n");
    assert_eq!(server.execute_code("bun", "console.log(await Promise.resolve(7))").output(), "7\n");
}

#[test]
fn a_type_error_is_the_failure_of_a_typescript_program() {
    let server = Server::start();
    let run = server.execute_code("typescript", "console.log('must not run');\nconst n: number = 'text';\n");
    assert!(!run.success && run.exit_code != 0, "{run:?}");
    assert_eq!(run.stdout, "", "it must not run");
    assert!(run.stderr.contains("index.ts(2,7): error TS2322"), "{run:?}");
    let syntax = server.execute_code("typescript", "const = 1;");
    assert!(!syntax.success && syntax.stderr.contains("error TS1"), "{syntax:?}");
}

#[test]
fn typescript_is_compiled_with_its_modules_and_node_types() {
    let server = Server::start();
    let run = server.execute(&json!({
        "runtime": "typescript",
        "code": "import * as path from 'node:path';\nimport { area, Shape } from './lib/shape';\n\
                 enum Colour { Red = 3 }\nconst shape: Shape = { side: 4 };\n\
                 console.log(area(shape), Colour.Red, path.basename(__filename), typeof Buffer.from('x'));",
        "files": [{
            "path": "lib/shape.ts",
            "content": "export interface Shape { side: number }\nexport const area = (s: Shape): number => s.side ** 2;",
        }],
    }));
    assert_eq!(run.output(), "16 3 index.js object\n");
    let top_level = server.execute_code("ts", "const n: number = await Promise.resolve(5);\nconsole.log(n);");
    assert_eq!(top_level.output(), "5\n");
}

#[test]
fn python_and_bash_say_where_they_failed() {
    let server = Server::start();
    let python = server.execute_code("python", "def f():\n    raise ValueError('on purpose')\nf()\n");
    assert_eq!(python.exit_code, 1);
    assert!(
        python.stderr.contains("line 2") && python.stderr.contains("ValueError: on purpose"),
        "{python:?}"
    );
    let bash = server.execute_code("bash", "set -u\necho \"$not_set\"\n");
    assert!(!bash.success && bash.stderr.contains("line 2"), "{bash:?}");
}

#[test]
fn a_program_that_dies_of_a_signal_has_128_and_its_number() {
    let server = Server::start();
    for (signal, code) in [("KILL", 137), ("TERM", 143), ("SEGV", 139)] {
        let Run { exit_code, success, limits_hit, .. } =
            server.execute_code("bash", &format!("kill -{signal} $$"));
        assert_eq!((exit_code, success), (code, false), "{signal}");
        assert_eq!(limits_hit, [""; 0], "{signal}");
    }
}
