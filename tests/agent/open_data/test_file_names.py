import pytest

from agent.conversations.file_names import checked_name
from agent.open_data.file_names import file_name
from agent.session_pool.names import is_plain

CSV = "text/csv"


@pytest.mark.parametrize(
    ("disposition", "path", "content_type", "name"),
    [
        # The path of the URL.
        ("", "/a/data.csv", CSV, "data.csv"),
        ("", "/a/data.csv/", CSV, "data.csv"),
        ("", "/a/Gr%C3%B6%C3%9Fe.csv", CSV, "Größe.csv"),
        ("", "/a/Zu%CC%88rich.csv", CSV, "Zürich.csv"),
        ("", "/a/rows", CSV, "rows.csv"),
        ("", "/a/rows", "application/json", "rows.json"),
        ("", "/a/rows", "application/octet-stream", "rows.bin"),
        ("", "/a/rows", "x/unknown", "rows"),
        ("", "/", CSV, "data.csv"),
        ("", "", CSV, "data.csv"),
        ("", "/%2e%2e", CSV, "data.csv"),
        ("", "/a%2F..%2Fb.csv", CSV, "b.csv"),
        ("", "/.profile", CSV, "profile.csv"),
        ("", "/a%00b%0d%0a.csv", CSV, "a_b_.csv"),
        ("", "/%ff%fe.csv", CSV, "csv.csv"),
        ("", "/" + "n" * 300 + ".csv", CSV, "n" * 56 + ".csv"),
        ("", "/" + "n" * 300, "x/unknown", "n" * 60),
        ("", "/n." + "e" * 300, "x/unknown", "n." + "e" * 58),
        ("", "/" + "%E4%B8%AD" * 100 + ".csv", CSV, "中" * 56 + ".csv"),
        # What the host says.
        ('attachment; filename="a.csv"', "/rows", CSV, "a.csv"),
        ("attachment; filename=a.csv", "/rows", CSV, "a.csv"),
        ("attachment; filename*=UTF-8''Gr%C3%B6%C3%9Fe.csv", "/rows", CSV, "Größe.csv"),
        ("attachment; filename*=iso-8859-1'de'Gr%F6%DFe.csv", "/rows", CSV, "Größe.csv"),
        ("attachment; filename=a.csv; filename*=UTF-8''b.csv", "/rows", CSV, "b.csv"),
        ("attachment; filename*=UTF-8''b.csv; filename=a.csv", "/rows", CSV, "b.csv"),
        ("attachment; filename*=undefined''%41.csv", "/rows", CSV, "rows.csv"),
        ("attachment; filename*=punycode''%41.csv; filename=a.csv", "/rows", CSV, "a.csv"),
        ("attachment; filename*" + "9" * 5000 + "*=UTF-8''a", "/rows", CSV, "rows.csv"),
        ("attachment; filename*=UTF-8''%ff%00.csv", "/rows", CSV, "csv.csv"),
        ('attachment; filename="a\\"b.csv"', "/rows", CSV, "b.csv"),
        ('attachment; filename="a.csv', "/rows", CSV, "a.csv"),
        ('attachment; filename=""', "/rows", CSV, "rows.csv"),
        ("attachment; filename*=", "/rows", CSV, "rows.csv"),
        ("attachment", "/rows", CSV, "rows.csv"),
        (";;;=;\udcff\x01", "/rows", CSV, "rows.csv"),
        ('attachment; filename="../../etc/passwd"', "/rows", CSV, "passwd.csv"),
        ('attachment; filename="..\\\\..\\\\x.exe"', "/rows", CSV, "x.exe"),
        ('attachment; filename="/etc/cron.d/x"', "/rows", CSV, "x.csv"),
        ('attachment; filename="C:\\\\x.csv"', "/rows", CSV, "x.csv"),
        ('attachment; filename="C:x.csv"', "/rows", CSV, "C_x.csv"),
        ('attachment; filename=".."', "/rows", CSV, "rows.csv"),
        ('attachment; filename="."', "/rows", CSV, "rows.csv"),
        ('attachment; filename=".ssh"', "/rows", CSV, "ssh.csv"),
        ('attachment; filename="a.csv. "', "/rows", CSV, "a.csv"),
        ('attachment; filename="a<b>|c?.csv"', "/rows", CSV, "a_b_c_.csv"),
        ('attachment; filename="$(id).csv"', "/rows", CSV, "id_.csv"),
        ('attachment; filename="-rf.csv"', "/rows", CSV, "rf.csv"),
        ('attachment; filename="a\u202evsc.exe"', "/rows", CSV, "a_vsc.exe"),
    ],
)
def test_a_name_is_plain_whatever_the_host_calls_the_file(
    disposition: str, path: str, content_type: str, name: str
) -> None:
    got = file_name(disposition=disposition, path=path, content_type=content_type)
    assert got == name
    assert is_plain(got)
    assert checked_name(got) == got
