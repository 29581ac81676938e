//! The pool on a real btrfs image file. Needs root, btrfs-progs, and a loop device.

#![expect(clippy::unwrap_used, reason = "a test may panic; clippy knows only its `#[test]` functions")]

use std::{
    fs, io,
    os::fd::{AsRawFd as _, BorrowedFd},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use protocol::HostPath;
use storage::{
    layout::DataDir,
    pool::{
        KernelCalls, POOL_BYTES_MIN, PlainReason, Pool, PoolError, PoolKind, PoolOptions, Quota, pool_close,
        pool_open, pool_reserve, pool_space,
    },
};

/// Turns simple quotas on as the launcher does, without `unsafe`: through Python's `fcntl`.
fn quota_enable(fd: BorrowedFd<'_>) -> io::Result<()> {
    let script = "import fcntl, os, struct, sys\n\
                  fcntl.ioctl(os.open(sys.argv[1], 0), 0xC0109428, struct.pack('QQ', 4, 0))";
    let folder = format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
    let status = Command::new("/usr/bin/python3").args(["-c", script, &folder]).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("the ioctl failed")) }
}

fn loop_grow(fd: BorrowedFd<'_>) -> io::Result<()> {
    let device = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
    let status = Command::new("losetup").arg("--set-capacity").arg(device).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("losetup failed")) }
}

fn btrfs_grow(fd: BorrowedFd<'_>) -> io::Result<()> {
    let folder = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
    let mut resize = Command::new("btrfs");
    let resize = resize.args(["filesystem", "resize", "max"]).arg(folder).stdout(Stdio::null());
    if resize.status()?.success() { Ok(()) } else { Err(io::Error::other("btrfs failed")) }
}

const CALLS: KernelCalls<'static> =
    KernelCalls { quota_enable: &quota_enable, loop_grow: &loop_grow, btrfs_grow: &btrfs_grow };

fn options(size_bytes: Option<u64>) -> PoolOptions<'static> {
    PoolOptions { size_bytes, calls: CALLS }
}

fn run(program: &str, args: &[&str]) {
    let status = Command::new(program).args(args).stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{program} {args:?}");
}

fn data_dir(root: &Path) -> DataDir {
    let data = DataDir::new(HostPath::new(root)).unwrap();
    data.create(0, 0).unwrap();
    data
}

/// Unmounts at the end of the test, also of one that fails.
struct Opened(Pool);

impl Drop for Opened {
    fn drop(&mut self) {
        let _ = pool_close(&self.0);
    }
}

fn open(data: &DataDir) -> Opened {
    Opened(pool_open(data, options(Some(POOL_BYTES_MIN))).unwrap())
}

