//! `atoll image`: pulls, imports, lists and removes images of a data directory, whether or not a server runs on it.
//!
//! Root keeps the files. What strangers wrote is read by processes that have no power left by then: `atoll image-ask`
//! speaks with registries, `atoll image-unpack` reads layers.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    process::{self, ExitCode},
};

use protocol::HostPath;
use rustix::fs::{CWD, Mode, OFlags, openat};
use serde_json::{Value, json};
use storage::{
    images::{
        Credentials, Image, ImagePrograms, ask_serve, image_import, image_list, image_prune, image_pull,
        image_remove, image_uses, unpack_refuse, unpack_serve,
    },
    layout::{DataDir, LayoutError},
    pool::{PoolOptions, pool_open},
    progress::progress_on_stderr,
};

use crate::{
    cli::{
        ImageCommand, ImageImportOptions, ImageListOptions, ImagePruneOptions, ImagePullOptions,
        ImageRmOptions,
    },
    config::server_uid,
    failure::{During, Outcome},
    host::{kernel_calls, root_check},
    terminal::{print, say},
};

/// More than any password or token.
const PASSWORD_BYTES_MAX: u64 = 64 << 10;

pub(crate) fn image(command: ImageCommand) -> Outcome<ExitCode> {
    match command {
        ImageCommand::Pull(options) => pull(&options),
        ImageCommand::Import(options) => import(&options),
        ImageCommand::List(options) => list(&options),
        ImageCommand::Rm(options) => rm(&options),
        ImageCommand::Prune(options) => prune(&options),
    }
}

fn pull(options: &ImagePullOptions) -> Outcome<ExitCode> {
    let credentials = match &options.username {
        None => None,
        Some(username) => {
            let mut password = String::new();
            let read = io::stdin().take(PASSWORD_BYTES_MAX).read_to_string(&mut password);
            read.during("read the password from standard input")?;
            let password = password.trim_end_matches(['\n', '\r']).to_owned();
            Some(Credentials { username: username.clone(), password })
        }
    };
    let data = storage_open(&options.folder.data_dir)?;
    let image = image_pull(
        &data,
        &options.reference,
        credentials.as_ref(),
        options.max_size,
        PROGRAMS,
        &mut *progress_on_stderr(),
    )
    .during(&format!("pull {}", options.reference))?;
    told(&image, options.output.json)
}

fn import(options: &ImageImportOptions) -> Outcome<ExitCode> {
    let data = storage_open(&options.folder.data_dir)?;
    let mut input: Box<dyn Read> = if options.file == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(&options.file).during(&format!("open {}", options.file.display()))?)
    };
    let progress = &mut *progress_on_stderr();
    let image = image_import(&data, &options.name, &mut *input, options.max_size, PROGRAMS, progress)
        .during(&format!("import {}", options.file.display()))?;
    told(&image, options.output.json)
}

