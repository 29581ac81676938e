"""Contexts of a language for which the image brings a Jupyter kernel: starts the kernel and passes on what it says.

The first word is the language. Talks to the agent over descriptor 3, a line of JSON per message; also what the kernel
writes goes that way, in the order in which it comes.
"""
import json, os, queue, signal, socket, subprocess, sys

LIFE_CHECK_SECONDS = 0.5

agent = socket.socket(fileno=os.dup(3))
os.close(3)
incoming = agent.makefile("rb")


def send(**message):
    agent.sendall(json.dumps(message, ensure_ascii=False).encode("utf-8", "replace") + b"\n")


def refuse(reason):
    send(type="refused", message=reason)
    os._exit(0)


def kernel_find(language):
    try:
        from jupyter_client.kernelspec import KernelSpecManager
    except ImportError:
        refuse("there is no jupyter_client for this python3")
    specs = KernelSpecManager().get_all_specs()
    for name, spec in specs.items():
        if language in (name, spec["spec"].get("language", "").lower()):
            return name
    refuse(f"no Jupyter kernel has it (there are {', '.join(sorted(specs)) or 'none'})")


def forms(data):
    return {("text" if kind == "text/plain" else kind): value for kind, value in data.items()}


def next_message(manager, client):
    while True:
        try:
            return client.get_iopub_msg(timeout=LIFE_CHECK_SECONDS)
        except queue.Empty:
            if not manager.is_alive():
                # Without its kernel there is no context.
                os._exit(1)


def run(manager, client, code):
    """Runs code and passes on what comes, until the kernel has told the end of it both ways."""
    wanted = client.execute(code, allow_stdin=False, store_history=True)
    send(type="begun")
    error = None
    while True:
        message = next_message(manager, client)
        if message["parent_header"].get("msg_id") != wanted:
            continue
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            send(type="written", stream=content["name"], text=content["text"])
        elif kind in ("display_data", "execute_result"):
            send(type="display", data=forms(content["data"]))
            incoming.readline()
        elif kind == "error":
            error = {name: content[name] for name in ("ename", "evalue", "traceback")}
        elif kind == "status" and content["execution_state"] == "idle":
            break
    send(type="done", **({"error": error} if error else {}))


def main(language):
    name = kernel_find(language)
    from jupyter_client.manager import KernelManager

    manager = KernelManager(kernel_name=name)
    try:
        # What a kernel writes there itself is no output of code; some write that as well, once more.
        manager.start_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        client = manager.client()
        client.start_channels()
        client.wait_for_ready(timeout=120)
    except Exception as error:
        refuse(f"its Jupyter kernel {name} does not start: {error}")

    def interrupted(_signal, _frame):
        # The kernel has got the signal as well, which is not how all of them want to be told.
        if manager.kernel_spec.interrupt_mode == "message":
            manager.interrupt_kernel()

    signal.signal(signal.SIGINT, interrupted)
    send(type="ready")
    while line := incoming.readline():
        message = json.loads(line)
        if message["type"] == "run":
            run(manager, client, message["code"])
    manager.shutdown_kernel(now=True)


main(sys.argv[1])
