"""What files a session has, asked of the session itself by running code there.

The service's list of files leaves out names that are not UTF-8 and does not say which session it
lists: a list of a session that is new would look like one whose files were all deleted. Code says
both, and puts files where no other call can: it names them as their owner did, and it brings what
code wrote to its working directory instead of /mnt/data.
"""

import base64
import json
import re
import secrets
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Final

from pydantic import BaseModel, ValidationError

from agent.frozen import frozen
from agent.session_pool.names import name_of, path_of

# What the answer may have, in characters; the service gives no bound for what may be asked for.
ANSWER_MAX_CHARS: Final = 100_000
# A file on its way in or out under a name that every call takes; no file of code is called so.
_TRANSFER_PREFIX: Final = "transfer-"
_TRANSFER: Final = f"{_TRANSFER_PREFIX}[0-9a-f]{{32}}"
_JSON_MAX_BYTES: Final = 8 * 1024**2

# As it stands in code, quoted once: it is sent twice a turn of a conversation.
_SCRIPT: Final = repr(
    files(__package__).joinpath("survey_script.py").read_text("utf-8") + "\nmain(arguments)\n"
)


@frozen
class SessionFile:
    """A file in a session's /mnt/data.

    Attributes:
        name: relative to /mnt/data; see `names`.
        size_bytes: of its content.
        modified_at: when, by the session's clock.
        version: differs when the content may differ.
    """

    name: str
    size_bytes: int
    modified_at: datetime
    version: str = ""


@frozen
class Errand:
    """What code does before it looks.

    Attributes:
        moves: files to rename, from and to.
        links: files to make available under a second name, from and to.
        removes: files to remove.
        works_in_data: make /mnt/data the working directory, once in a session's life.
        working_s: how far back what was written to working directories is copied to /mnt/data, in
            seconds; None looks at none.
    """

    moves: Sequence[tuple[str, str]] = ()
    links: Sequence[tuple[str, str]] = ()
    removes: Sequence[str] = ()
    works_in_data: bool = False
    working_s: float | None = None


@frozen
class Survey:
    """What code found.

    Attributes:
        files: the newest ones.
        count: of all files.
        failed: names that could not be moved, linked or removed; or copied, for lack of room.
        session_guid: the session; None if the pool does not say.
    """

    files: tuple[SessionFile, ...]
    count: int
    failed: tuple[str, ...]
    session_guid: str | None


class _Answer(BaseModel):
    files: list[tuple[str, int, float, str]]
    count: int
    failed: list[str]


def new_transfer() -> str:
    """A name that no file has, for one on its way."""
    return f"{_TRANSFER_PREFIX}{secrets.token_hex(16)}"


def is_transfer(name: str) -> bool:
    """Whether a name is one of those."""
    return re.fullmatch(_TRANSFER, name) is not None


def survey_code(errand: Errand) -> tuple[str, str]:
    """The code, and the mark that begins and ends its answer among what else is printed."""
    mark = f"<{secrets.token_hex(12)}>"
    arguments = {
        "moves": [(_hex(source), _hex(target)) for source, target in errand.moves],
        "links": [(_hex(source), _hex(target)) for source, target in errand.links],
        "removes": [_hex(name) for name in errand.removes],
        "works_in_data": errand.works_in_data,
        "working_s": errand.working_s,
        "transfer": _TRANSFER,
        "max_chars": ANSWER_MAX_CHARS - 2 * len(mark) - 100,
        "mark": mark,
    }
    # In a namespace of its own: it neither sees nor leaves a name there.
    return f"__import__('builtins').exec({_SCRIPT}, {{'arguments': {arguments!r}}})", mark


def read_survey(stdout: str, mark: str, session_guid: str | None) -> Survey | None:
    """The answer; None if there is none, because code changed what the survey stands on."""
    parts = stdout.split(mark)
    if len(parts) != 3:
        return None
    try:
        unpacked = zlib.decompressobj().decompress(base64.b64decode(parts[1]), _JSON_MAX_BYTES)
        # Not by pydantic: names that are not UTF-8 are half surrogate pairs.
        answer = _Answer.model_validate(json.loads(unpacked))
        found = tuple(
            SessionFile(_name(name), size, datetime.fromtimestamp(modified, UTC), version)
            for name, size, modified, version in answer.files
        )
    except (ValueError, ValidationError, zlib.error, OverflowError, OSError):
        return None
    return Survey(found, answer.count, tuple(map(_name, answer.failed)), session_guid)


def _hex(name: str) -> str:
    return path_of(name).hex()


def _name(hexadecimal: str) -> str:
    return name_of(bytes.fromhex(hexadecimal))
