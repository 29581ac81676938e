//! What becomes of a program, without a sandbox.

use std::time::Duration;

use super::*;
use crate::ErrorKind;

fn program(language: Language) -> Program {
    Program {
        language,
        code: "code".to_owned(),
        entry_point: None,
        files: Vec::new(),
        mode: Mode::Oneshot,
        install_dependencies: false,
        dev_server: false,
        timeout: Duration::from_secs(30),
    }
}

fn file(path: &str, content: &str) -> ProgramFile {
    let path = GuestPath::absolute(path).unwrap();
    ProgramFile { path, content: content.as_bytes().to_vec(), executable: false }
}

fn paths(plan: &ProgramPlan) -> Vec<&str> {
    plan.files.iter().map(|file| file.path.as_str()).collect()
}

#[test]
fn each_language_has_its_file_and_its_command() {
    let cases = [
        (Language::Node, "/sandbox/index.js", "node /sandbox/index.js"),
        (Language::Bun, "/sandbox/index.ts", "bun run --no-install /sandbox/index.ts"),
        (Language::Typescript, "/sandbox/index.ts", "node --enable-source-maps /sandbox/index.js"),
        (Language::Python, "/sandbox/main.py", "python3 -u /sandbox/main.py"),
        (Language::Bash, "/sandbox/main.sh", "bash /sandbox/main.sh"),
    ];
    for (language, path, command) in cases {
        let plan = program_plan(&program(language)).unwrap();
        assert_eq!((paths(&plan), plan.main.argv.join(" ")), (vec![path], command.to_owned()));
        assert_eq!(plan.setup.len(), usize::from(language == Language::Typescript), "{language}");
    }
}

#[test]
fn an_entry_point_with_the_languages_ending_is_the_file() {
    let named = Program { entry_point: Some("src/a.js".to_owned()), ..program(Language::Node) };
    let plan = program_plan(&named).unwrap();
    assert_eq!((paths(&plan), plan.main.argv[1].as_str()), (vec!["/sandbox/src/a.js"], "/sandbox/src/a.js"));
    let sent = Program { files: vec![file("/sandbox/src/a.js", "other")], ..named };
    let plan = program_plan(&sent).unwrap();
    assert_eq!(paths(&plan), ["/sandbox/index.js", "/sandbox/src/a.js"], "the client's file is the program");
    assert_eq!(plan.main.argv[1], "/sandbox/src/a.js");
}

#[test]
fn any_other_entry_point_is_a_command() {
    let command = |text: &str| {
        let program = Program { entry_point: Some(text.to_owned()), ..program(Language::Node) };
        program_plan(&program).unwrap().main.argv
    };
    assert_eq!(command("npm run dev"), ["npm", "run", "dev"]);
    assert_eq!(command("a | b"), ["/bin/sh", "-c", "a | b"]);
}

#[test]
fn entry_points_outside_are_refused() {
    for text in ["../x.js", "/etc/x.js", "a\0.js"] {
        let program = Program { entry_point: Some(text.to_owned()), ..program(Language::Node) };
        let refused = program_plan(&program).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid { field: "entry_point" }, "{text:?}");
    }
}

#[test]
fn a_file_is_no_folder_of_another() {
    let with = |files: &[&str]| {
        let files = files.iter().map(|path| file(path, "")).collect();
        program_plan(&Program { files, ..program(Language::Node) })
    };
    assert!(with(&["/sandbox/q", "/sandbox/qr", "/sandbox/p/r", "/sandbox/p/s"]).is_ok());
    for files in [
        ["/sandbox/q", "/sandbox/q/r"],
        ["/sandbox/a/b/c", "/sandbox/a"],
        ["/sandbox/index.js/x", "/sandbox/b"],
    ] {
        let refused = with(&files).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid { field: "files" }, "{files:?}");
    }
}

#[test]
fn a_package_that_is_a_module_is_compiled_as_one() {
    let module_of = |files| {
        let plan = program_plan(&Program { files, ..program(Language::Typescript) }).unwrap();
        let argv = &plan.setup[0].argv;
        argv[argv.iter().position(|word| word == "--module").unwrap() + 1].clone()
    };
    assert_eq!(module_of(vec![]), "commonjs");
    assert_eq!(module_of(vec![file("/sandbox/package.json", r#"{"type": "module"}"#)]), "esnext");
    assert_eq!(module_of(vec![file("/sandbox/package.json", "no json")]), "commonjs");
}