fn told(image: &Image, as_json: bool) -> Outcome<ExitCode> {
    if as_json {
        print(&format!("{}\n", row_of(image)))?;
    } else {
        print(&format!("{}@{}\n", image.name, image.digest))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn list(options: &ImageListOptions) -> Outcome<ExitCode> {
    root_check()?;
    let data = data_dir(&options.folder.data_dir)?;
    let images = image_list(&data).during("list the images")?;
    let uses = image_uses(&data).during("look which images are used")?;
    let used = |image: &Image| uses.get(&image.digest).copied().unwrap_or(0);
    if options.output.json {
        print(&format!(
            "{}\n",
            Value::from(
                images
                    .iter()
                    .map(|image| {
                        let mut row = row_of(image);
                        row["used_by"] = used(image).into();
                        row
                    })
                    .collect::<Vec<_>>()
            )
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    let head = format!("{:40}  {:12}  {:>6}  {:>10}  {:>7}\n", "NAME", "DIGEST", "LAYERS", "SIZE", "USED BY");
    let lines = images.iter().map(|image| {
        let digest: String = image.digest.to_string().chars().skip("sha256:".len()).take(12).collect();
        let size = format!("{} MB", image.bytes >> 20);
        format!("{:40}  {digest:12}  {:>6}  {size:>10}  {:>7}\n", image.name, image.layers.len(), used(image))
    });
    print(&[head].into_iter().chain(lines).collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}

fn row_of(image: &Image) -> Value {
    json!({
        "name": image.name,
        "digest": image.digest.to_string(),
        "platform": format!("{}/{}", image.platform.os, image.platform.architecture),
        "config": image.config,
        "layers": image.layers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "bytes": image.bytes,
        "pulled_at": image.pulled_at,
    })
}

fn rm(options: &ImageRmOptions) -> Outcome<ExitCode> {
    let data = storage_open(&options.folder.data_dir)?;
    for name in &options.names {
        let removed = image_remove(&data, name).during(&format!("remove {name}"))?;
        print(&format!("{name}\n"))?;
        if removed.freed_bytes.is_none() {
            say("its layers stay until `atoll image prune`: another image is being pulled");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn prune(options: &ImagePruneOptions) -> Outcome<ExitCode> {
    let data = storage_open(&options.folder.data_dir)?;
    let pruned = image_prune(&data, options.keep).during("remove what no image needs")?;
    let names = pruned.images.iter().map(|name| format!("{name}\n"));
    print(&names.collect::<String>())?;
    print(&format!("{} layers and downloads removed, {} MB\n", pruned.items, pruned.freed_bytes >> 20))?;
    Ok(ExitCode::SUCCESS)
}

fn data_dir(folder: &Path) -> Outcome<DataDir> {
    DataDir::new(HostPath::new(folder)).during("use the data directory")
}

/// The data directory with its storage open. A server that runs has opened it; else it is opened as a server would.
pub(crate) fn storage_open(folder: &Path) -> Outcome<DataDir> {
    root_check()?;
    let data = data_dir(folder)?;
    if data.server_owner().during("look at the data directory")?.is_none() {
        let uid = server_uid(None)?;
        data.create(uid, uid).during(&format!("prepare the data directory {}", data.root()))?;
    }
    match data.lock() {
        Ok(_lock) => {
            let options = PoolOptions { size_bytes: None, calls: kernel_calls() };
            pool_open(&data, options).during("open the storage")?;
        }
        Err(LayoutError::Locked { .. }) => {}
        Err(error) => Err(error).during("look whether a server runs")?,
    }
    Ok(data)
}

/// The programs that this one is besides.
pub(crate) const PROGRAMS: ImagePrograms = ImagePrograms { unpack: unpacker, ask: asker };

/// The user that registries are asked as: nobody's.
const NOBODY: u32 = 65_534;

/// This program again, as a process that asks a registry. Proxies and certificates are as the environment says.
fn asker() -> process::Command {
    let mut command = process::Command::new("/proc/self/exe");
    command.arg("image-ask").current_dir("/");
    command
}

/// Asks a registry what standard input says, as nobody, and passes on the answer.
pub(crate) fn ask() -> Outcome<ExitCode> {
    jail::privileges::drop_to(NOBODY, NOBODY).during("give up root")?;
    jail::privileges::end_with_parent().during("end with the parent")?;
    let is_good = ask_serve(io::stdin(), io::stdout());
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// This program again, as a process that unpacks.
fn unpacker(bytes_max: u64) -> process::Command {
    let mut command = process::Command::new("/proc/self/exe");
    command.arg("image-unpack").arg(bytes_max.to_string()).env_clear();
    command
}

/// Unpacks standard input into the folder that this was started in, and says what it came to on standard output.
pub(crate) fn unpack(bytes_max: u64) -> Outcome<ExitCode> {
    let is_good = match confined_root() {
        Ok(root) => unpack_serve(io::stdin(), root, bytes_max, io::stdout()),
        Err(why) => {
            unpack_refuse(why, io::stdout());
            false
        }
    };
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn confined_root() -> Result<std::os::fd::OwnedFd, Box<dyn std::error::Error>> {
    jail::unpacking::confine()?;
    Ok(openat(CWD, "/", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}
