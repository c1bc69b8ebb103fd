"""How route templates match, with ASP.NET's rules."""

import pytest

from local.functions_host.errors import FunctionAppError
from local.functions_host.routes import ALL_METHODS, HttpFunction, RouteTable


def table(*templates: str) -> RouteTable:
    return RouteTable(
        HttpFunction(template, template, "req", template, ALL_METHODS, "function")
        for template in templates
    )


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/files/list", "files/list"),
        ("/files/a.png", "files/{name}.png"),
        ("/files/12", "files/{id:int}"),
        ("/files/other", "files/{name}"),
        ("/files/other/deep/er", "files/{*path}"),
        ("/files", "files/{*path}"),
    ],
)
def test_literals_go_before_constraints_before_parameters(path: str, template: str) -> None:
    routes = table(
        "files/{*path}", "files/{name}", "files/{id:int}", "files/{name}.png", "files/list"
    )
    match = routes.match("GET", path)
    assert match is not None
    assert match.function.template == template


@pytest.mark.parametrize(
    ("template", "path", "parameters"),
    [
        ("a/{b?}", "/a", {}),
        ("a/{b?}", "/a/x", {"b": "x"}),
        ("a/{b=home}", "/a", {"b": "home"}),
        ("a/{b=home}", "/a/x", {"b": "x"}),
        ("a/{*rest}", "/a/x/y%20z", {"rest": "x/y z"}),
        ("a/{**rest}", "/a/x/y", {"rest": "x/y"}),
        ("{year:int}-{month:int}", "/2026-11", {"year": "2026", "month": "11"}),
        ("a/{b:int:min(10)?}", "/a/10", {"b": "10"}),
    ],
)
def test_parameters_are_taken_from_the_path(
    template: str, path: str, parameters: dict[str, str]
) -> None:
    match = table(template).match("GET", path)
    assert match is not None
    assert match.parameters == parameters


@pytest.mark.parametrize(
    ("constraint", "good", "bad"),
    [
        ("int", "-7", "7.5"),
        ("int", "2147483647", "2147483648"),
        ("long", "2147483648", "9223372036854775808"),
        ("bool", "TRUE", "yes"),
        ("alpha", "abc", "ab1"),
        ("guid", "0f8fad5b-d9cb-469f-a165-70867728950e", "0f8fad5b"),
        ("length(3)", "abc", "abcd"),
        ("length(2,3)", "ab", "a"),
        ("minlength(2)", "ab", "a"),
        ("maxlength(2)", "ab", "abc"),
        ("min(18)", "18", "17"),
        ("max(18)", "18", "19"),
        ("range(1,3)", "3", "4"),
    ],
)
def test_a_constraint_lets_only_its_values_through(constraint: str, good: str, bad: str) -> None:
    routes = table(f"a/{{b:{constraint}}}")
    assert routes.match("GET", f"/a/{good}") is not None
    assert routes.match("GET", f"/a/{bad}") is None


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("a/{b:regex(x)}", "does not know the constraint regex(x)"),
        ("a/{b:min(x)}", "the route 'a/{b:min(x)}'"),
        ("a/{b", "malformed at '{b'"),
    ],
)
def test_a_template_this_host_cannot_serve_is_refused(template: str, reason: str) -> None:
    with pytest.raises(FunctionAppError) as refused:
        table(template)
    assert reason in str(refused.value)
