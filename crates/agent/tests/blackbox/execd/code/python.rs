//! Python in contexts.

use serde_json::json;

use super::{create, error, run, value, written};
use crate::http::HttpAgent;

#[test]
fn variables_functions_and_imports_stay_and_the_last_expression_is_the_result() {
    let agent = HttpAgent::start();
    let id = create(&agent, "python");
    assert_eq!(value(&agent, &id, "import math\nx = 40\ndef f(y):\n    return x + y"), "");
    assert_eq!(value(&agent, &id, "f(math.floor(2.5))"), "42");
    assert_eq!(value(&agent, &id, "_ + 1"), "43");
    assert_eq!(value(&agent, &id, "if x: pass"), "");
    assert_eq!(value(&agent, &id, "x;"), "");
    assert_eq!(value(&agent, &id, "None"), "");
    assert_eq!(value(&agent, &id, "'grüße \\n 🏝'"), "'grüße \\n 🏝'");
    assert_eq!(
        value(&agent, &id, "import pickle\nclass K: pass\npickle.loads(pickle.dumps(K())).__class__ is K"),
        "True"
    );
    assert_eq!(value(&agent, &id, "from __future__ import annotations"), "");
    assert_eq!(value(&agent, &id, "def g(a: nowhere): pass\ng.__annotations__['a']"), "'nowhere'");
    assert_eq!(value(&agent, &id, "'\\ud800'"), "'\\ud800'");
}

#[test]
fn await_needs_no_function_and_the_loop_stays() {
    let agent = HttpAgent::start();
    let id = create(&agent, "python");
    let code =
        "import asyncio\nq = asyncio.Queue()\nt = asyncio.ensure_future(q.get())\nawait asyncio.sleep(0)\n1";
    assert_eq!(value(&agent, &id, code), "1");
    assert_eq!(value(&agent, &id, "await q.put(7)\nawait t"), "7");
    assert_eq!(
        value(&agent, &id, "[x async for x in aiter_()] if False else await asyncio.sleep(0, 3)"),
        "3"
    );
}

#[test]
fn tracebacks_are_pythons_own_without_the_drivers_frames() {
    let agent = HttpAgent::start();
    let id = create(&agent, "python");
    run(&agent, &id, "def f():\n    return nope");
    let failed = error(&agent, &id, "f()");
    assert_eq!(
        (&failed["ename"], &failed["evalue"]),
        (&json!("NameError"), &json!("name 'nope' is not defined"))
    );
    let lines: Vec<&str> =
        failed["traceback"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert_eq!(
        lines[..5],
        [
            "Traceback (most recent call last):",
            "  File \"<cell 2>\", line 1, in <module>",
            "    f()",
            "  File \"<cell 1>\", line 2, in f",
            "    return nope",
        ]
    );
    assert_eq!(lines.last(), Some(&"NameError: name 'nope' is not defined"));
    let failed = error(&agent, &id, "1 +");
    assert_eq!(failed["ename"], "SyntaxError");
    assert!(failed["traceback"][0].as_str().unwrap().contains("<cell 3>"), "{failed}");
    let failed = error(&agent, &id, "try:\n    1/0\nexcept Exception as e:\n    raise KeyError('k') from e");
    assert!(failed["traceback"].to_string().contains("ZeroDivisionError: division by zero"), "{failed}");
    assert_eq!(error(&agent, &id, "import sys; sys.exit(3)")["ename"], "SystemExit");
    assert_eq!(value(&agent, &id, "8"), "8");
}

#[test]
fn input_is_refused_and_said_to_be() {
    let agent = HttpAgent::start();
    let id = create(&agent, "python");
    for code in [
        "input('name? ')",
        "import sys; sys.stdin.readline()",
        "sys.stdin.read()",
        "for line in sys.stdin: pass",
    ] {
        let failed = error(&agent, &id, code);
        assert_eq!(failed["ename"], "EOFError", "{code}");
        assert!(failed["evalue"].as_str().unwrap().contains("input is not available"), "{failed}");
        assert!(!failed["traceback"].to_string().contains("<string>"), "{failed}");
    }
    let events = run(&agent, &id, "import subprocess; subprocess.run(['sh', '-c', 'cat; echo $?'])");
    assert_eq!(written(&events, "stdout"), "0\n");
}

#[test]
fn values_are_shown_in_all_forms_that_they_have() {
    let agent = HttpAgent::start();
    let id = create(&agent, "python");
    let code = "class T:\n    def _repr_html_(self): return '<b>'\n    def _repr_png_(self): return b'png'\n    \
                def _repr_json_(self): return {'a': [1, None]}\n    def __repr__(self): return 'T!'\nT()";
    let events = run(&agent, &id, code);
    assert_eq!(
        events[0]["results"],
        json!({"text": "T!", "text/html": "<b>", "image/png": "cG5n", "application/json": {"a": [1, null]}})
    );
    let code = "class M:\n    def _repr_mimebundle_(self, include=None, exclude=None):\n        \
                return {'text/plain': 'M', 'text/markdown': '*m*'}\nM()";
    assert_eq!(run(&agent, &id, code)[0]["results"], json!({"text": "M", "text/markdown": "*m*"}));
    // Shown in order with what is written, by pipe or by a child.
    let code = "import os\nprint('one')\ndisplay(T(), 2)\nos.system('echo three')\ndisplay({'text/html': '<i>'}, raw=True)\nprint('four')";
    let events = run(&agent, &id, code);
    let told: Vec<String> = events
        .iter()
        .map(|event| match event["type"].as_str().unwrap() {
            "result" => event["results"]["text/html"]
                .as_str()
                .or(event["results"]["text"].as_str())
                .unwrap()
                .to_owned(),
            "stdout" => event["text"].as_str().unwrap().to_owned(),
            other => other.to_owned(),
        })
        .collect();
    assert_eq!(told.concat(), "one\n<b>2three\n<i>four\nexecution_complete");
    assert_eq!(
        error(&agent, &id, "class B:\n    def __repr__(self): raise ValueError('r')\nB()")["ename"],
        "ValueError"
    );
    // Too deep for the wire; the other forms come.
    let code = "d = []\nfor i in range(200): d = [d]\nclass D:\n    def _repr_json_(self): return d\n    def __repr__(self): return 'D'\nD()";
    assert_eq!(run(&agent, &id, code)[0]["results"], json!({"text": "D"}));
    // NaN is no JSON; the other forms come.
    let code =
        "class N:\n    def _repr_json_(self): return [float('nan')]\n    def __repr__(self): return 'N'\nN()";
    assert_eq!(run(&agent, &id, code)[0]["results"], json!({"text": "N"}));
}

#[test]
fn children_that_code_forks_are_not_the_context() {
    let agent = HttpAgent::start();
    let id = create(&agent, "python");
    let code = "import os\npid = os.fork()\nif pid == 0:\n    print('child', flush=True)\nelse:\n    os.waitpid(pid, 0)\npid > 0";
    let events = run(&agent, &id, code);
    assert_eq!(written(&events, "stdout"), "child\n");
    assert_eq!(events.iter().filter(|event| event["type"] == "result").count(), 1);
    let code = "import multiprocessing as mp\ndef w(q): display(1); q.put(5)\nq = mp.Queue()\np = mp.Process(target=w, args=(q,))\n\
                p.start()\nr = q.get()\np.join()\nr";
    assert_eq!(value(&agent, &id, code), "5");
}
