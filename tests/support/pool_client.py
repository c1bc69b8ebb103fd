"""A pool as its callers see it: over HTTP, with tokens."""

import asyncio
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx2

from local.managed_identity import ManagedIdentity
from local.session_pool import SessionPool
from tests.support.waiting import until

NEWEST = "2025-10-02-preview"
AUDIENCE = "https://dynamicsessions.io"
# Code that runs until a test uploads a file by the name of `go`; its result is whether one did.
UNTIL_GO = """
import os, time
until_s = time.monotonic() + 50
while not os.path.exists('/mnt/data/go') and time.monotonic() < until_s:
    time.sleep(0.01)
os.path.exists('/mnt/data/go')
"""


def new_identifier() -> str:
    return f"test-{uuid.uuid4().hex}"


@dataclass
class PoolClient:
    """Calls one pool; each instance has an identifier of its own."""

    pool: SessionPool
    http: httpx2.AsyncClient
    identity: ManagedIdentity
    version: str = NEWEST
    identifier: str = field(default_factory=new_identifier)

    def of(self, *, version: str | None = None, identifier: str | None = None) -> "PoolClient":
        """The same pool with another version, or another session."""
        return PoolClient(
            self.pool,
            self.http,
            self.identity,
            version or self.version,
            identifier or (self.identifier if version else new_identifier()),
        )

    async def request(self, method: str, path: str, **arguments: Any) -> httpx2.Response:
        """Send a request for `path` below the pool's; a token is added unless `headers` has one."""
        query: dict[str, str | None] = {
            "api-version": self.version,
            "identifier": self.identifier,
            **arguments.pop("params", {}),
        }
        headers = {"authorization": f"Bearer {self.identity.mint(AUDIENCE)}"}
        headers |= arguments.pop("headers", {})
        parameters = {name: value for name, value in query.items() if value is not None}
        return await self.http.request(
            method, f"{self.pool.path}/{path}", params=parameters, headers=headers, **arguments
        )

    async def execute(self, code: str, **body: Any) -> dict[str, Any]:
        """Run code in the session; the value is the whole answer."""
        response = await self._send(code, body)
        assert response.status_code in (200, 202), response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def begin(
        self, code: str, *, first: str = "", **body: Any
    ) -> asyncio.Task[httpx2.Response]:
        """Run code and return while it runs, once `first` has run; the value is the answer to come.

        It leaves a file by the name of `begun`, so that a session begins once.
        """
        sent = self._send(f"{first}\nopen('/mnt/data/begun', 'w').close()\n{code}", body)
        running = asyncio.create_task(sent)
        await until(lambda: running.done() or self._has_begun())
        return running

    async def _has_begun(self) -> bool:
        return "begun" in await self.names()

    async def _send(self, code: str, body: dict[str, Any]) -> httpx2.Response:
        body = {
            "codeInputType": "Inline",
            "executionType": "Synchronous",
            "code": code,
            "timeoutInSeconds": 60,
        } | body
        return await self.request("POST", "executions", json=body)

    async def result(self, code: str, **body: Any) -> dict[str, Any]:
        """Run code that must succeed; the value is its result."""
        answer = await self.execute(code, **body)
        assert answer["status"] == "Succeeded", answer
        result: dict[str, Any] = answer["result"]
        return result

    async def upload(self, name: str, content: bytes, **query: str) -> httpx2.Response:
        files = {"file": (name, content, "application/octet-stream")}
        return await self.request("POST", "files", files=files, params=query)

    async def names(self) -> list[str]:
        listed = await self.request("GET", "files")
        return [entry["name"] for entry in listed.json()["value"]]
