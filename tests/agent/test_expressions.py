"""No expression over input takes more time than the input is long: twice of it, twice the time."""

import ast
import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from agent.conversations import files as conversation_files
from agent.conversations.file_names import stored_name
from agent.conversations.store import check_conversation_id
from agent.errors import AgentError
from agent.events import File
from agent.http import bodies
from agent.http.bodies import wants_events
from agent.http.json_bounds import TOKENS_MAX, _has_too_many
from agent.http.openai.answers import _markdown, _without_contents
from agent.http.page import routes as page
from agent.http.pictures import picture_at
from agent.http.uploads import file_name_of
from agent.model.refusals import Refusal
from agent.model.tool_calls import ObjectTool, TextTool, Tool, read_calls
from agent.model.wire import Answer, CallPieces
from agent.open_data import download
from agent.open_data.errors import FetchError
from agent.open_data.file_names import file_name
from agent.open_data.hosts import AllowedHosts
from agent.pictures import header_of
from agent.session_pool import outputs, survey
from agent.session_pool.names import name_of, path_of
from agent.turns import shown as outputs_shown
from agent.turns.html_forms import html_of
from agent.turns.links import SandboxLinks
from agent.turns.may_write import may_write

AGENT = Path(__file__).parents[2] / "agent"
LENGTH = 50_000


def request_with(name: str, value: str) -> Request:
    return Request(
        {
            "type": "http",
            "headers": [(name.encode(), value.encode())],
            "state": {"sign_in_required": False, "page_texts": (None, None)},
        }
    )


def ask_for_page(header: str, value: str) -> None:
    async def ask() -> None:
        await page.ROUTES["page"].handlers["GET"](request_with(header, value))

    asyncio.run(ask())


def name_in_answer(text: str) -> None:
    _markdown(File(text, "text/csv", 1, "data:,"))


def read_form(text: str) -> None:
    MultipartParser("B" * 200).write(f"--{'B' * 200}\r\n\r\n{text}".encode())


def call_tool(text: str) -> None:
    tools: list[Tool] = [
        TextTool("execute_python", "code", "Python source"),
        ObjectTool("add", ("a", "b"), lambda _: None),
    ]
    pieces = ["{'a': '" + text]
    for call in (
        CallPieces(0, text, text, [text]),
        CallPieces(0, name="execute_python", pieces=pieces),
        CallPieces(0, name="add", pieces=pieces),
    ):
        answer = Answer()
        answer.calls.append(call)
        read_calls(answer, tools, set())


def link(text: str) -> None:
    links = SandboxLinks({})
    for start in range(0, len(text), 100):
        links.feed(text[start : start + 100])
    links.end()


def see(text: str) -> None:
    header_of(text.encode())
    for address in (text, f"data:{text}", f"/api/conversations/{'0' * 32}/files/{text}"):
        with contextlib.suppress(AgentError):
            picture_at(address, "images.0")


def name_host(text: str) -> None:
    with contextlib.suppress(ValueError):
        AllowedHosts.parse(text)
    with contextlib.suppress(FetchError):
        AllowedHosts(("example.org",)).url_of(f"https://{text}")


