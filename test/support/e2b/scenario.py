"""What E2B's Python SDK can do with a sandbox of Berth, each thing once; recorded by record-requests.mjs."""

import asyncio
import io
import time

from e2b import (
    AsyncSandbox,
    CommandExitException,
    FileNotFoundException,
    FilesystemEventType,
    NotFoundException,
    PtySize,
    Sandbox,
    SandboxQuery,
    TimeoutException,
)


def control(sandbox):
    info = sandbox.get_info()
    assert (info.metadata, info.state.value) == ({"job": "one"}, "running") and info.end_at > info.started_at
    pages = Sandbox.list(query=SandboxQuery(metadata={"job": "one"}), limit=1)
    assert [each.sandbox_id for each in pages.next_items()] == [sandbox.sandbox_id] and not pages.has_next
    sandbox.set_timeout(120)
    assert sandbox.is_running() and sandbox.get_metrics()[-1].cpu_count > 0
    assert sandbox.pause() and not sandbox.pause() and not sandbox.is_running()
    assert sandbox.connect(timeout=60).commands.run("echo $JOB").stdout == "1\n"
    sandbox.update_network({"deny_out": ["0.0.0.0/0"]})
    snapshot = sandbox.create_snapshot(name="python")
    assert [each.snapshot_id for each in sandbox.list_snapshots().next_items()] == [snapshot.snapshot_id]
    copies = [Sandbox.create(snapshot.snapshot_id, secure=True), *sandbox.fork(timeout=60)]
    assert [each.kill() for each in copies] == [True, True]
    assert Sandbox.delete_snapshot(snapshot.snapshot_id) and not Sandbox.delete_snapshot(snapshot.snapshot_id)


def commands(sandbox):
    done = sandbox.commands.run("echo out; echo err >&2; echo $A; pwd", envs={"A": "b"}, cwd="/tmp", timeout=10)
    assert (done.stdout, done.stderr, done.exit_code) == ("out\nb\n/tmp\n", "err\n", 0)
    sandbox.files.make_dir("work")
    assert sandbox.commands.run("pwd", cwd="work").stdout == "/home/user/work\n"
    try:
        raise AssertionError(sandbox.commands.run("exit 3", user="root"))
    except CommandExitException as failed:
        assert failed.exit_code == 3
    cat = sandbox.commands.run("cat", background=True, stdin=True, timeout=0)
    again = sandbox.commands.connect(cat.pid)
    sandbox.commands.send_stdin(cat.pid, "typed\n")
    assert [each.cmd for each in sandbox.commands.list() if each.pid == cat.pid]
    again.close_stdin()
    assert again.wait().stdout == cat.wait().stdout == "typed\n"
    sleep = sandbox.commands.run("sleep 60", background=True)
    assert sleep.kill() and not sandbox.commands.kill(sleep.pid)
    sleep.disconnect()
    shell = sandbox.pty.create(PtySize(rows=24, cols=80), envs={"A": "b"}, cwd="/tmp", timeout=10)
    sandbox.pty.resize(shell.pid, PtySize(rows=30, cols=100))
    sandbox.pty.send_stdin(shell.pid, b"exit\n")
    assert shell.wait().exit_code == 0
    killed = sandbox.pty.create(PtySize(rows=24, cols=80))
    assert sandbox.pty.connect(killed.pid).kill()


def files(sandbox):
    assert sandbox.files.write("a.txt", "one").path == "/home/user/a.txt"
    sandbox.files.write("b.bin", io.BytesIO(b"\0two"), user="root")
    sandbox.files.write("c.txt", "packed", gzip=True)
    assert len(sandbox.files.write_files([{"path": f"d/{name}", "data": name} for name in "xy"])) == 2
    assert sandbox.files.read("a.txt") == "one" and sandbox.files.read("/root/b.bin", format="bytes") == b"\0two"
    assert b"".join(sandbox.files.read("c.txt", format="stream")) == b"packed"
    assert [each.path for each in sandbox.files.list("d", depth=2)] == ["/home/user/d/x", "/home/user/d/y"]
    assert sandbox.files.get_info("a.txt").size == 3 and not sandbox.files.exists("none")
    assert sandbox.files.rename("a.txt", "d/z").name == "z" and not sandbox.files.make_dir("d")
    try:
        raise AssertionError(sandbox.files.read("a.txt"))
    except FileNotFoundException:
        watch = sandbox.files.watch_dir("d", recursive=True, include_entry=True)
    sandbox.files.remove("d/z")
    time.sleep(1)
    assert FilesystemEventType.REMOVE in [each.type for each in watch.get_new_events()]
    watch.stop()


async def asynchronous():
    async with await AsyncSandbox.create(timeout=60, envs={"JOB": "2"}) as sandbox:
        seen = asyncio.Event()
        await sandbox.files.make_dir("w")
        watch = await sandbox.files.watch_dir("w", lambda event: seen.set())
        await sandbox.files.write("w/new", "streamed")
        await asyncio.wait_for(seen.wait(), 10)
        await watch.stop()
        stream = await sandbox.files.read("w/new", format="stream")
        assert b"".join([part async for part in stream]) == b"streamed"
        cat = await sandbox.commands.run("cat", background=True, stdin=True)
        await cat.send_stdin("x")
        await cat.close_stdin()
        assert (await cat.wait()).stdout == "x"
        shell = await sandbox.pty.create(PtySize(rows=24, cols=80), lambda data: None)
        assert await sandbox.pty.kill(shell.pid)


def main():
    sandbox = Sandbox.create(timeout=60, metadata={"job": "one"}, envs={"JOB": "1"})
    for part in (control, commands, files):
        part(sandbox)
    sleep = sandbox.commands.run("sleep 60", background=True)
    assert sandbox.kill() and not sandbox.kill() and not sandbox.is_running()
    for gone, error in ((sleep.wait, TimeoutException), (sandbox.get_info, NotFoundException)):
        try:
            raise AssertionError(gone())
        except error:
            pass
    asyncio.run(asynchronous())


main()
