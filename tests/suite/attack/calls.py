"""System calls by name, and attempts that say what came of them."""

import ctypes
import errno
import os
import platform
import socket
import subprocess

libc = ctypes.CDLL(None, use_errno=True)

# Numbers of unistd.h: x86-64, then the generic table that arm64 has.
NUMBERS = {
    "getpid": (39, 172), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "setns": (308, 268),
    "unshare": (272, 97), "clone": (56, 220), "clone3": (435, 435), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "sethostname": (170, 161), "setdomainname": (171, 162),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "mknodat": (259, 33),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "open_by_handle_at": (304, 265), "swapon": (167, 224), "swapoff": (168, 225), "reboot": (169, 142),
    "acct": (163, 89), "quotactl": (179, 60), "syslog": (103, 116), "fsopen": (430, 430), "fsmount": (432, 432),
    "open_tree": (428, 428), "move_mount": (429, 429), "mount_setattr": (442, 442), "kcmp": (312, 272),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "vhangup": (153, 58), "fanotify_init": (300, 262),
    "clock_gettime": (228, 113), "adjtimex": (159, 171), "io_setup": (206, 0), "socket": (41, 198),
}
COLUMN = 0 if platform.machine() == "x86_64" else 1


def report(name, outcome):
    print(name, outcome, sep="\t", flush=True)


def call(name, *arguments, label=None):
    """Makes a system call and reports `ok` or the error's name."""
    ctypes.set_errno(0)
    words = [ctypes.c_long(it) if isinstance(it, int) else it for it in arguments]
    result = libc.syscall(NUMBERS[name][COLUMN], *words)
    number = ctypes.get_errno()
    report(label or name, "ok" if result != -1 else errno.errorcode[number])
    return result


def attempt(name, action):
    """Calls `action` and reports `ok` with what it returned, or the error's name."""
    try:
        result = action()
    except socket.timeout:
        report(name, "TIMEOUT")
    except OSError as error:
        report(name, errno.errorcode.get(error.errno, str(error)))
    else:
        report(name, "ok" if result is None else "ok " + str(result).replace("\n", " "))


def read(path):
    with open(path, "rb") as file:
        return len(file.read(4096))


def write(path, data=b"1", flags=os.O_WRONLY):
    descriptor = os.open(path, flags)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def control():
    """What every program may do: shows that calls and reports work."""
    call("getpid", label="control getpid")
