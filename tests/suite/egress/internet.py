"""Servers of a small internet, in a network namespace: names, greetings, echoes."""
import json, socket, struct, sys, threading

net, folder = sys.argv[1:3]
own = net + ".53"
foreign = net + ".54"


def zone():
    with open(folder + "/zone.json") as file:
        return json.load(file)


def encode(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part) + b"\0"


def decode(message, at):
    parts = []
    while message[at]:
        parts.append(message[at + 1:at + 1 + message[at]].decode())
        at += 1 + message[at]
    return ".".join(parts).lower(), at + 1


def record(name, kind, ttl, data):
    return encode(name) + struct.pack(">HHIH", kind, 1, ttl, len(data)) + data


def answer(question, server, is_datagram):
    name, end = decode(question, 12)
    kind = struct.unpack(">H", question[end:end + 2])[0]
    with open(folder + "/asked", "a") as log:
        log.write(f"{server} {name}\n")
    records, code, asked = [], 0, name
    if server == foreign:
        records.append(record(name, 1, 60, socket.inet_aton(net + ".40")))
    elif asked not in zone():
        code = 3
    else:
        while isinstance(target := zone().get(asked), str):
            records.append(record(asked, 5, 60, encode(target)))
            asked = target
        if kind == 1:
            records += [record(asked, 1, 5, socket.inet_aton(f"{net}.{last}")) for last in target or []]
        if kind == 16:
            records += [record(asked, 16, 60, b"\xc8" + b"x" * 200) for _ in range(20)]
    flags = 0x8180 | code
    if is_datagram and sum(map(len, records)) > 1000:
        flags, records = flags | 0x200, []
    header = question[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0)
    return header + question[12:end + 4] + b"".join(records)


def names_datagrams(server):
    door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    door.bind((server, 53))
    doors.append(door)
    while True:
        question, sender = door.recvfrom(2048)
        door.sendto(answer(question, server, True), sender)


def names_connections(server):
    def serve(client):
        length = struct.unpack(">H", client.recv(2))[0]
        said = answer(client.recv(length), server, False)
        client.sendall(struct.pack(">H", len(said)) + said)
        client.recv(1)
    accept(socket.create_server((server, 53)), serve)


def accept(listener, serve):
    doors.append(listener)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=guarded, args=(serve, client), daemon=True).start()


def guarded(serve, client):
    with client:
        try:
            serve(client)
        except OSError:
            pass


def greet(client):
    """Tells who was reached, then echoes."""
    client.sendall(client.getsockname()[0].encode() + b"\n")
    while data := client.recv(1024):
        client.sendall(data)


def echo(address):
    door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    door.bind((address, 7))
    doors.append(door)
    while True:
        data, sender = door.recvfrom(2048)
        door.sendto(data, sender)


doors = []
starts = [(names_datagrams, own), (names_connections, own), (names_datagrams, foreign), (names_connections, foreign)]
starts += [(echo, f"{net}.{last}") for last in range(10, 50)]
for target, address in starts:
    threading.Thread(target=target, args=(address,), daemon=True).start()
threading.Thread(target=accept, args=(socket.create_server(("0.0.0.0", 80), backlog=512), greet), daemon=True).start()
while len(doors) < len(starts) + 1:
    threading.Event().wait(0.01)
open(folder + "/up", "w").close()
threading.Event().wait()
