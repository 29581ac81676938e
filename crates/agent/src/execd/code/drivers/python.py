"""Python contexts, seen from inside. This process is the template: it has loaded what most code needs, and forks for
each context. It talks to the agent over descriptor 3, and each context over one of its own: a line of JSON per message.
"""
import ast, asyncio, base64, builtins, collections, ctypes, datetime, fcntl, functools, gc, importlib.abc, importlib.util, inspect, io
import itertools, json, linecache, math, os, pathlib, random, re, resource, shutil, signal, socket, subprocess, sys
import tempfile, textwrap, threading, time, traceback, types, typing, urllib.parse, uuid, warnings
import __future__

RLIMIT_LOCKS = 10
PR_SET_PDEATHSIG = 1
PRIVATE_FD_MIN = 200
MESSAGE_BYTES_MAX = 48 << 20
JSON_DEPTH_MAX = 100
CELL = "<cell {}>"
INPUT_REFUSED = "standard input is not available here: code in a context can not ask for input"
REPRESENTATIONS = {
    "_repr_html_": "text/html", "_repr_markdown_": "text/markdown", "_repr_svg_": "image/svg+xml",
    "_repr_png_": "image/png", "_repr_jpeg_": "image/jpeg", "_repr_latex_": "text/latex",
    "_repr_json_": "application/json", "_repr_javascript_": "application/javascript", "_repr_pdf_": "application/pdf",
}
FUTURES = functools.reduce(lambda all, name: all | getattr(__future__, name).compiler_flag, __future__.all_feature_names, 0)


class NoInput(io.TextIOWrapper):
    """Standard input: what a program starts inherits an empty one, what reads it itself is told that there is none."""

    def _refuse(self, *_):
        raise EOFError(INPUT_REFUSED)

    read = readline = readlines = __next__ = _refuse


def input_refuse(prompt="", /):
    raise EOFError(INPUT_REFUSED)


def is_cell(name):
    return name.startswith(CELL.partition("{")[0])


