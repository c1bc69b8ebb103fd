"""Frozen dataclasses with slots, of whose methods no more is compiled than is used.

For each class `dataclasses` writes six methods as text and has Python compile them while the module
is imported: a millisecond each, a twentieth of a cold start, whose first answer makes an instance
of every other one and compares none.
"""

from dataclasses import MISSING, FrozenInstanceError, dataclass, field, fields
from types import FunctionType
from typing import Any, dataclass_transform


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen[T](cls: type[T]) -> type[T]:
    """Make of a class what `dataclass(frozen=True, slots=True)` would make of it.

    Its constructor is compiled when it is first called; the other methods are the same for all. Of
    what `field` takes it knows default, default_factory, repr and compare.
    """
    for name, method in _METHODS.items():
        if name not in vars(cls):
            setattr(cls, name, method)
    return dataclass(init=False, repr=False, eq=False, slots=True)(cls)


def _init(self: object, *args: object, **kwargs: object) -> None:
    cls: Any = type(self)
    cls.__init__ = _constructor(cls)
    cls.__init__(self, *args, **kwargs)


def _setattr(_: object, name: str, __: object) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _delattr(_: object, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _repr(self: Any) -> str:
    shown = [f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr]
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _eq(self: object, other: object) -> Any:
    if type(self) is not type(other):
        return NotImplemented
    # Tuples too look first whether two things are one.
    return self is other or _compared(self) == _compared(other)


def _hash(self: object) -> int:
    return hash(_compared(self))


def _compared(self: Any) -> tuple[object, ...]:
    return tuple(getattr(self, each.name) for each in fields(self) if each.compare)


def _reduce(self: Any) -> tuple[object, tuple[object, ...]]:
    return type(self), tuple(getattr(self, each.name) for each in fields(self))


_METHODS = {
    "__init__": _init,
    "__setattr__": _setattr,
    "__delattr__": _delattr,
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": _hash,
    "__reduce__": _reduce,  # copies and pickles: they would set attributes
}


def _constructor(cls: Any) -> FunctionType:
    globals_: dict[str, Any] = {"_MISSING": MISSING}
    parameters, lines, defaults = ["self"], [], []
    for each in fields(cls):
        value = name = each.name
        if each.default is MISSING and each.default_factory is MISSING:
            parameters.append(name)
        else:
            parameters.append(f"{name}=...")
            defaults.append(each.default)
        if each.default_factory is not MISSING:
            globals_[f"_new_{name}"] = each.default_factory
            value = f"_new_{name}() if {name} is _MISSING else {name}"
        # A third less than object.__setattr__, by which dataclasses do it.
        globals_[f"_set_{name}"] = getattr(cls, name).__set__
        lines.append(f"  _set_{name}(self, {value})\n")
    if hasattr(cls, "__post_init__"):
        lines.append("  self.__post_init__()\n")
    text = f"def __init__({', '.join(parameters)}):\n{''.join(lines)}"
    exec(text, globals_)  # noqa: S102 - as dataclasses do: the text has names of our own fields alone, no value
    constructor: FunctionType = globals_["__init__"]
    constructor.__qualname__ = f"{cls.__qualname__}.__init__"
    constructor.__defaults__ = tuple(defaults)
    return constructor
