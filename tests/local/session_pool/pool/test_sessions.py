"""The life of a session: from the first call to its cooldown."""

import asyncio
import os
import re
import signal
from pathlib import Path

import pytest

from local.session_pool import PoolOptions
from tests.local.session_pool.conftest import OpenPool
from tests.support.pool_client import UNTIL_GO, PoolClient

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def guid_of(client: PoolClient) -> str:
    body = {"code": "1", "codeInputType": "Inline", "executionType": "Synchronous"}
    response = await client.request("POST", "executions", json=body)
    return response.headers["x-ms-session-guid"]


async def test_the_first_call_allocates_and_later_ones_reuse(session: PoolClient) -> None:
    assert (await session.request("GET", "session")).status_code == 400
    first = await guid_of(session)
    assert await guid_of(session) == first
    assert await guid_of(session.of()) != first


async def test_many_first_calls_at_once_share_one_session(session: PoolClient) -> None:
    guids = await asyncio.gather(*(guid_of(session) for _ in range(5)))
    assert len(set(guids)) == 1


async def test_a_session_describes_itself(session: PoolClient) -> None:
    guid = await guid_of(session)
    described = (await session.request("GET", "session")).json()
    assert described["identifier"] == session.identifier
    assert described["etag"] == f'"{guid}"'
    assert described["createdAt"] <= described["lastAccessedAt"] < described["expireAt"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", described["expireAt"])


async def test_after_the_cooldown_the_identifier_gets_an_empty_session(
    session: PoolClient,
) -> None:
    await session.upload("a.txt", b"a")
    guid = await guid_of(session)
    session.pool.clock.advance(301)
    assert (await session.request("GET", "session")).status_code == 400
    assert await session.names() == []
    assert (await session.request("GET", "files/a.txt/content")).status_code == 404
    assert await guid_of(session) != guid


async def test_any_request_starts_the_cooldown_anew(session: PoolClient) -> None:
    guid = await guid_of(session)
    for _ in range(3):
        session.pool.clock.advance(200)
        assert (await session.request("GET", "files")).status_code == 200
    assert await guid_of(session) == guid


async def test_a_session_does_not_expire_while_it_executes(session: PoolClient) -> None:
    running = await session.begin(UNTIL_GO)
    session.pool.clock.advance(1000)
    await session.of().result("1")  # another call has the pool look for expired sessions
    await session.upload("go", b"")
    assert (await running).json()["result"]["executionResult"] is True


async def test_a_deleted_session_is_gone_at_once(session: PoolClient) -> None:
    guid = await guid_of(session)
    assert (await session.request("DELETE", "session")).status_code == 204
    gone = await session.request("DELETE", "session")
    assert gone.json()["error"]["code"] == "SessionWithIdentifierNotFound"
    assert await guid_of(session) != guid


async def test_deleting_a_session_ends_what_it_executes(session: PoolClient) -> None:
    running = await session.begin("while True: pass")
    assert (await session.request("DELETE", "session")).status_code == 204
    async with asyncio.timeout(20):
        response = await running
    assert response.json()["error"]["code"] == "SessionWithIdentifierNotFound"


async def test_a_full_pool_answers_429_until_a_session_ends(open_pool: OpenPool) -> None:
    async with open_pool(PoolOptions(max_sessions=2, preload=(), ready_sessions=1)) as first:
        second, third = first.of(), first.of()
        await first.result("1")
        await second.result("1")
        body = {"code": "1"}
        refused = await third.request("POST", "executions", json=body)
        assert refused.status_code == 429
        assert refused.json()["error"]["message"] == (
            f"Error happened when allocating pod for identifier {third.identifier}"
            " in pool pool-local"
        )
        await first.request("DELETE", "session")
        assert (await third.request("POST", "executions", json=body)).status_code == 200
        first.pool.clock.advance(301)
        assert (await first.request("POST", "executions", json=body)).status_code == 200


async def test_sessions_are_listed_in_pages(open_pool: OpenPool) -> None:
    async with open_pool(PoolOptions(preload=())) as client:
        other = client.of()
        await client.result("1")
        await other.result("1")
        listed = (await client.request("GET", "listSessions")).json()
        found = [entry["identifier"] for entry in listed["sessions"]]
        assert found == [client.identifier, other.identifier]
        rest = (await client.request("GET", "listSessions", params={"skip": "1"})).json()
        assert [entry["identifier"] for entry in rest["sessions"]] == [other.identifier]


async def test_a_lost_session_comes_back_empty_under_another_guid(session: PoolClient) -> None:
    await session.upload("a.txt", b"a")
    guid = await guid_of(session)
    session.pool.faults.lose_sessions(session.identifier)
    assert await guid_of(session) != guid
    assert await session.names() == []


async def test_metadata_tells_packages_and_how_kernels_run(session: PoolClient) -> None:
    metadata = (await session.request("GET", "metadata")).json()
    packages = {entry["name"].lower() for entry in metadata["preInstalledPackages"]}
    assert {"numpy", "pandas", "matplotlib", "ipython"} <= packages
    assert "fork server" in metadata["jupyterKernel"]["description"]


async def test_a_fork_server_that_dies_is_started_again(open_pool: OpenPool) -> None:
    async with open_pool(PoolOptions(preload=(), ready_sessions=0)) as client:
        await client.upload("kept.txt", b"kept")
        running = await client.begin("import time; time.sleep(30)")
        os.kill(newest_child(), signal.SIGKILL)
        answer = (await running).json()
        assert answer["result"]["stderr"].startswith("Kernel restarted")
        read = await client.result("open('/mnt/data/kept.txt').read()")
        assert read["executionResult"] == "kept"
        assert (await client.of().result("6 * 7"))["executionResult"] == 42


def newest_child() -> int:
    """The process that was started last by this one; its number may be a small one again."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            status = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        fields = status.rpartition(")")[2].split()
        if int(fields[1]) == os.getpid():
            # https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html: starttime
            found.append((int(fields[19]), int(pid)))
    return max(found)[1]


async def test_a_pool_without_a_fork_server_says_so_and_works(open_pool: OpenPool) -> None:
    async with open_pool(PoolOptions(fork_server=False, ready_sessions=1)) as client:
        assert client.pool.kernels.startswith("plain")
        assert (await client.result("6 * 7"))["executionResult"] == 42
        await client.upload("a.txt", b"a")
        read = await client.result("import os; (open('/mnt/data/a.txt').read(), os.getpid() < 10)")
        assert read["executionResult"] == ["a", True]
        found = await client.result(
            "pages = int(open('/proc/1/statm').read().split()[1])\n"
            "lines = open('/proc/self/smaps_rollup').readlines()\n"
            "own = sum(int(line.split()[1]) for line in lines if line.startswith('Private_'))\n"
            "fds = '/proc/self/fd/'\n"
            "links = [os.path.realpath(fds + fd) for fd in os.listdir(fds)]\n"
            "[pages, own // 1024, [link for link in links if 'memfd' in link]]"
        )
        pages, own_mib, programs = found["executionResult"]
        # Pid 1 is a program of a few pages that nothing else in the session can reach.
        if os.uname().machine == "x86_64":
            assert pages < 10
        assert own_mib < 22
        assert programs == []


async def test_a_restart_keeps_holes_links_permissions_and_names_the_rest(
    session: PoolClient,
) -> None:
    await session.result(
        "import os\nos.chdir('/mnt/data')\n"
        "with open('sparse', 'wb') as file:\n    file.seek(200 << 20); file.write(b'end')\n"
        "open('run', 'w').write('#!'); os.chmod('run', 0o755); os.link('run', 'same')\n"
        "os.symlink('/mnt/data/run', 'link'); os.mkfifo('pipe')\n"
        "os.mkdir('closed'); open('closed/in', 'w').close(); os.chmod('closed', 0)\n"
        "os.chmod('.', 0)"
    )
    await session.execute("import os; os._exit(1)")
    answer = await session.result(
        "import os\nos.chdir('/mnt/data')\nfound = os.stat('sparse')\n"
        "seen = [sorted(os.listdir()), found.st_size, found.st_blocks < 100, os.readlink('link'),\n"
        "    oct(os.stat('run').st_mode), os.stat('run').st_nlink,\n"
        "    oct(os.stat('closed').st_mode)]\n"
        "os.chmod('closed', 0o755)\n"
        "[*seen, os.listdir('closed')]"
    )
    names = ["closed", "link", "run", "same", "sparse"]
    assert answer["executionResult"] == [
        *(names, (200 << 20) + 3, True, "/mnt/data/run", "0o100755", 2, "0o40000", ["in"])
    ]
    assert "could not keep 1 files of /mnt/data: 'pipe'" in answer["stderr"]
