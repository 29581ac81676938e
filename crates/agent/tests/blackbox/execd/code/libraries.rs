//! What libraries show, and languages of Jupyter kernels: with the Python that `cargo xtask test` installs.

use std::{env, fs, path::PathBuf};

use serde_json::{Value, json};

use super::{create, error, interrupted, run, value, written};
use crate::http::{HttpAgent, TOKEN};

/// The programs of the installed Python, in `$ATOLL_CLIENTS` or where `cargo xtask test` puts it.
fn programs() -> PathBuf {
    let clients = env::var_os("ATOLL_CLIENTS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/clients")),
        PathBuf::from,
    );
    clients.canonicalize().expect("the clients are installed").join("python/bin")
}

/// An agent whose `python3` has libraries, and whose kernels are below `kernels`.
fn start(kernels: &str) -> HttpAgent {
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", programs().display());
    HttpAgent::with(
        &["--token", TOKEN],
        &[("PATH", path.as_str()), ("JUPYTER_PATH", kernels), ("MPLBACKEND", "agg")],
    )
}

/// The values that code shows, in their order.
fn results(agent: &HttpAgent, id: &str, code: &str) -> Vec<Value> {
    let events = run(agent, id, code);
    assert_eq!(events.last().unwrap()["type"], "execution_complete", "{code}: {events:?}");
    events.iter().filter(|event| event["type"] == "result").map(|event| event["results"].clone()).collect()
}

#[test]
fn figures_and_data_frames_are_shown_in_their_forms() {
    let agent = start("");
    let id = create(&agent, "python");
    let frame = "import pandas as pd\npd.DataFrame({'city': ['Bonn', 'Graz'], 'people': [3, 4]})";
    let shown = results(&agent, &id, frame);
    let [shown] = &shown[..] else { panic!("{shown:?}") };
    assert!(shown["text/html"].as_str().unwrap().contains("<td>Graz</td>"), "{shown}");
    assert!(shown["text"].as_str().unwrap().contains("Bonn"), "{shown}");

    let figure = "import matplotlib.pyplot as plt\n_ = plt.plot([1, 4, 9])\nplt.show()";
    let shown = results(&agent, &id, figure);
    let images: Vec<&str> = shown.iter().filter_map(|shown| shown["image/png"].as_str()).collect();
    let [image] = &images[..] else { panic!("{shown:?}") };
    // The first eight bytes of every PNG, in base64.
    assert!(image.starts_with("iVBORw0KGgo"), "{image}");
}

#[test]
fn another_language_comes_by_its_jupyter_kernel() {
    let folder = env::temp_dir().join(format!("atoll-kernels-{}", std::process::id()));
    let kernel = folder.join("kernels/mine");
    fs::create_dir_all(&kernel).unwrap();
    let python = programs().join("python3");
    let spec = json!({
        "argv": [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Mine",
        "language": "minelang",
    });
    fs::write(kernel.join("kernel.json"), spec.to_string()).unwrap();
    let agent = start(folder.to_str().unwrap());
    let id = create(&agent, "minelang");
    assert_eq!(written(&run(&agent, &id, "print('written'); kept = 7"), "stdout"), "written\n");
    assert_eq!(value(&agent, &id, "kept * 6"), "42");
    assert_eq!(error(&agent, &id, "1 / 0")["ename"], "ZeroDivisionError");
    let ended = interrupted(&agent, &id, "print('on', flush=True)\nwhile True: pass");
    assert_eq!(ended["ename"], "KeyboardInterrupt");
    assert_eq!(value(&agent, &id, "kept"), "7");
    let refused = agent.post("/code/context", &json!({"language": "nolang"}));
    assert_eq!(refused.status, 400);
    fs::remove_dir_all(&folder).unwrap();
}
