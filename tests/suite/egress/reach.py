"""What a program in a sandbox reaches: an address that greets, or an error's name."""
import errno, socket, struct, sys


def outcome(attempt):
    try:
        return attempt() or "ok"
    except socket.gaierror:
        return "no such name"
    except TimeoutError:
        return "nothing"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


def report(name, attempt):
    print(name, outcome(attempt), sep="\t", flush=True)


def greeted(address):
    with socket.create_connection((address, 80), timeout=5) as server:
        return server.recv(64).decode().strip()


def echoed(address, protocol=0, data=b"x", port=7, times=20):
    """Sends until there is an answer: the kernel says no more than once a second that something is refused."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, protocol) as client:
        client.settimeout(0.5)
        client.connect((address, port))
        for left in reversed(range(times)):
            client.send(data)
            try:
                client.recv(64)
                return
            except TimeoutError:
                if not left:
                    raise


def pinged(address):
    echoed(address, protocol=socket.IPPROTO_ICMP, data=struct.pack(">BBHHH", 8, 0, 0, 0, 1) + b"ping")


def resolved(name):
    return socket.gethostbyname(name)


def asked(server, name, kind=1, connection=False):
    """The addresses, or the code, of an answer that was asked for without the system's resolver."""
    parts = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    question = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + parts + struct.pack(">BHH", 0, kind, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if connection else socket.SOCK_DGRAM) as client:
        client.settimeout(8)
        client.connect((server, 53))
        if connection:
            client.sendall(struct.pack(">H", len(question)) + question)
            with client.makefile("rb") as stream:
                answer = stream.read(struct.unpack(">H", stream.read(2))[0])
        else:
            client.send(question)
            answer = client.recv(4096)
    if answer[3] & 15:
        return f"code {answer[3] & 15}"
    if answer[2] & 2:
        return "cut short"
    if kind != 1:
        return f"{struct.unpack('>H', answer[6:8])[0]} records"
    found = [answer[at + 4:at + 8] for at in range(len(question), len(answer) - 7) if answer[at:at + 4] == b"\x00\x05\x00\x04"]
    return " ".join(socket.inet_ntoa(address) for address in found)
