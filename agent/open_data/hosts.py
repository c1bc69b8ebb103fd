"""Which hosts data may come from, and which addresses lead to one of them.

A URL is taken apart twice, by a strict pattern here and by the library that connects; where the two
do not agree, it is refused.
"""

import re
from typing import Final, Self

from yarl import URL

from agent.frozen import frozen
from agent.open_data.errors import FetchError

URL_MAX_CHARS: Final = 2048
_LISTED_MAX: Final = 20
_LABEL: Final = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# The last label begins with a letter: `127.0.0.1`, `127.1` and `0x7f.1` are addresses, not names.
_PATTERN: Final = re.compile(rf"(?:\*\.(?={_LABEL}\.))?(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]*[a-z0-9])?")
_NAME_MAX_CHARS: Final = 253
# ASCII: without it, the long s (U+017F) would be as good as `s`.
_URL: Final = re.compile(
    rf"https://((?:{_LABEL}\.)*{_LABEL})(?::443)?(?:[/?#].*)?", re.IGNORECASE | re.ASCII
)


@frozen
class AllowedHosts:
    """Names of hosts.

    Attributes:
        patterns: in lower case; `*.example.org` is every name that ends in `.example.org`.
    """

    patterns: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """The names in a text, which commas or spaces separate.

        Raises:
            ValueError: says which entry is not a name, and what a name is.
        """
        patterns = tuple(text.lower().replace(",", " ").split())
        if not patterns:
            raise ValueError("names no host: remove it, or write names like data.example.org")
        for number, pattern in enumerate(patterns, 1):
            if not _PATTERN.fullmatch(pattern) or len(pattern) > _NAME_MAX_CHARS:
                raise ValueError(
                    f"entry {number} is not the name of a host: write data.example.org, or "
                    "*.example.org for all names below it, without https://, port or path; letters "
                    "outside ASCII as xn--…; separated by commas"
                )
        return cls(tuple(dict.fromkeys(patterns)))

    def __contains__(self, host: str) -> bool:
        return any(
            host.endswith(pattern[1:]) if pattern.startswith("*") else host == pattern
            for pattern in self.patterns
        )

    def __str__(self) -> str:
        """As the model reads them."""
        listed = ", ".join(self.patterns[:_LISTED_MAX])
        more = len(self.patterns) - _LISTED_MAX
        return f"{listed} and {more} more" if more > 0 else listed

    def url_of(self, text: str) -> URL:
        """The address, if it is https on one of the hosts; without its fragment.

        Raises:
            FetchError: it is not; tells the model why, and which hosts there are.
        """
        if len(text) > URL_MAX_CHARS:
            raise FetchError(f"The URL is longer than {URL_MAX_CHARS:,} characters.")
        if not text.isprintable() or " " in text or "\\" in text:
            raise FetchError("The URL has a space, a backslash or a control: percent-encode it.")
        found = _URL.fullmatch(text)
        if not found or len(found[1]) > _NAME_MAX_CHARS:
            raise FetchError(
                "The URL must be https://, a host's name and a path, without user, password or "
                f"port; letters of the name outside ASCII as xn--…. Allowed hosts: {self}."
            )
        host = found[1].lower()
        if host not in self:
            raise FetchError(f"Host not allowed: {host}. Allowed hosts: {self}.")
        try:
            url = URL(text).with_fragment(None)
            # Read as others will read them: a name xn--… may hold nothing that is a name.
            parts = url.scheme, url.raw_host, url.port, url.user, bool(url.host)
        except ValueError:
            raise FetchError("The URL is not valid.") from None
        if parts != ("https", host, 443, None, True):
            raise FetchError("The URL is not valid.")
        return url
