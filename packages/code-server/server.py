"""Keeps kernels that run code, and serves them over HTTP to the loopback interface of a sandbox.

POST /execute             runs code; answers with a line of JSON for each thing that it writes
GET  /executions/ID       the lines of an execution from ?after=NUMBER on, and those that follow
GET  /contexts            the contexts: kernels with a language and a directory
POST /contexts            makes one; also DELETE /contexts/ID, POST /contexts/ID/restart
"""

import asyncio
import base64
import collections
import contextlib
import itertools
import json
import os
import re
import signal
import tempfile
import uuid

from jupyter_client.manager import AsyncKernelManager
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, ResponseStartLine

HOST, PORT, HOME = "127.0.0.1", 49999, "/home/user"

MIB = 1024 * 1024
MOST_HEAD, MOST_BODY = MIB // 4, 8 * MIB
MOST_REQUESTS, MOST_CONTEXTS, MOST_EXECUTIONS = 64, 16, 64
MOST_WAITING = 16  # Executions of one context that wait for their turn.
MOST_LINE, MOST_LINES, MOST_ALL_LINES = 8 * MIB, 16 * MIB, 48 * MIB  # Of all: what is over is forgotten.
# Seconds; the grace is between an interrupt and the restart of a kernel that does not heed it.
REQUEST_WITHIN, STARTS_WITHIN, GRACE = 30, 60, 5

LANGUAGES = {"python": "python", "py": "python", "javascript": "javascript", "js": "javascript", "bash": "bash"}
# The short names of MIME types, by their subtypes; text/plain is "text".
SHORT = {"html", "markdown", "latex", "svg", "png", "jpeg", "pdf", "json", "javascript", "data", "chart"}

place = tempfile.mkdtemp(prefix=".code-")

class Refused(Exception):
    """A request that cannot be served, with the status of its answer."""

    def __init__(self, status, words):
        super().__init__(words)
        self.status = status

class Died(Exception):
    """A kernel has ended by itself. The text is its last words."""

class Execution:
    """The lines of one run of code, numbered from 0. A reader that is too slow, or comes late, misses the oldest."""

    def __init__(self):
        self.id = uuid.uuid4().hex
        self.lines = collections.deque()
        self.first = self.bytes = 0
        self.is_over = False
        self.reason = "disconnect"
        self.unwanted = asyncio.Event()
        self.changed = asyncio.Event()

    def emit(self, type, **fields):
        if self.is_over:
            return
        line = json.dumps({"type": type, **fields}, default=str).encode() + b"\n"
        if len(line) > MOST_LINE:
            words = f"[{type} of {len(line)} bytes left out: at most {MOST_LINE} are sent]\n"
            line = json.dumps({"type": "stderr", "text": words}).encode() + b"\n"
        self.lines.append(line)
        self.bytes += len(line)
        while self.bytes > MOST_LINES:
            self.bytes -= len(self.lines.popleft())
            self.first += 1
        self.is_over = type == "end_of_execution"
        self.changed.set()

    def read(self, at):
        """The lines from `at` on, at most a MiB of them, and how many before them are lost."""
        lost = max(0, self.first - at)
        found, size = [], 0
        for line in itertools.islice(self.lines, max(at - self.first, 0), None):
            found.append(line)
            size += len(line)
            if size > MIB:
                break
        return found, lost

class PythonKernel:
    """An IPython kernel over the protocol of Jupyter. Its sockets are files, so that no port is taken."""

    def __init__(self, cwd):
        self.cwd = cwd
        self.environment = {}
        self.words = tempfile.TemporaryFile(dir=place)
        self.manager = AsyncKernelManager(transport="ipc", ip=f"{place}/{uuid.uuid4().hex[:8]}")
        self.manager.connection_file = f"{self.manager.ip}.json"
        self.client = None

    async def start(self):
        options = ["--InteractiveShellApp.extensions=berth_kernel", "--InteractiveShell.colors=NoColor"]
        await self.manager.start_kernel(
            extra_arguments=options, cwd=self.cwd, stdout=self.words, stderr=self.words, stdin=asyncio.subprocess.DEVNULL
        )
        self.client = self.manager.client()
        self.client.start_channels(stdin=False, hb=False, control=False)
        try:
            await self.client.wait_for_ready(timeout=STARTS_WITHIN)
        except RuntimeError as error:
            raise Died(f"{error}\n{self.last_words()}") from error

    async def run(self, execution, code, environment):
        if environment != self.environment:
            await self.send(Execution(), f"__import__('berth_kernel').set_environment({environment!r})", silent=True)
            self.environment = environment
        await self.send(execution, code)

    async def send(self, execution, code, silent=False):
        def hear(message):
            tell(execution, message["msg_type"], message["content"])

        options = {"silent": silent, "store_history": not silent, "allow_stdin": False, "output_hook": hear}
        work = asyncio.create_task(self.client.execute_interactive(code, **options))
        try:
            while not (await asyncio.wait({work}, timeout=0.5))[0]:
                if not await self.manager.is_alive():
                    raise Died(self.last_words())
            await work
        finally:
            work.cancel()

    async def kill(self, number):
        await self.manager.signal_kernel(number)

    async def stop(self):
        if self.client:
            self.client.stop_channels()
        if self.manager.has_kernel:
            await self.kill(signal.SIGKILL)  # Its children too.
            await self.manager.shutdown_kernel(now=True)
        self.words.close()

    def last_words(self):
        return last_words(getattr(getattr(self.manager.provisioner, "process", None), "returncode", None), self.words)