/// A device goes when the last one who has it open closes it, and whoever lists devices has them open for a moment.
fn assert_detached(image: &Path) {
    for _ in 0..500 {
        if loop_devices_of(image).is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("a loop device stays: {}", loop_devices_of(image));
}

fn mount_source(folder: &Path) -> String {
    let output = Command::new("findmnt").args(["-n", "-o", "SOURCE"]).arg(folder).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn loop_devices_of(image: &Path) -> String {
    let output = Command::new("losetup").arg("--associated").arg(image).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_image_file_is_written_past_the_cache_of_its_own_file_system() {
    let temp = tempfile::tempdir().unwrap();
    let data = data_dir(temp.path());
    // Not by losetup(8), which opens the devices of other tests too.
    let is_direct = || {
        let source = mount_source(data.storage().as_path());
        let name = source.trim().trim_start_matches("/dev/").to_owned();
        fs::read_to_string(format!("/sys/class/block/{name}/loop/dio")).unwrap().trim() == "1"
    };
    let pool = open(&data);
    assert!(is_direct());
    // So it is of one that an older server has mounted.
    run("losetup", &["--direct-io=off", "--", mount_source(data.storage().as_path()).trim()]);
    assert!(!is_direct());
    assert_eq!(pool_open(&data, options(None)).unwrap(), pool.0);
    assert!(is_direct());
}

#[test]
fn an_image_file_is_made_mounted_found_again_and_unmounted() {
    let temp = tempfile::tempdir().unwrap();
    let data = data_dir(temp.path());
    let pool = open(&data);
    assert_eq!(pool.0.kind, PoolKind::BtrfsImage);
    assert_eq!(pool.0.quota, Quota::Simple);
    for folder in [data.storage(), data.images(), data.sandboxes(), data.snapshots(), data.volumes()] {
        let mode = fs::metadata(folder.as_path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700, "{folder}");
    }
    let space = pool.0.space().unwrap();
    assert_eq!(space.total_bytes, POOL_BYTES_MIN);
    assert!(space.free_bytes > POOL_BYTES_MIN / 2 && space.free_bytes < POOL_BYTES_MIN);
    assert_eq!(pool_space(&data).unwrap().free_bytes, space.free_bytes);
    let kept = data.sandboxes().join("kept");
    fs::write(kept.as_path(), "content").unwrap();

    // A server that starts again finds it mounted.
    assert_eq!(pool_open(&data, options(None)).unwrap(), pool.0);
    // After a reboot it is mounted again, and not formatted.
    pool_close(&pool.0).unwrap();
    assert!(!kept.as_path().exists());
    assert_detached(data.storage_image().as_path());
    let again = open(&data);
    assert_eq!(again.0, pool.0);
    assert_eq!(fs::read_to_string(kept.as_path()).unwrap(), "content");

    // What is open keeps it from going away.
    let busy = fs::File::open(kept.as_path()).unwrap();
    assert!(matches!(pool_close(&again.0), Err(PoolError::Io { step: "unmount", .. })));
    drop(busy);
    pool_close(&again.0).unwrap();
    assert_detached(data.storage_image().as_path());
}

#[test]
fn a_limit_on_a_layer_is_held() {
    let temp = tempfile::tempdir().unwrap();
    let data = data_dir(temp.path());
    let pool = open(&data);
    assert!(pool.0.quota.holds());
    let layer = data.sandboxes().join("layer");
    let name = layer.to_string();
    run("btrfs", &["subvolume", "create", &name]);
    run("btrfs", &["qgroup", "limit", "1M", &name]);
    let error = fs::write(layer.join("big").as_path(), vec![1; 4 << 20]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded, "{error}");
}

#[test]
fn the_operators_own_btrfs_is_used_only_with_quotas_and_never_changed() {
    let temp = tempfile::tempdir().unwrap();
    let outer = data_dir(temp.path());
    let pool = Opened(pool_open(&outer, options(Some(4 * POOL_BYTES_MIN))).unwrap());
    let used = data_dir(outer.sandboxes().join("used").as_path());
    let native = pool_open(&used, options(None)).unwrap();
    assert_eq!((native.kind, native.quota), (PoolKind::BtrfsNative, Quota::Simple));
    assert!(!used.storage_image().as_path().exists());
    fs::create_dir(used.sandboxes().join("layer").as_path()).unwrap();

    run("btrfs", &["quota", "disable", &pool.0.path.to_string()]);
    let fresh = data_dir(outer.sandboxes().join("fresh").as_path());
    let image = open(&fresh);
    assert_eq!((&image.0.kind, &image.0.quota), (&PoolKind::BtrfsImage, &Quota::Simple));
    // What holds sandboxes stays what it was.
    let native = pool_open(&used, options(None)).unwrap();
    assert_eq!(native.kind, PoolKind::BtrfsNative);
    assert!(!native.quota.holds());
    pool_close(&image.0).unwrap();
}

#[test]
fn a_plain_pool_with_sandboxes_stays_plain() {
    let temp = tempfile::tempdir().unwrap();
    let data = data_dir(temp.path());
    let layer = data.sandboxes().join("layer");
    fs::create_dir_all(layer.as_path()).unwrap();
    let pool = pool_open(&data, options(None)).unwrap();
    assert!(matches!(pool.kind, PoolKind::Plain(PlainReason::InUse { .. })), "{:?}", pool.kind);
    assert!(!pool.quota.holds() && !pool.is_btrfs());
    fs::remove_dir(layer.as_path()).unwrap();
    assert_eq!(open(&data).0.kind, PoolKind::BtrfsImage);
}

#[test]
fn an_image_file_that_does_not_mount_is_kept() {
    let temp = tempfile::tempdir().unwrap();
    let data = data_dir(temp.path());
    let image = data.storage_image();
    fs::write(image.as_path(), vec![7; 1 << 20]).unwrap();
    let error = pool_open(&data, options(None)).unwrap_err();
    assert!(matches!(error, PoolError::Unmountable { .. }), "{error}");
    assert_eq!(fs::read(image.as_path()).unwrap(), vec![7; 1 << 20]);
    assert_eq!(loop_devices_of(image.as_path()), "");
}

#[test]
fn without_quotas_the_pool_says_so() {
    let temp = tempfile::tempdir().unwrap();
    let data = data_dir(temp.path());
    let refuse = |_: BorrowedFd<'_>| Err(io::Error::from_raw_os_error(22));
    let pool_options = PoolOptions {
        size_bytes: Some(POOL_BYTES_MIN),
        calls: KernelCalls { quota_enable: &refuse, ..CALLS },
    };
    let pool = Opened(pool_open(&data, pool_options).unwrap());
    assert!(!pool.0.quota.holds());
    let Quota::Off { reason } = &pool.0.quota else { panic!("{:?}", pool.0.quota) };
    assert!(reason.contains("Linux 6.7"), "{reason}");
}

#[test]
fn sizes_below_the_least_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    let data = data_dir(temp.path());
    let error = pool_open(&data, options(Some(POOL_BYTES_MIN - 1))).unwrap_err();
    assert!(matches!(error, PoolError::TooSmall { .. }), "{error}");
    assert!(!data.storage_image().as_path().exists());
}

#[test]
fn an_image_file_grows_and_never_shrinks() {
    let temp = tempfile::tempdir().unwrap();
    let data = data_dir(temp.path());
    let pool = open(&data);
    let kept = data.sandboxes().join("kept");
    fs::write(kept.as_path(), "content").unwrap();
    let total = |asked: Option<u64>| {
        let pool = pool_open(&data, options(asked)).unwrap();
        (pool.space().unwrap().total_bytes, pool.notes)
    };

    // Mounted, as an earlier server leaves it.
    assert_eq!(total(Some(2 * POOL_BYTES_MIN)), (2 * POOL_BYTES_MIN, Vec::new()));
    // A start that was cut off after the first step is gone on with, also without a size.
    let image = fs::OpenOptions::new().write(true).open(data.storage_image().as_path()).unwrap();
    image.set_len(3 * POOL_BYTES_MIN).unwrap();
    assert_eq!(total(None), (3 * POOL_BYTES_MIN, Vec::new()));
    // Cut off after the second, and mounted anew.
    image.set_len(4 * POOL_BYTES_MIN).unwrap();
    pool_close(&pool.0).unwrap();
    assert_eq!(total(Some(4 * POOL_BYTES_MIN)), (4 * POOL_BYTES_MIN, Vec::new()));

    let (bytes, notes) = total(Some(POOL_BYTES_MIN));
    assert_eq!(bytes, 4 * POOL_BYTES_MIN);
    assert!(notes[0].contains("does not shrink"), "{notes:?}");
    assert_eq!(fs::read_to_string(kept.as_path()).unwrap(), "content");
}

#[test]
fn an_image_file_that_cannot_grow_is_used_as_it_is() {
    let temp = tempfile::tempdir().unwrap();
    let data = data_dir(temp.path());
    let pool = open(&data);
    let refuse = |_: BorrowedFd<'_>| Err(io::Error::from_raw_os_error(16));
    let calls = KernelCalls { btrfs_grow: &refuse, ..CALLS };
    let pool_options = PoolOptions { size_bytes: Some(2 * POOL_BYTES_MIN), calls };
    let again = pool_open(&data, pool_options).unwrap();
    assert_eq!(again.space().unwrap().total_bytes, POOL_BYTES_MIN);
    assert!(again.notes[0].contains("the next start tries again"), "{:?}", again.notes);
    drop(pool);
}

/// Bytes in chunks for metadata.
fn metadata_bytes(storage: &Path) -> u64 {
    let output = Command::new("btrfs").args(["filesystem", "df", "--raw"]).arg(storage).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.starts_with("Metadata")).unwrap();
    let (_, total) = line.split_once("total=").unwrap();
    total.split(',').next().unwrap().parse().unwrap()
}

#[test]
fn room_for_metadata_stays_however_much_data_is_written() {
    let temp = tempfile::tempdir().unwrap();
    let data = data_dir(temp.path());
    let pool = open(&data);
    let storage = data.storage();
    assert!(metadata_bytes(storage.as_path()) >= 64 << 20);
    pool_close(&pool.0).unwrap();
    // What is mounted anew loses chunks in which nothing is.
    let pool = open(&data);
    let file = fs::File::create(data.sandboxes().join("big").as_path()).unwrap();
    let piece = 4 << 20;
    let full = (0..)
        .map(|index| rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), index * piece, piece));
    assert!(full.take(512).any(|written| written.is_err()));
    rustix::fs::syncfs(&file).unwrap();
    assert!(metadata_bytes(storage.as_path()) >= 64 << 20);
    for number in 0..1000 {
        fs::write(data.sandboxes().join(number.to_string()).as_path(), "small").unwrap();
    }
    let snapshots = data.snapshots().join("one").to_string();
    run("btrfs", &["subvolume", "create", &snapshots]);
    drop(pool);
}

#[test]
fn a_full_pool_gives_up_its_reserve_for_a_start() {
    let temp = tempfile::tempdir().unwrap();
    let data = data_dir(temp.path());
    let pool = open(&data);
    pool_reserve(&data, &pool.0);
    let reserve = data.storage_reserve();
    assert_eq!(fs::metadata(reserve.as_path()).unwrap().len(), 64 << 20);
    // Room is left: it stays.
    pool_open(&data, options(None)).unwrap();
    assert!(reserve.as_path().exists());
    let big = data.sandboxes().join("big");
    let file = fs::File::create(big.as_path()).unwrap();
    let piece = 4 << 20;
    for index in 0..512 {
        if rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), index * piece, piece).is_err() {
            break;
        }
    }
    drop(file);
    pool_open(&data, options(None)).unwrap();
    assert!(!reserve.as_path().exists());
    fs::write(data.images().join("needed").as_path(), vec![1; 32 << 20]).unwrap();
    fs::remove_file(big.as_path()).unwrap();
    pool_reserve(&data, &pool.0);
}
