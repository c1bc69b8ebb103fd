"""The hosts that tests download from, and what they answer."""

from dataclasses import dataclass
from typing import Any

from agent.open_data.download import Bounds, Download, OpenData
from agent.open_data.hosts import AllowedHosts
from tests.support.https_sites import Site, Web, is_this_machine

CSV = b"city,people\nBerne,133\nZurich,402\n"
URL = "https://data.example.org/data.csv"
BOUNDS = Bounds(max_bytes=1000, timeout_s=5)


def ok(body: bytes = CSV, *headers: str, length: object = None) -> bytes:
    """A CSV file; `length` is what is said of it."""
    lines = [
        "HTTP/1.1 200 OK",
        "Content-Type: text/csv; charset=utf-8",
        f"Content-Length: {len(body) if length is None else length}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def redirect(location: str, status: int = 302) -> bytes:
    """An answer that leads elsewhere."""
    head = f"HTTP/1.1 {status} Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    return head.encode("utf-8", "surrogateescape")


@dataclass
class OpenDataHosts:
    """Hosts on this machine.

    Attributes:
        web: all of them.
        site: data.example.org, allowed.
        other: www.open.example, allowed.
        evil: evil.example, not allowed.
        inside: at another address of this machine, which stands for a private one.
    """

    web: Web
    site: Site
    other: Site
    evil: Site
    inside: Site

    def reset(self) -> None:
        """As if nobody had asked them anything."""
        self.web.names.asked.clear()
        for name, site in {
            "data.example.org": self.site,
            "www.open.example": self.other,
            "evil.example": self.evil,
            "inside": self.inside,
        }.items():
            self.web.names.answers[name] = [[site]]
            site.connections = 0
            site.requests.clear()
            site.answers = {"/data.csv": ok()}

    async def get(self, url: str = URL, **changes: Any) -> Download:
        """Download; `changes` are arguments of OpenData."""
        known: dict[str, Any] = {
            "hosts": AllowedHosts.parse("data.example.org, *.open.example"),
            "tls": self.web.tls,
            "bounds": BOUNDS,
            "resolver": self.web.names,
            "is_allowed_address": is_this_machine,
        }
        return await OpenData(**(known | changes)).get(url)