# What reads input, by the expressions of ours in it; and pieces that it may find hard, repeated.
READERS: dict[str, tuple[Callable[[str], object], tuple[str, ...]]] = {
    "conversations/store.py: [0-9a-f]{32}": (check_conversation_id, ("0",)),
    r'http/json_bounds.py: "(?:[^"\\]++|\\.)*+(?:"|\Z)|[{\[,]': (
        lambda text: _has_too_many(text.encode()),
        ('"', '"\\"', "\\", "\\\\", '"a', " ", "1"),
    ),
    r"http/openai/answers.py: \]\(data:[^()\s]*+\)": (
        _without_contents,
        ("](data:", "](data:,)", "]", "](data:,) "),
    ),
    r"http/openai/answers.py: !?(?<!\\)\[((?:[^\[\]\\]|\\.)*+)\Z": (
        _without_contents,
        ("[", "![", "[a](data:,)", "[\\](data:,)", "[[[[[[[[[[[[](data:,)", "\\[](data:,)"),
    ),
    r"http/openai/answers.py: ([\\\[\]])": (name_in_answer, ("[", "\\", "a")),
    'http/page/routes.py: "[^"]*"': (
        partial(ask_for_page, "if-none-match"),
        ('"', 'a"', '"",', "a"),
    ),
    r"http/page/routes.py: \bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))": (
        partial(ask_for_page, "accept-encoding"),
        ("gzip;q=0,", "gzip ", "gzip;q=0.0", "gzip;" + " " * 50, "g"),
    ),
    "http/uploads.py": (
        lambda text: file_name_of(b'form-data; filename="a"' + text.encode()),
        (';a="\\"', ';a="', "; ", ";a", ";a=", '\\"', '"', "=?a?b?", ";filename*=a", "%22"),
    ),
    # What a service answered; only its beginning is looked through.
    "model/refusals.py": (
        lambda text: Refusal.read(400, text).as_error(),
        ("a-", "a.", "tools ", "1.", "A_", "0", "https://", "not support "),
    ),
    "pictures.py": (see, (";", "a", "data:", ";base64", "A", "\xff", "RIFF", "GIF89a")),
    "http/pictures.py": (see, ("/", "a", "%41")),
    "http/bodies.py": (
        bodies._ADDRESS.match,
        ("a", "a:", "://", "data", "+", "."),
    ),
    "model/tool_calls.py": (
        call_tool,
        ("functions.", "a", "'", '"', '{"', "{'a': '", "\\", "[", "```", "```\n", " ", "}", "' ,}"),
    ),
    "turns/links.py": (
        link,
        ("sandbox:", "sandbox:/", "(sandbox:/a b", "sandbox:///mnt/data/a ", "(", "a", "s", "sand"),
    ),
    "conversations/file_names.py": (stored_name, ("\x00", "%", ".", ". ", "a", "/")),
    "conversations/files.py": (
        conversation_files._SHOWN.fullmatch,
        ("image-", "image-1", "1", "-1", "image-1-1.png"),
    ),
    # What a model wrote, and what its code showed.
    "session_pool/names.py": (
        lambda text: (name_of(text.encode()), path_of(text)),
        ("\\x5c", "\\", "x", "\\x"),
    ),
    "session_pool/outputs.py": (
        lambda text: (
            outputs._ANSI.sub("", text),
            outputs._STRING.match(text),
            outputs._MEDIA_TYPE.fullmatch(text),
        ),
        ("\x1b[", "\x1b[0;", "0", " ", "a/", "a"),
    ),
    "session_pool/survey.py": (survey.is_transfer, ("transfer-", "0", "transfer-0")),
    # The same one, in the session.
    "session_pool/survey_script.py": (survey.is_transfer, ("0",)),
    "turns/html_forms.py": (
        lambda text: (
            html_of({"text/html": text}),
            html_of({f"application/vnd.vega.v5{text}": {}}),
        ),
        (" ", "<", "<!doctype", ".1", "1"),
    ),
    "turns/may_write.py": (
        may_write,
        ("'", "'.a", "' ", " ", ";", "; ", "import a\n", "from a", "import ", "\n ", "to_", "a."),
    ),
    "turns/shown.py": (outputs_shown._OBJECT.fullmatch, (" ", "<", "<>", "< ", "a")),
    # What a host answered, and what a model asked of it.
    "open_data/download.py": (download._CONTENT_TYPE.fullmatch, ("a", "a/", "a/a.")),
    "open_data/file_names.py": (
        lambda text: file_name(disposition=text, path=text, content_type=text),
        ('filename="', "filename=", "filename*=utf-8'", "filename* ", '\\"', "/", " ", ".", "a"),
    ),
    "open_data/hosts.py": (name_host, ("a", "a.", "a-", "*.a.", "example.org/", ":443")),
    # Of libraries.
    "the header Accept": (
        lambda text: wants_events(request_with("accept", text)),
        ("a,", "a;q=1,", '"', 'a;b="', ";", "a;b*1*=", "a/b;c=d;", "1", "q=1.", "\\"),
    ),
    "the header Content-Type": (
        parse_options_header,
        ("a;", ';a="', "\\", ';a="\\"', ";a*0=", "=", ";filename=\\"),
    ),
    "a part of a form": (read_form, ("\r\n--" + "B" * 199, "\r\n", "\r", "-", "\r\n--", "a")),
}
# Made of our own table of routes.
NOT_OVER_INPUT = {r"http/openapi.py: \W+"}


def expressions() -> Iterator[str]:
    """All of agent/, each by its file."""
    for path in AGENT.rglob("*.py"):
        file = str(path.relative_to(AGENT))
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(ast.Attribute(ast.Name("re"))) if file in READERS:
                    yield file  # all of them in one reader
                case ast.Call(ast.Attribute(ast.Name("re")), [ast.Constant(value), *_]):
                    text = value.decode() if isinstance(value, bytes) else value
                    yield f"{file}: {text}"
                case ast.Call(ast.Attribute(ast.Name("re"))):
                    yield f"{file}: line {node.lineno}, not a constant"


def test_every_expression_over_input_is_in_the_table() -> None:
    """Add yours to READERS, with the pieces that it could find hard."""
    ours = {name for name in READERS if ".py" in name}
    assert set(expressions()) == ours | NOT_OVER_INPUT


@pytest.mark.parametrize(
    ("reader", "piece"),
    [
        pytest.param(reader, piece, id=f"{name}-{piece[:20]!r}")
        for name, (reader, pieces) in READERS.items()
        for piece in pieces
    ],
)
def test_twice_the_input_takes_twice_the_time(reader: Callable[[str], object], piece: str) -> None:
    check_time(reader, piece, LENGTH)


def check_time(reader: Callable[[str], object], piece: str, length: int) -> None:
    def seconds(length: int, runs: int) -> float:
        took = []
        text = piece * (length // len(piece))
        for _ in range(runs):
            began = time.process_time()
            with contextlib.suppress(AgentError, FormParserError):
                reader(text)
            took.append(time.process_time() - began)
        return min(took)

    # Four times would be a quadratic expression; the constant is for what takes no time at all.
    twice, constant = seconds(2 * length, 1), 0.01
    if twice >= constant:
        most = 3 * seconds(length, 3) + constant
        assert twice < most or seconds(2 * length, 3) < most


def test_the_table_would_find_a_quadratic_expression() -> None:
    quadratic = re.compile(r"\[[^\]]*\]")

    def is_found() -> bool:
        try:
            check_time(quadratic.findall, "[", 8_000)
        except AssertionError:
            return True
        return False

    # Where the clock of a busy machine makes three times of four, it is so for one of them.
    assert any(is_found() for _ in range(3))


def test_counting_stops_where_it_is_known() -> None:
    began = time.process_time()
    assert _has_too_many(b"," * 16_000_000)
    assert time.process_time() - began < 0.1
    assert not _has_too_many(b"," * TOKENS_MAX)
