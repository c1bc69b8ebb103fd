"""Links to the model's sandbox become addresses, wherever a piece of the message ends."""

import pytest

from agent.turns.links import SandboxLinks

ADDRESSES = {
    "out.csv": "/files/out.csv",
    "my file.csv": "/files/my%20file.csv",
    "plot (1).png": "/files/plot",
    "inline.png": "data:image/png;base64,AAAA",
}
LINKS = {
    "[Download](sandbox:/mnt/data/out.csv).": "[Download](/files/out.csv).",
    "![plot](sandbox:/mnt/data/plot.png)": "![plot](plot.png)",
    "![plot](sandbox:/mnt/data/inline.png)": "![plot](inline.png)",
    "[a](sandbox:/mnt/data/my file.csv)": "[a](/files/my%20file.csv)",
    "[a](sandbox:/mnt/data/my%20file.csv)": "[a](/files/my%20file.csv)",
    "[a](sandbox:/mnt/data/plot (1).png) b": "[a](/files/plot) b",
    '[a](sandbox:/mnt/data/out.csv "A title")': '[a](/files/out.csv "A title")',
    "[a](<sandbox:/mnt/data/my file.csv>)": "[a](</files/my%20file.csv>)",
    'href="sandbox:/mnt/data/my file.csv"': 'href="/files/my%20file.csv"',
    "`sandbox:/mnt/data/out.csv`": "`/files/out.csv`",
    "**sandbox:/mnt/data/out.csv**": "**/files/out.csv**",
    "It is at sandbox:/mnt/data/out.csv. Look.": "It is at /files/out.csv. Look.",
    "It is at sandbox:/mnt/data/out.csv.": "It is at /files/out.csv.",
    "sandbox:/mnt/data/out.csv": "/files/out.csv",
    "SandBox:/mnt/data/out.csv, sandbox:///mnt/data/out.csv": "/files/out.csv, /files/out.csv",
    "sandbox:mnt/data/out.csv": "/files/out.csv",
    "sandbox:/mnt/data/a/b.csv": "a/b.csv",
    "sandbox:/out.csv\nsandbox:/x": "/files/out.csv\nx",
    "\u0130\u0130 sandbox:/mnt/data/out.csv": "\u0130\u0130 /files/out.csv",
    "The sandbox: it is safe. A sandbox:": "The sandbox: it is safe. A sandbox:",
    "sand, sandbox, (sandbox) sandbo": "sand, sandbox, (sandbox) sandbo",
    "/mnt/data/out.csv stays": "/mnt/data/out.csv stays",
    f"sandbox:/{'x' * 600} end": f"sandbox:/{'x' * 600} end",
    "": "",
}


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("text", "expected"), LINKS.items(), ids=[str(n) for n in range(len(LINKS))]
)
def test_a_link_becomes_the_files_address_or_its_name(text: str, expected: str, size: int) -> None:
    links = SandboxLinks(ADDRESSES)
    pieces = [links.feed(text[start : start + size]) for start in range(0, len(text), size)]
    assert "".join([*pieces, links.end()]) == expected


def test_text_without_a_link_is_not_held_back() -> None:
    links = SandboxLinks({})
    assert links.feed("Hello: (a) `b`") == "Hello: (a) `b`"
    assert links.feed("see sand") == "see "
    assert links.feed("y beach.") == "sandy beach."


def test_a_file_is_found_that_is_made_while_the_message_comes() -> None:
    addresses: dict[str, str] = {}
    links = SandboxLinks(addresses)
    assert links.feed("(sandbox:/mnt/data/a.csv") == "("
    addresses["a.csv"] = "/files/a.csv"
    assert links.feed(")") == "/files/a.csv)"
