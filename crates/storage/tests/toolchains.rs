//! Toolchains as they come from the registry. Needs root, npm and the network.

#![expect(clippy::unwrap_used, reason = "a test may panic; clippy knows only its `#[test]` functions")]

use std::{fs, path::Path, process::Command};

use protocol::HostPath;
use storage::{
    layout::DataDir,
    progress::Lines,
    toolchains::{ToolchainName, ToolchainState, toolchain_install, toolchain_list, toolchain_probe},
};

fn output_of(program: &Path, args: &[&str], folder: &Path) -> (String, Option<i32>) {
    let output = Command::new(program).args(args).current_dir(folder).output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

#[test]
fn bun_and_typescript_are_installed_and_run() {
    let temp = tempfile::tempdir().unwrap();
    let data = DataDir::new(HostPath::new(temp.path().join("data"))).unwrap();
    data.create(0, 0).unwrap();
    let mut text = Vec::new();
    let bun = toolchain_install(&data, ToolchainName::Bun, &mut Lines::new(&mut text)).unwrap();
    let typescript = toolchain_install(&data, ToolchainName::Typescript, &mut Lines::new(&mut text)).unwrap();
    let lines = String::from_utf8(text).unwrap();
    assert!(
        lines.contains(": downloading 49.") && lines.ends_with("typescript 7.0.2: installed\n"),
        "{lines}"
    );

    for (name, version) in [("bun", "bun-1.4.5"), ("typescript", "typescript-7.0.2")] {
        assert_eq!(fs::read_link(data.toolchains().join(name)).unwrap(), Path::new(version));
    }
    let states = toolchain_list(&data).into_iter().map(|status| status.state);
    assert!(matches!(
        states.collect::<Vec<_>>()[..],
        [
            ToolchainState::Missing { download_bytes: 50_000_000.. },
            ToolchainState::Installed(_),
            ToolchainState::Installed(_)
        ]
    ));

    let work = temp.path().join("work");
    fs::create_dir(&work).unwrap();
    let program = "import { readFileSync } from \"node:fs\";\n\
                   const size: number = readFileSync(\"index.ts\").length;\nconsole.log(size > 0);\n";
    fs::write(work.join("index.ts"), program).unwrap();
    fs::write(work.join("wrong.ts"), "const size: number = process.version;\nexport { size };\n").unwrap();
    let (output, status) = output_of(bun.join("bin/bun").as_path(), &["index.ts"], &work);
    assert_eq!((output.as_str(), status), ("true\n", Some(0)));
    let (output, _) = output_of(bun.join("bin/bunx").as_path(), &["--version"], &work);
    assert_eq!(output, "1.4.5\n");

    let tsc = typescript.join("bin/tsc");
    let types = typescript.join("node_modules/@types").to_string();
    let flags = [
        "--typeRoots",
        &types,
        "--types",
        "node",
        "--skipLibCheck",
        "--noEmitOnError",
        "--module",
        "commonjs",
    ];
    let (output, status) = output_of(tsc.as_path(), &[&flags[..], &["index.ts"]].concat(), &work);
    assert_eq!((output.as_str(), status), ("", Some(0)));
    assert!(fs::read_to_string(work.join("index.js")).unwrap().contains("require(\"node:fs\")"));
    let (output, status) = output_of(tsc.as_path(), &[&flags[..], &["wrong.ts"]].concat(), &work);
    assert!(output.starts_with("wrong.ts(1,7): error TS2322:"), "{output}");
    assert_eq!(status, Some(1));
    assert!(!work.join("wrong.js").exists());

    // It is there: nothing is reported, so nothing was done.
    let mut text = Vec::new();
    toolchain_install(&data, ToolchainName::Bun, &mut Lines::new(&mut text)).unwrap();
    assert_eq!(text, b"");
}

#[test]
fn this_host_has_python_and_bash_for_sandboxes() {
    for program in toolchain_probe() {
        assert!(program.path.is_some(), "{} is missing", program.program);
    }
}
