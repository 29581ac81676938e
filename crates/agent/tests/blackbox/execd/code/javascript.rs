//! JavaScript and TypeScript in contexts.

use std::process::Command;

use serde_json::json;

use super::{create, error, run, value, written};
use crate::http::HttpAgent;

#[test]
fn what_is_declared_stays_and_may_be_declared_again_in_any_way() {
    let agent = HttpAgent::start();
    let id = create(&agent, "javascript");
    let forms = [
        "let NAME = 1",
        "const NAME = 1",
        "var NAME = 1",
        "let NAME; NAME = 1",
        "const {a: NAME, ...NAME_rest} = {a: 1}",
        "for (var NAME of [1]);",
        "if (true) { var NAME = 1 }",
        "function NAME() {} NAME = 1",
        "class NAME {} NAME = 1",
        "import NAME from 'os'; NAME = 1",
        "export let NAME = 1",
    ];
    for (number, (first, second)) in
        forms.iter().flat_map(|first| forms.iter().map(move |second| (first, second))).enumerate()
    {
        let name = format!("v{number}");
        run(&agent, &id, &first.replace("NAME", &name));
        let again = format!("{}\n;{name} + 1", second.replace("NAME", &name));
        assert_eq!(value(&agent, &id, &again), "2", "{first}, then {second}");
    }
    run(&agent, &id, "class C { m() { return 1 } } function f() { return new C().m() }");
    assert_eq!(value(&agent, &id, "f()"), "1");
    run(&agent, &id, "class C { m() { return 2 } }");
    assert_eq!(value(&agent, &id, "f()"), "2");
    assert_eq!(value(&agent, &id, "{ const C = 9 } f()"), "2");
}

#[test]
fn modules_come_by_import_and_require_and_await_needs_no_function() {
    let agent = HttpAgent::start();
    let id = create(&agent, "javascript");
    std::fs::write(agent.path("own.mjs"), "export const x = 5; export default 6").unwrap();
    std::fs::write(agent.path("own.cjs"), "exports.y = 7").unwrap();
    run(
        &agent,
        &id,
        "import fs, {existsSync as has} from 'fs';\nimport * as path from \"node:path\"\nimport 'os'",
    );
    assert_eq!(value(&agent, &id, "has('/') && fs.existsSync('/') && path.sep"), "'/'");
    run(&agent, &id, "import six, {x} from './own.mjs'; const {y} = require('./own.cjs')");
    assert_eq!(value(&agent, &id, "[six, x, y, (await import('./own.mjs')).x]"), "[ 6, 5, 7, 5 ]");
    assert_eq!(value(&agent, &id, "await new Promise(done => setTimeout(done, 1, 'late'))"), "'late'");
    assert_eq!(value(&agent, &id, "for await (const v of [1, 2]) console.log(v); 3"), "3");
    assert_eq!(value(&agent, &id, "typeof import.meta.url"), "'string'");
}

#[test]
fn results_are_as_the_platform_shows_them() {
    let agent = HttpAgent::start();
    let id = create(&agent, "javascript");
    for (code, shown) in [
        ("1 + 1", "2"),
        ("undefined", ""),
        ("null", "null"),
        ("-0", "-0"),
        ("2n ** 70n", "1180591620717411303424n"),
        ("'a\\n'", "'a\\n'"),
        ("({a: [1, {b: 2}]})", "{ a: [ 1, { b: 2 } ] }"),
        ("new Map([[1, 2]])", "Map(1) { 1 => 2 }"),
        ("Promise.resolve(5)", "Promise { 5 }"),
        ("// nothing", ""),
    ] {
        assert_eq!(value(&agent, &id, code), shown, "{code}");
    }
}

#[test]
fn errors_have_their_stack_without_the_drivers_frames() {
    let agent = HttpAgent::start();
    let id = create(&agent, "javascript");
    run(&agent, &id, "function f() {\n  return nope;\n}");
    let failed = error(&agent, &id, "f()");
    assert_eq!(
        failed,
        json!({
            "ename": "ReferenceError",
            "evalue": "nope is not defined",
            "traceback": [
                "ReferenceError: nope is not defined", "    at f (cell-1.js:2:3)", "    at cell-2.js:1:1",
            ],
        })
    );
    let failed = error(&agent, &id, "await Promise.reject(new TypeError('late'))");
    assert_eq!((&failed["ename"], &failed["evalue"]), (&json!("TypeError"), &json!("late")));
    let failed = error(&agent, &id, "let a = 1;\nlet let = 2");
    assert_eq!(failed["ename"], "SyntaxError");
    assert_eq!(
        (&failed["traceback"][0], &failed["traceback"][1]),
        (&json!("cell-4.js:2"), &json!("let let = 2"))
    );
    assert_eq!(error(&agent, &id, "throw 5")["evalue"], "5");
    assert_eq!(error(&agent, &id, "throw new Error('half \\ud800')")["evalue"], "half \u{fffd}");
    // What fails when nobody waits for it is told, and ends nothing.
    let code =
        "const w = new Promise(done => setTimeout(() => { done(8); throw new Error('lost') }, 1)); await w";
    let events = run(&agent, &id, code);
    assert!(events.iter().any(|event| event["results"]["text"] == "8"), "{events:?}");
    let events = [events, run(&agent, &id, "await new Promise(done => setTimeout(done, 1))")].concat();
    assert!(written(&events, "stderr").contains("Error: lost"), "{events:?}");
}

#[test]
fn input_is_refused_and_children_get_none() {
    let agent = HttpAgent::start();
    let id = create(&agent, "javascript");
    for _ in 0..2 {
        let code = "await new Promise((done, failed) => process.stdin.on('error', failed).on('data', done))";
        let failed = error(&agent, &id, code);
        assert!(failed["evalue"].as_str().unwrap().contains("input is not available"), "{failed}");
    }
    let code = "require('child_process').spawnSync('sh', ['-c', 'cat; echo out; echo err >&2'], {stdio: 'inherit'}).status";
    let events = run(&agent, &id, code);
    assert_eq!(
        (written(&events, "stdout").as_str(), written(&events, "stderr").as_str()),
        ("out\n", "err\n")
    );
}

#[test]
fn typescript_drops_its_types_or_says_what_it_needs() {
    let agent = HttpAgent::start();
    let id = create(&agent, "typescript");
    let strips = "process.exit(require('module').stripTypeScriptTypes ? 0 : 1)";
    let strips = Command::new("node").args(["-e", strips]).status().unwrap().success();
    let code = "interface P { n: number }\nenum E { A = 3, B }\nconst p: P = { n: E.B };\nfunction id<T>(x: T): T { return x }";
    if strips {
        run(&agent, &id, code);
        assert_eq!(value(&agent, &id, "let q: P = id<P>(p); q.n as number"), "4");
        run(
            &agent,
            &id,
            "import { sep, type ParsedPath } from 'node:path';\nimport type { Nope } from './nope';",
        );
        assert_eq!(value(&agent, &id, "sep satisfies string"), "'/'");
        assert_eq!(error(&agent, &id, "const x: = 1")["ename"], "SyntaxError");
    } else {
        let failed = error(&agent, &id, code);
        assert!(
            failed["evalue"].as_str().unwrap().contains("needs Node.js 22.13 or the package typescript"),
            "{failed}"
        );
        assert!(failed["evalue"].as_str().unwrap().contains("this is Node.js v"), "{failed}");
    }
}
