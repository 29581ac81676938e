//! An interrupt ends the code and nothing else.

use super::{create, interrupted, run, value, written};
use crate::http::HttpAgent;

#[test]
fn python_is_interrupted_wherever_it_is() {
    let agent = HttpAgent::start();
    let id = create(&agent, "python");
    run(&agent, &id, "import asyncio, subprocess, time\nkept = 7");
    for code in [
        "while True: pass",
        "time.sleep(1000)",
        "await asyncio.sleep(1000)",
        "subprocess.run(['sleep', '1000'])",
        "sum(iter(lambda: 0, 1))",
    ] {
        let error = interrupted(&agent, &id, &format!("print('on')\n{code}"));
        assert_eq!(error["ename"], "KeyboardInterrupt", "{code}: {error}");
        assert_eq!(value(&agent, &id, "kept"), "7", "{code}");
    }
    // Code may have its own mind about it.
    let code = "try:\n    print('on')\n    time.sleep(1000)\nexcept KeyboardInterrupt:\n    print('off')";
    assert!(interrupted(&agent, &id, code).is_null());
}

#[test]
fn javascript_is_interrupted_wherever_it_is() {
    let agent = HttpAgent::start();
    let id = create(&agent, "javascript");
    run(&agent, &id, "const kept = 7");
    for code in [
        "while (true) {}",
        "await new Promise(() => {})",
        "await null; while (true) {}",
        "await new Promise(done => setTimeout(done, 1)); while (true) {}",
        "setImmediate(() => { while (true) {} }); await new Promise(() => {})",
        "try { while (true) {} } catch { console.log('never') }",
    ] {
        let error = interrupted(&agent, &id, &format!("console.log('on'); {code}"));
        assert_eq!(error["ename"], "KeyboardInterrupt", "{code}: {error}");
        assert_eq!(value(&agent, &id, "await kept"), "7", "{code}");
    }
    // It fails as its command has, or for the interrupt.
    let code = "console.log('on'); require('child_process').execSync('sleep 1000')";
    assert!(interrupted(&agent, &id, code).is_object());
    assert_eq!(value(&agent, &id, "kept"), "7");
    // What can't be interrupted is ended, and the context with it.
    let code = "await require('timers/promises').setTimeout(1); console.log('on'); while (true) {}";
    let error = interrupted(&agent, &id, code);
    assert_eq!(error["ename"], "ContextDied");
    assert!(error["evalue"].as_str().unwrap().contains("could not be interrupted"), "{error}");
    assert_eq!(value(&agent, &id, "typeof kept"), "'undefined'");
}

#[test]
fn bash_is_interrupted_wherever_it_is() {
    let agent = HttpAgent::start();
    let id = create(&agent, "bash");
    run(&agent, &id, "kept=7; f() { while :; do sleep 0.001; done; }");
    for code in [
        "while :; do :; done",
        "sleep 1000; echo never",
        "f; echo never",
        "cat /dev/zero | cat > /dev/null; sleep 1000",
    ] {
        let error = interrupted(&agent, &id, &format!("echo on; {code}"));
        assert_eq!(error["ename"], "KeyboardInterrupt", "{code}: {error}");
        assert_eq!(written(&run(&agent, &id, "echo $kept"), "stdout"), "7\n", "{code}");
    }
}

#[test]
fn an_idle_context_takes_no_notice() {
    let agent = HttpAgent::start();
    for language in ["python", "javascript", "bash"] {
        let id = create(&agent, language);
        assert_eq!(agent.delete(&format!("/code?id={id}")).status, 200);
        let events = run(&agent, &id, "5");
        assert!(language == "bash" || events[0]["results"]["text"] == "5", "{language}: {events:?}");
        assert_eq!(agent.delete(&format!("/code?id={id}")).status, 200);
        run(&agent, &id, "5");
    }
}