class BashKernel(PythonKernel):
    """Each run is a new bash; only the directory and the files stay."""

    async def run(self, execution, code, environment):
        await super().run(execution, f"get_ipython().run_cell_magic('bash', '', {code!r})", environment)

class NodeKernel:
    """A Node.js process with kernel.mjs, which reads from descriptor 3 and writes lines of JSON to descriptor 4."""

    def __init__(self, cwd):
        self.cwd = cwd
        self.words = tempfile.TemporaryFile(dir=place)

    async def start(self):
        command = f"exec node --no-warnings {os.path.dirname(__file__)}/kernel.mjs 3<&0 4>&1 </dev/null >&2"
        pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE, "stderr": self.words}
        self.process = await asyncio.create_subprocess_shell(
            command, cwd=self.cwd, limit=MOST_LINE, start_new_session=True, **pipes
        )

    async def run(self, execution, code, environment):
        self.process.stdin.write(json.dumps({"code": code, "environment": environment}).encode() + b"\n")
        while True:
            try:
                line = await asyncio.wait_for(self.process.stdout.readline(), 0.5)
            except ValueError:
                execution.emit("stderr", text=f"[a line of more than {MOST_LINE} bytes left out]\n")
                continue
            except TimeoutError:  # What the kernel has started may hold its pipe open.
                if self.process.returncode is None:
                    continue
                line = b""
            if not line:
                await self.ended()
                raise Died(last_words(self.process.returncode, self.words))
            content = json.loads(line)
            type = content.pop("type")
            if type == "idle":
                return
            tell(execution, type, content)

    async def stop(self):
        await self.kill(signal.SIGKILL)
        self.process.stdin.close()
        await self.ended()
        self.words.close()

    async def ended(self):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.process.wait(), 1)

    async def kill(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

KERNELS = {"python": PythonKernel, "javascript": NodeKernel, "bash": BashKernel}

def last_words(code, words):
    """How a process has ended, and the end of what it wrote past its kernel's protocol."""
    words.seek(max(0, words.seek(0, os.SEEK_END) - 2_000))
    how = "ended"
    if code is not None:
        how += f" with exit code {code}" if code >= 0 else f" by signal {-code} ({signal.Signals(-code).name})"
    hint = ": its memory may be full" if code == -signal.SIGKILL else ""
    return f"{how}{hint}\n{words.read().decode(errors='replace')}"

def short(mime):
    name = mime.partition("/")[2].partition("+")[0]
    return "text" if mime == "text/plain" else name if name in SHORT else mime

def tell(execution, type, content):
    """Passes a message of a kernel on as a line."""
    if type == "stream":
        execution.emit(content["name"], text=content["text"])
    elif type in ("execute_result", "display_data"):
        data = {short(mime): value for mime, value in content["data"].items() if "/" in mime}
        text = data.get("text")
        if isinstance(text, str) and len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
            data["text"] = text[1:-1]
        execution.emit("result", is_main_result=type == "execute_result", **data)
    elif type == "error":
        words = "\n".join(content["traceback"])
        execution.emit("error", name=content["ename"], value=content["evalue"], traceback=words)
    elif type == "execute_input":
        execution.emit("number_of_executions", execution_count=content["execution_count"])

class Context:
    """A kernel, started when it is first needed, and again after it has died. Runs one execution at a time."""

    def __init__(self, id, language, cwd):
        self.id, self.language, self.cwd = id, language, cwd
        self.kernel = None
        self.lock = asyncio.Lock()
        self.asked = []
        self.notice = ""

    @property
    def view(self):
        return {"id": self.id, "language": self.language, "cwd": self.cwd}

    async def ready(self):
        if self.kernel is None:
            kernel = KERNELS[self.language](self.cwd)
            try:
                await kernel.start()
            except BaseException:
                await kernel.stop()
                raise
            self.kernel = kernel
        return self.kernel

    async def warm(self):
        async with self.lock:
            await self.ready()

    async def discard(self):
        kernel, self.kernel = self.kernel, None
        if kernel:
            await kernel.stop()

    async def restart(self):
        """Ends the kernel, with what runs and waits."""
        for each in self.asked:
            each.reason = "restart"
            each.unwanted.set()
        async with self.lock:
            await self.discard()
            self.notice = ""

    async def execute(self, execution, code, environment, timeout):
        self.asked.append(execution)
        try:
            async with self.lock:
                await self.run(execution, code, environment, timeout)
        except Died as error:
            execution.emit("error", name="KernelDied", value=f"the kernel {error}".strip(), traceback="")
            execution.emit("restarted", reason="died")
            await self.discard()
        except Exception as error:  # A defect, or no room for a kernel.
            execution.emit("error", name="KernelFailed", value=f"{type(error).__name__}: {error}", traceback="")
            await self.discard()
        finally:
            self.asked.remove(execution)
            execution.emit("end_of_execution")
            trim()

    async def run(self, execution, code, environment, timeout):
        kernel = None if execution.unwanted.is_set() else await self.ready()
        if execution.unwanted.is_set():
            execution.emit("interrupted", reason=execution.reason)
            return
        if self.notice:
            execution.emit("stderr", text=self.notice)
            self.notice = ""
        work = asyncio.create_task(kernel.run(execution, code, environment))
        unwanted = asyncio.create_task(execution.unwanted.wait())
        try:
            await asyncio.wait({work, unwanted}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await self.interrupt(execution, work)
            if not work.cancelled():
                await work
        finally:
            unwanted.cancel()
            work.cancel()

    async def interrupt(self, execution, work):
        """Interrupts the code; restarts a kernel that does not heed it, at once if that is asked for."""
        reason = execution.reason if execution.unwanted.is_set() else "timeout"
        execution.emit("interrupted", reason=reason)
        # Twice: an interrupt just before the code begins is lost.
        for _ in range(0 if reason == "restart" else 2):
            await self.kernel.kill(signal.SIGINT)
            await asyncio.wait({work}, timeout=GRACE / 2)
            if work.done():
                return
        work.cancel()
        await asyncio.wait({work})
        await self.discard()
        words = f"the kernel was restarted ({reason}): its variables are gone"
        execution.emit("error", name="KernelRestarted", value=words, traceback="")
        execution.emit("restarted", reason=reason)
        # Said to the next client, if this one has left.
        self.notice = f"[{words}]\n" if reason == "disconnect" else ""

contexts = {name: Context(name, name, HOME) for name in KERNELS}
executions = {}
running = set()
serving = 0

def trim():
    """Forgets the oldest executions that are over, beyond the bounds."""
    held = sum(each.bytes for each in executions.values())
    for id, each in list(executions.items()):
        if len(executions) <= MOST_EXECUTIONS and held <= MOST_ALL_LINES:
            return
        if each.is_over:
            held -= each.bytes
            del executions[id]

def in_background(work):
    task = asyncio.create_task(work)
    running.add(task)
    task.add_done_callback(running.discard)

def language_of(asked):
    language = LANGUAGES.get(str(asked or "python").lower())
    if language is None:
        raise Refused(404, f"this image has no {str(asked)[:40]}: it runs {', '.join(KERNELS)}")
    return language

def add_context(language, cwd, id=None):
    if len(contexts) >= MOST_CONTEXTS + len(KERNELS):
        raise Refused(429, f"there are {MOST_CONTEXTS} contexts already: remove one")
    if not isinstance(cwd, str) or not os.path.isdir(cwd):
        raise Refused(400, "cwd must be a directory")
    context = Context(id or str(uuid.uuid4()), language, cwd)
    contexts[context.id] = context
    return context

def context_of(body):
    """The context of an execution; `create` makes one that does not exist."""
    id, language = body.get("context_id"), body.get("language")
    if id is None:
        return contexts[language_of(language)]
    if id not in contexts and body.get("create") is True and re.fullmatch(r"[\w-]{1,64}", str(id)):
        return add_context(language_of(language), HOME, id)
    if id not in contexts:
        raise Refused(404, f"there is no context {str(id)[:64]}")
    if language is not None and language_of(language) != contexts[id].language:
        raise Refused(400, f"the context {id} runs {contexts[id].language}")
    return contexts[id]

def variables_of(value):
    value = value or {}
    if not isinstance(value, dict) or not all(isinstance(each, str) and "\0" not in each for each in value.values()):
        raise Refused(400, "env_vars must have string values")
    return value

async def execute(body, environment, connection):
    code, timeout = body.get("code"), body.get("timeout")
    if not isinstance(code, str):
        raise Refused(400, "code must be a string")
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or timeout <= 0):
        raise Refused(400, "timeout must be a number of seconds")
    context = context_of(body)
    if len(context.asked) > MOST_WAITING:
        raise Refused(429, f"{MOST_WAITING} executions wait for this context already")
    environment = {**environment, **variables_of(body.get("env_vars"))}
    if body.get("restart") is True:
        await context.restart()
    execution = Execution()
    executions[execution.id] = execution
    in_background(context.execute(execution, code, environment, timeout))
    try:
        await send_lines(execution, 0, connection)
    finally:
        if body.get("detached") is not True:
            execution.unwanted.set()

async def send_lines(execution, at, connection):
    """Sends the lines from `at` on until the end, or until the client has left."""
    connection.set_close_callback(execution.changed.set)
    head = {"Content-Type": "application/x-ndjson", "X-Execution-Id": execution.id}
    connection.write_headers(ResponseStartLine("HTTP/1.1", 200, "OK"), HTTPHeaders(head))
    while not connection.stream.closed():
        execution.changed.clear()
        found, lost = execution.read(at)
        at += lost + len(found)
        if lost:
            words = f"[{lost} lines lost: they were not read in time]\n"
            found.insert(0, json.dumps({"type": "stderr", "text": words, "lost": lost}).encode() + b"\n")
        if found:
            await connection.write(b"".join(found))
        elif not execution.is_over:
            await execution.changed.wait()
        else:
            return connection.finish()

async def answer(request):
    """The JSON that answers a request, or nothing after lines."""
    variables = variables_of(json.loads(base64.b64decode(request.headers.get("X-Berth-Environment", "") or "e30=")))
    body = json.loads(request.body or "{}")
    if not isinstance(body, dict):
        raise Refused(400, "the body must be an object")
    match request.method, *request.path.strip("/").split("/"):
        case "GET", "health":
            return {"status": "ok"}
        case "POST", "execute":
            return await execute(body, variables, request.connection)
        case "GET", "executions", id if id in executions:
            after = int(request.query_arguments.get("after", [0])[0])
            return await send_lines(executions[id], max(0, after), request.connection)
        case "GET", "contexts":
            return [each.view for each in contexts.values()]
        case "POST", "contexts":
            context = add_context(language_of(body.get("language")), body.get("cwd") or HOME)
            in_background(context.warm())
            return context.view
        case "DELETE", "contexts", id if id in contexts:
            # A default context is there as soon as it is used again.
            await (contexts[id] if id in KERNELS else contexts.pop(id)).restart()
            return {}
        case "POST", "contexts", id, "restart" if id in contexts:
            await contexts[id].restart()
            return contexts[id].view
    raise Refused(404, f"there is no {request.method} {request.path[:200]}")

async def serve(request):
    global serving
    serving += 1
    status, type = 200, "application/json"
    try:
        if serving > MOST_REQUESTS:
            raise Refused(429, "too many connections")
        said = await answer(request)
        body = None if said is None else json.dumps(said)
    except Refused as error:
        status, type, body = error.status, "text/plain", str(error)
    except ValueError:
        status, type, body = 400, "text/plain", "the request is malformed"
    except OSError:
        body = None  # The client has left.
    finally:
        serving -= 1
    if body is not None:
        head = HTTPHeaders({"Content-Type": type, "Content-Length": str(len(body.encode()))})
        request.connection.write_headers(ResponseStartLine("HTTP/1.1", status, "Answered"), head, body.encode())
        request.connection.finish()

async def main():
    bounds = {"max_header_size": MOST_HEAD, "max_body_size": MOST_BODY, "idle_connection_timeout": REQUEST_WITHIN}
    server = HTTPServer(lambda request: in_background(serve(request)), no_keep_alive=True, body_timeout=REQUEST_WITHIN, **bounds)
    server.listen(PORT, HOST)
    # A new sandbox has its first kernel before it is needed.
    in_background(contexts["python"].warm())
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    await over.wait()
    server.stop()
    await asyncio.gather(*(each.discard() for each in contexts.values()), return_exceptions=True)

if __name__ == "__main__":
    asyncio.run(main())