class Context:
    def __init__(self, control):
        self.control = control
        self.incoming = control.makefile("rb")
        self.pid = os.getpid()
        self.lock = threading.RLock()
        self.running = False  # User code runs: an interrupt is raised in it.
        self.shielded = False  # It is in the middle of a message: an interrupt waits.
        self.pending = False
        self.count = 0
        self.futures = 0
        self.loop = None
        self.shown = set()
        self.module = types.ModuleType("__main__")
        self.module.__dict__.update(__builtins__=builtins, _=None)
        sys.modules["__main__"] = self.module
        builtins.display = self.display
        builtins.input = input_refuse
        sys.stdin = sys.__stdin__ = NoInput(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(
                encoding="utf-8", errors="backslashreplace", line_buffering=True, write_through=False
            )
        sys.argv = [""]
        sys.meta_path.insert(0, Hooks({
            "matplotlib": self.matplotlib_prepare,
            "matplotlib.pyplot": self.pyplot_prepare,
            "IPython.core.display_functions": self.ipython_prepare,
        }))
        signal.signal(signal.SIGINT, self.interrupted)
        os.register_at_fork(after_in_child=self.forked)

    def forked(self):
        """A child that user code forked is not the context."""
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.running = False
        os.close(self.control.detach())

    def interrupted(self, _signal, _frame):
        if self.shielded:
            self.pending = True
        elif self.running:
            raise KeyboardInterrupt

    # Messages.

    def send(self, message):
        line = json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")
        if len(line) > MESSAGE_BYTES_MAX:
            warnings.warn(f"a result of {len(line)} bytes is left out: {MESSAGE_BYTES_MAX} are the most")
            return False
        self.control.sendall(line + b"\n")
        return True

    def show(self, bundle):
        """Has a result shown now: after what was written before, before what is written later."""
        with self.lock:
            if not self.running or os.getpid() != self.pid:
                print(bundle.get("text", bundle))
                return
            self.shielded = True
            try:
                self.flush()
                if self.send({"type": "display", "data": bundle}):
                    self.incoming.readline()
            finally:
                self.shielded = False
        if self.pending and threading.current_thread() is threading.main_thread():
            self.pending = False
            raise KeyboardInterrupt

    def flush(self):
        for stream in {sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__}:
            try:
                stream.flush()
            except Exception:
                pass

    # Results.

    def bundle(self, value):
        data = {}
        figure = getattr(sys.modules.get("matplotlib.figure"), "Figure", None)
        if figure and isinstance(value, figure):
            data["image/png"] = self.figure_draw(value)
        given = self.representation(value, "_repr_mimebundle_")
        if isinstance(given, tuple):
            given = given[0]
        for method, kind in REPRESENTATIONS.items():
            if (found := self.representation(value, method)) is not None:
                data.setdefault(kind, found[0] if isinstance(found, tuple) else found)
        data.update(given or {})
        data.setdefault("text/plain", repr(value))
        return clean(data)

    def representation(self, value, method):
        if isinstance(value, type) or not callable(call := getattr(value, method, None)):
            return None
        try:
            return call(include=None, exclude=None) if method == "_repr_mimebundle_" else call()
        except NotImplementedError:
            return None
        except Exception:
            traceback.print_exc()
            return None

    def display(self, *values, raw=False, **_):
        """Shows values in all forms that they offer; with `raw`, dictionaries of forms."""
        for value in values:
            self.show(clean(dict(value)) if raw else self.bundle(value))

    # What other modules need of it.

    def matplotlib_prepare(self, matplotlib):
        if "MPLBACKEND" not in os.environ:
            matplotlib.use("agg")

    def pyplot_prepare(self, pyplot):
        own_show = pyplot.show

        def show(*args, **kwargs):
            if pyplot.get_backend().lower() != "agg":
                return own_show(*args, **kwargs)
            self.figures_show()

        pyplot.show = show

    def figure_draw(self, figure):
        self.shown.add(id(figure))
        out = io.BytesIO()
        figure.savefig(out, format="png", bbox_inches="tight")
        return out.getvalue()

    def figures_show(self):
        """Shows the figures that are open, and closes them."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None or not pyplot.get_fignums() or pyplot.get_backend().lower() != "agg":
            return
        for figure in map(pyplot.figure, pyplot.get_fignums()):
            if id(figure) not in self.shown:
                self.show(clean({"image/png": self.figure_draw(figure), "text/plain": repr(figure)}))
        self.shown.clear()
        pyplot.close("all")

    def ipython_prepare(self, functions):
        functions.display = self.display
        functions.publish_display_data = lambda data, *_, **__: self.show(clean(dict(data)))
        functions.clear_output = lambda *_, **__: None

    # Running.

    def serve(self):
        while line := self.incoming.readline():
            message = json.loads(line)
            if message["type"] != "run":
                continue
            done = {"type": "done"}
            try:
                try:
                    self.begin()
                    result = self.run(message["code"])
                    self.running = False
                    if result is not None:
                        done["data"] = result
                except BaseException as error:
                    self.running = False
                    done["error"] = describe(error)
            except KeyboardInterrupt as error:
                # It came while another error was described.
                self.running = False
                done["error"] = describe(error)
            if os.getpid() != self.pid:
                os._exit(0)
            self.running = False
            with self.lock:
                self.pending = False
                self.flush()
                if not self.send(done):
                    self.send({"type": "done"})
        os._exit(0)

    def begin(self):
        """From now on the agent may interrupt."""
        self.shielded = self.running = True
        self.send({"type": "begun"})
        self.shielded = False
        if self.pending:
            self.pending = False
            raise KeyboardInterrupt

    def run(self, code):
        self.count += 1
        name = CELL.format(self.count)
        linecache.cache[name] = (len(code), None, code.splitlines(True), name)
        flags = self.futures | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        tree = compile(code, name, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
        last = None
        if tree.body and isinstance(tree.body[-1], ast.Expr) and not code.rstrip().endswith(";"):
            last = ast.Expression(tree.body.pop().value)
        try:
            if tree.body:
                self.execute(compile(tree, name, "exec", flags, dont_inherit=True))
            if last is None:
                return None
            value = self.execute(compile(last, name, "eval", flags, dont_inherit=True))
            if value is None:
                return None
            self.module._ = value
            return self.bundle(value)
        finally:
            self.figures_show()

    def execute(self, compiled):
        self.futures |= compiled.co_flags & FUTURES
        result = eval(compiled, self.module.__dict__)
        if not compiled.co_flags & inspect.CO_COROUTINE:
            return result
        if self.loop is None or self.loop.is_closed():
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
        task = self.loop.create_task(result)
        try:
            return self.loop.run_until_complete(task)
        except KeyboardInterrupt:
            task.cancel()
            raise


class Hooks(importlib.abc.MetaPathFinder):
    """Prepares modules when they have just been loaded."""

    def __init__(self, prepare):
        self.prepare = prepare

    def find_spec(self, name, path, target=None):
        prepare = self.prepare.pop(name, None)
        spec = prepare and importlib.util.find_spec(name)
        if not spec or not spec.loader:
            return None
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            prepare(module)

        spec.loader.exec_module = exec_module
        return spec


def depth_of(value):
    below = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return 1 + max(map(depth_of, below), default=0)


def clean(data):
    """A bundle as JSON can have it, `text/plain` called `text`."""
    out = {}
    for kind, value in data.items():
        if isinstance(value, (bytes, bytearray)):
            value = base64.b64encode(value).decode()
        elif kind.endswith("json"):
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError, RecursionError):
                continue
            if depth_of(value) > JSON_DEPTH_MAX:
                continue
        elif not isinstance(value, str):
            value = str(value)
        out["text" if kind == "text/plain" else kind] = value
    return out


def describe(error):
    """An error as the language shows it, without what lies outside of the user's code."""
    trace = error.__traceback__
    while trace and not is_cell(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    at = trace
    while at and at.tb_next:
        if at.tb_next.tb_frame.f_globals is globals():
            at.tb_next = at.tb_next.tb_next
        else:
            at = at.tb_next
    try:
        text = str(error)
    except Exception:
        text = "<its text can not be made>"
    try:
        lines = "".join(traceback.format_exception(type(error), error, trace)).rstrip("\n").split("\n")
    except Exception:
        lines = [f"{type(error).__name__}: {text}"]
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, trace
    return {"ename": type(error).__name__, "evalue": text, "traceback": lines}


prctl = ctypes.CDLL(None, use_errno=True).prctl


def context_become(request, fds, middle):
    """The forked process becomes a context with these two streams and this connection."""
    os.setsid()
    os.dup2(fds[0], 1)
    os.dup2(fds[1], 2)
    try:
        resource.setrlimit(RLIMIT_LOCKS, (request["mark"], request["mark"]))
    except (OSError, ValueError):
        pass
    name, _, value = request["variable"].partition("=")
    os.environ[name] = value
    control = socket.socket(fileno=fcntl.fcntl(fds[2], fcntl.F_DUPFD_CLOEXEC, PRIVATE_FD_MIN))
    for fd in fds:
        os.close(fd)
    gc.unfreeze()
    # Code that computes would not see that the agent is gone. The kernel does, from when the agent is the parent.
    while os.getppid() == middle:
        os.sched_yield()
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return Context(control)


def context_fork():
    """Forks twice, so that the context is nobody's child but the agent's. Its number here, and 0; in the context 0, and
    the number of the process between."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        middle = os.getpid()
        try:
            grandchild = os.fork()
        except OSError:
            os._exit(1)
        if not grandchild:
            os.close(read_end)
            os.close(write_end)
            return 0, middle
        os.write(write_end, b"%d" % grandchild)
        os._exit(0)
    os.close(write_end)
    os.waitpid(child, 0)
    number = os.read(read_end, 32)
    os.close(read_end)
    return int(number or 0), 0


def template_serve():
    agent = socket.socket(fileno=3)
    agent.set_inheritable(False)
    # Once, so that no context has to: how a traceback is made, how code is compiled.
    try:
        eval(compile("1/0", "<cell 0>", "eval"))
    except ZeroDivisionError as error:
        describe(error)
    asyncio.new_event_loop().close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    while True:
        line, fds, _, _ = socket.recv_fds(agent, 1 << 16, 3)
        if not line:
            os._exit(0)
        request = json.loads(line)
        try:
            pid, middle = context_fork()
        except OSError:
            pid, middle = 0, 0
        if middle:
            agent.close()
            return context_become(request, fds, middle)
        for fd in fds:
            os.close(fd)
        agent.sendall(b'{"type":"forked","pid":%d}\n' % pid)


template_serve().serve()
