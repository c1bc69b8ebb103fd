import re

import pytest

from agent.open_data.errors import FetchError
from agent.open_data.hosts import URL_MAX_CHARS, AllowedHosts

HOSTS = AllowedHosts.parse("data.example.org, *.open.example xn--dt-uiac.example")


@pytest.mark.parametrize(
    ("url", "same_as"),
    [
        ("https://data.example.org/data.csv", None),
        ("https://data.example.org", None),
        ("https://data.example.org?a=b", "https://data.example.org/?a=b"),
        ("HTTPS://DATA.Example.ORG/A.csv", "https://data.example.org/A.csv"),
        ("https://data.example.org:443/data.csv", "https://data.example.org/data.csv"),
        ("https://data.example.org/data.csv#row=4", "https://data.example.org/data.csv"),
        ("https://data.example.org/a@b:8080/c?u=https://evil.example/", None),
        ("https://data.example.org/Zürich.csv", "https://data.example.org/Z%C3%BCrich.csv"),
        (
            "https://data.example.org/a%0d%0aHost:%20evil",
            "https://data.example.org/a%0D%0AHost:%20evil",
        ),
        (
            "https://data.example.org/?q=%E2%9C%93&r=a%2Fb",
            "https://data.example.org/?q=%E2%9C%93&r=a/b",
        ),
        ("https://www.open.example/x", None),
        ("https://a.b.open.example/x", None),
        ("https://xn--dt-uiac.example/x", None),
        ("https://xn--80ak6aa92e.open.example/x", None),
        ("https://" + "a." * 120 + "open.example/", None),
    ],
)
def test_an_address_on_an_allowed_host_is_taken(url: str, same_as: str | None) -> None:
    assert str(HOSTS.url_of(url)) == (same_as or url)


@pytest.mark.parametrize(
    "url",
    [
        # Other schemes, and none.
        "http://data.example.org/",
        "ftp://data.example.org/",
        "file:///etc/passwd",
        "data:text/csv,a",
        "javascript:alert(1)",
        "gopher://data.example.org/",
        "https:data.example.org/",
        "https:/data.example.org/",
        "https:///data.example.org/",
        "//data.example.org/",
        "data.example.org/data.csv",
        "",
        " https://data.example.org/",
        # Look-alikes, and names around the allowed ones.
        "https://evil.example/data.example.org",
        "https://data.example.org.evil.example/",
        "https://evildata.example.org/",
        "https://data.example.orgevil/",
        "https://sub.data.example.org/",
        "https://example.org/",
        "https://data-example.org/",
        "https://data.examp1e.org/",
        "https://open.example/",
        "https://evilopen.example/",
        "https://open.example.evil.example/",
        "https://.open.example/",
        "https://..open.example/",
        "https://-.open.example/",
        "https://*.open.example/",
        "https://_x.open.example/",
        "https://" + "a" * 64 + ".open.example/",
        "https://" + "a." * 130 + "open.example/",
        # What looks like an encoded name and is none.
        "https://xn--a.open.example/",
        "https://xn--zzzzzzzz9999.open.example/",
        # Users, who hide the host behind what looks like one.
        "https://data.example.org@evil.example/",
        "https://data.example.org:443@evil.example/",
        "https://user:password@data.example.org/",
        "https://@data.example.org/",
        "https://evil.example\\@data.example.org/",
        "https://evil.example#@data.example.org/",
        "https://evil.example?@data.example.org/",
        "https://data.example.org%40evil.example/",
        "https://evil.example;data.example.org/",
        "https://evil.example,data.example.org/",
        # Ports.
        "https://data.example.org:80/",
        "https://data.example.org:8443/",
        "https://data.example.org:0443/",
        "https://data.example.org:/",
        "https://data.example.org:443:443/",
        "https://data.example.org:-443/",
        "https://data.example.org:65979/",
        # Dots and encodings.
        "https://data.example.org./",
        "https://data.example.org../",
        "https://data..example.org/",
        "https://data%2eexample.org/",
        "https://%64ata.example.org/",
        "https://data.example.org%00.evil.example/",
        "https://data.example.org%2f.open.example/",
        # Letters that become others: full width, long s, Kelvin, dots and spaces of no width.
        "https://\uff44ata.example.org/",
        "https://data.example.org。evil.example/",
        "https://www。open.example/",
        "https://data.example.org\uff0fevil.example/",
        "https://\u017fub.open.example/",
        "https://\u212a.open.example/",
        "https://da\u00adta.example.org/",
        "https://da\u200bta.example.org/",
        "https://d\u0430ta.example.org/",  # a Cyrillic letter
        "https://dätä.example/",
        # Addresses, in whatever form.
        "https://127.0.0.1/",
        "https://127.1/",
        "https://0x7f000001/",
        "https://0x7f.0.0.1/",
        "https://2130706433/",
        "https://017700000001/",
        "https://169.254.169.254/metadata/instance",
        "https://168.63.129.16/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fe80::1%25eth0]/",
        "https://[64:ff9b::7f00:1]/",
        "https://localhost/",
        # Controls, which could end a line of the request, and white space.
        "https://data.example.org/\r\nHost: evil.example",
        "https://data.example.org/a\nb",
        "https://data.example.org/a\x00b",
        "https://data.example.org/a\tb",
        "https://data.example.org/a b",
        "https://data.example.org\n.evil.example/",
        "https://data.example.org/\x7f",
        "https://data.example.org/\x85",
        "https://data.example.org/\u2028",
        "https://data.example.org/\udcff",
        "https://data.example.org\\evil.example/",
        "https://data.example.org/\\evil.example",
        "https://data.example.org/" + "a" * URL_MAX_CHARS,
    ],
)
def test_every_other_address_is_refused(url: str) -> None:
    with pytest.raises(FetchError):
        HOSTS.url_of(url)


def test_a_refusal_tells_which_hosts_are_allowed() -> None:
    words = "Host not allowed: evil.example. Allowed hosts: data.example.org, *.open.example, "
    with pytest.raises(FetchError, match=re.escape(words)):
        HOSTS.url_of("https://evil.example/")


def test_of_many_hosts_the_model_reads_some() -> None:
    hosts = AllowedHosts.parse(",".join(f"h{number}.example" for number in range(25)))
    assert str(hosts).endswith("h19.example and 5 more")
    assert hosts.url_of("https://h24.example/")


@pytest.mark.parametrize(
    "text",
    [
        "https://data.example.org",
        "data.example.org/",
        "data.example.org:443",
        "data.example.org.",
        "user@data.example.org",
        "*",
        "*.org",
        "*example.org",
        "data.*.org",
        "**.example.org",
        "*.*.example.org",
        ".example.org",
        "localhost",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.0x1",
        "*.0.0.1",
        "[::1]",
        "::1",
        "dätä.example",
        "data_x.example",
        "-data.example",
        "a" * 64 + ".example",
        ".".join(["a" * 60] * 5) + ".example",
        "data.example.org;files.example.org",
    ],
)
def test_what_is_no_name_of_a_host_is_no_setting(text: str) -> None:
    with pytest.raises(ValueError, match=r"^entry 2 is not the name of a host: write data\."):
        AllowedHosts.parse(f"fine.example.org,{text}")


@pytest.mark.parametrize("text", ["", " ", ",", " , ,"])
def test_a_setting_without_a_name_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="names no host"):
        AllowedHosts.parse(text)


def test_names_are_separated_by_commas_or_spaces_in_any_case_and_named_once() -> None:
    text = " data.example.org,*.Example.NET\n,, DATA.example.org "
    assert AllowedHosts.parse(text).patterns == ("data.example.org", "*.example.net")
