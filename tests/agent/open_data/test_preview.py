import gzip

import pytest

from agent.open_data.preview import first_lines


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", ""),
        (b"city,people\r\nBerne,133\r\n", "city,people\nBerne,133"),
        (b"\n".join(b"%d" % number for number in range(9)), "0\n1\n2\n3\n4"),
        (b"\xef\xbb\xbfcity\n", "city"),
        ("Zürich\n".encode(), "Zürich"),
        (b"x" * 3000, "x" * 500),
        ("ü".encode() * 3000, "ü" * 500),
        ("\U0001f600".encode() * 3000, "\U0001f600" * 500),
        (b"x" + "\U0001f600".encode() * 3000, "x" + "\U0001f600" * 499),
        ("Zürich\n".encode("latin-1"), ""),
        ("city\n".encode("utf-16"), ""),
        (b"PK\x03\x04\0\0", ""),
        (gzip.compress(b"city", mtime=0), ""),
    ],
)
def test_the_model_reads_the_first_lines_of_a_text(content: bytes, lines: str) -> None:
    assert first_lines(content) == lines
