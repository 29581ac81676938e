//! runc on a prepared bundle: what an OCI runtime needs for the same program.

use std::{
    fs,
    os::unix::fs::symlink,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::failure::{During, Failure, Outcome};

/// A bundle that runs `/bin/true` over the host's `/usr`.
pub(crate) struct Runc {
    folder: TempDir,
    number_next: u32,
}

impl Runc {
    /// Makes the bundle: `runc spec`, changed as little as the purpose allows.
    pub(crate) fn prepare() -> Outcome<Self> {
        let folder = tempfile::tempdir().during("make a folder for runc's bundle")?;
        let rootfs = folder.path().join("rootfs");
        for name in ["", "usr", "proc", "dev", "sys", "tmp"] {
            fs::create_dir(rootfs.join(name)).during("make runc's root folder")?;
        }
        for name in ["bin", "lib", "lib64"] {
            symlink(format!("usr/{name}"), rootfs.join(name)).during("make runc's root folder")?;
        }
        let mut spec = Command::new("runc");
        spec.arg("spec").arg("--bundle").arg(folder.path());
        succeed(&mut spec)?;
        let file = folder.path().join("config.json");
        let text = fs::read_to_string(&file).during("read runc's config.json")?;
        let mut config: Value = serde_json::from_str(&text).during("read runc's config.json")?;
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["/bin/true"]);
        let usr =
            json!({ "destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"] });
        if let Some(mounts) = config["mounts"].as_array_mut() {
            mounts.push(usr);
        }
        fs::write(&file, config.to_string()).during("write runc's config.json")?;
        Ok(Self { folder, number_next: 0 })
    }

    /// Runs it once: create, start, wait, delete.
    pub(crate) fn time(&mut self) -> Outcome<Duration> {
        let id = format!("atoll-bench-{}-{}", std::process::id(), self.number_next);
        self.number_next += 1;
        let mut command = Command::new("runc");
        command.arg("--root").arg(self.folder.path().join("state"));
        command.args(["run", "--bundle"]).arg(self.folder.path()).arg(id);
        let start = Instant::now();
        succeed(&mut command)?;
        Ok(start.elapsed())
    }
}

fn succeed(command: &mut Command) -> Outcome<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().during("start runc")?;
    if status.success() { Ok(()) } else { Err(Failure::new("run runc", status.to_string())) }
}
