"""What `frozen` makes of a class is what `dataclass(frozen=True, slots=True)` makes of it."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import pytest
from pydantic import TypeAdapter

from agent.frozen import frozen

type Decorator = Callable[[type[Any]], type[Any]]
STANDARD: Decorator = dataclass(frozen=True, slots=True)


def point_of(decorator: Decorator) -> type[Any]:
    class Point:
        """A place, with a note."""

        x: int
        y: int = 2
        names: list[str] = field(default_factory=list)
        note: str = field(default="", repr=False, compare=False)

        def __post_init__(self) -> None:
            if self.x < 0:
                raise ValueError("is negative")

    return decorator(Point)


@frozen
class Kept:
    """One that a pickle finds by its name."""

    number: int
    text: str = ""


def outcome(call: Callable[[], object]) -> object:
    """What a call gives, or how it fails."""
    try:
        return call()
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize(
    "use",
    [
        lambda point: repr(point(1, 3, ["a"], "s")),
        lambda point: point(x=1, names=["a"]).names,
        lambda point: point(1).names is point(1).names,
        lambda point: point(),
        lambda point: point(1, z=1),
        lambda point: point(1, 2, [], "", 5),
        lambda point: point(1) == point(1, note="s"),
        lambda point: point(1) == point(2),
        lambda point: point(1) == (1, 2, []),
        lambda point: point(-1),
        lambda point: repr(point(1, note="s")),
        lambda point: repr(point(y=3, x=1, names=["a"])),
        lambda point: hash(point(1)),
        lambda point: hash(point(1, names=())) == hash(point(1, names=(), note="s")),
        lambda point: replace(point(1, note="s"), y=5).note,
        lambda point: replace(point(1), z=5),
        lambda point: setattr(point(1), "x", 2),
        lambda point: delattr(point(1), "x"),
        lambda point: copy.deepcopy(point(1, 2, ["a"], "s")).note,
        lambda point: [(each.name, each.type) for each in fields(point)],
        lambda point: (point.__match_args__, point.__slots__, point.__doc__, point.__qualname__),
        lambda point: hasattr(point(1), "__dict__"),
        lambda point: TypeAdapter(point).dump_json(point(1, 3, ["a"])),
        lambda point: repr(TypeAdapter(point).validate_json(b'{"x": 1, "names": ["a"]}')),
        lambda point: TypeAdapter(point).validate_json(b'{"y": 1}'),
    ],
)
def test_it_does_what_a_dataclass_does(use: Callable[[Any], object]) -> None:
    assert outcome(lambda: use(point_of(frozen))) == outcome(lambda: use(point_of(STANDARD)))


def test_it_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(Kept(1, "a"))) == Kept(1, "a")  # noqa: S301 - bytes that the same line has just made


def test_values_of_two_classes_are_not_equal() -> None:
    assert point_of(frozen)(1) != point_of(frozen)(1)


def test_a_method_of_the_class_itself_stays() -> None:
    @frozen
    class Named:
        name: str

        def __repr__(self) -> str:
            return self.name

    assert repr(Named("a")) == "a"


def test_a_constructor_is_compiled_when_it_is_first_called() -> None:
    point, other = point_of(frozen), point_of(frozen)
    assert point.__init__ is other.__init__
    point(1)
    assert point.__init__.__code__.co_varnames == ("self", *point.__match_args__)
    assert other.__init__ is point_of(frozen).__init__


def test_a_field_without_default_cannot_follow_one_with() -> None:
    class Wrong:
        x: int = 1
        y: int

    make: Callable[..., object] = frozen(Wrong)
    with pytest.raises(SyntaxError, match="without a default follows"):
        make(1, 2)
