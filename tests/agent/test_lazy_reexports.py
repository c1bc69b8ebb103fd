"""Packages that only re-export: the same names, loaded one by one."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

type RunPython = Callable[[str], str]


@pytest.fixture
def run_python(tmp_path: Path) -> RunPython:
    """Run code in a process of its own, where `shop` is a package that re-exports."""
    package = tmp_path / "shop"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text(
        '"""A shop."""\n\nfrom __future__ import annotations\n\n'
        "from .apple import Apple as Apple, Core as Seed\nfrom shop.inner import Pear\n"
        '__all__ = ["Apple", "Pear"]\n'
    )
    (package / "apple.py").write_text("class Apple: pass\nclass Core: pass\n")
    (package / "inner/__init__.py").write_text("from .pear import Pear as Pear\n")
    (package / "inner/pear.py").write_text("class Pear: pass\n")
    (package / "busy").mkdir()
    (package / "busy/__init__.py").write_text("from ..apple import Apple\nready = True\n")
    (package / "doubtful").mkdir()
    (package / "doubtful/__init__.py").write_text("from .same import same as same\n")
    (package / "doubtful/same.py").write_text("def same(): pass\n")

    def run(code: str) -> str:
        head = (
            "import sys\nfrom agent.lazy_reexports import lazy_reexports\n"
            "def loaded(): return sorted(n for n in sys.modules if n.startswith('shop'))\n"
        )
        finished = subprocess.run(
            [sys.executable, "-c", head + code],
            cwd=tmp_path,
            env={"PYTHONPATH": f"{ROOT}:{tmp_path}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        return finished.stdout.strip()

    return run


def test_a_package_loads_nothing_by_itself(run_python: RunPython) -> None:
    assert run_python("with lazy_reexports('shop'): import shop\nprint(loaded())") == "['shop']"


def test_a_name_loads_the_module_that_it_comes_from(run_python: RunPython) -> None:
    told = run_python("with lazy_reexports('shop'): from shop import Apple\nprint(loaded())")
    assert told == "['shop', 'shop.apple']"


def test_a_name_is_the_object_of_its_module(run_python: RunPython) -> None:
    told = run_python(
        "with lazy_reexports('shop'): import shop\n"
        "first = shop.Seed\nimport shop.apple\nprint(first is shop.apple.Core is shop.Seed)"
    )
    assert told == "True"


def test_a_sub_package_is_as_lazy(run_python: RunPython) -> None:
    told = run_python("with lazy_reexports('shop'): import shop.inner\nprint(loaded())")
    assert told == "['shop', 'shop.inner']"


def test_a_name_through_two_packages_is_found(run_python: RunPython) -> None:
    told = run_python("with lazy_reexports('shop'): from shop import Pear\nprint(Pear.__module__)")
    assert told == "shop.inner.pear"


def test_a_submodule_is_an_attribute_without_being_imported(run_python: RunPython) -> None:
    told = run_python("with lazy_reexports('shop'): import shop\nprint(shop.inner.Pear.__name__)")
    assert told == "Pear"


def test_a_submodule_that_is_not_re_exported_can_be_imported(run_python: RunPython) -> None:
    told = run_python("with lazy_reexports('shop'): from shop import busy\nprint(busy.ready)")
    assert told == "True"


def test_a_name_that_does_not_exist_is_told_as_ever(run_python: RunPython) -> None:
    code = "try: from shop import Plum\nexcept ImportError as error: print(error)"
    lazily = run_python(f"finder = lazy_reexports('shop')\nfinder.__enter__()\n{code}")
    assert lazily == run_python(code)


def test_all_names_are_listed(run_python: RunPython) -> None:
    told = run_python("with lazy_reexports('shop'): import shop\nprint(dir(shop))")
    names = told.strip("[]'").split("', '")
    assert {n for n in names if not n.startswith("_")} == {
        "Apple",
        "Seed",
        "Pear",
        "annotations",
        "apple",
        "inner",
    }


def test_a_star_takes_what_is_public(run_python: RunPython) -> None:
    told = run_python(
        "with lazy_reexports('shop'): from shop import *\nprint(Apple, Pear, 'Seed' in globals())"
    )
    assert told == "<class 'shop.apple.Apple'> <class 'shop.inner.pear.Pear'> False"


def test_constants_and_second_names_are_no_work(run_python: RunPython, tmp_path: Path) -> None:
    (tmp_path / "shop/plain").mkdir()
    (tmp_path / "shop/plain/__init__.py").write_text(
        '"""Plain."""\nfrom shop.apple import Apple\nFruit = Apple\n'
        '__version__ = "1.0"\nlong = f"{__version__}-rc"\n'
    )
    told = run_python(
        "with lazy_reexports('shop'): import shop.plain as plain\n"
        "print(plain.__doc__, plain.long, loaded(), plain.Fruit is plain.Apple)"
    )
    assert told == "Plain. 1.0-rc ['shop', 'shop.plain'] True"


def test_a_packages_log_gets_its_handler(run_python: RunPython, tmp_path: Path) -> None:
    (tmp_path / "shop/logged").mkdir()
    (tmp_path / "shop/logged/__init__.py").write_text(
        "import logging\nfrom shop.apple import Apple\n"
        "logging.getLogger('shop').addHandler(logging.NullHandler())\n"
    )
    told = run_python(
        "with lazy_reexports('shop'): import shop.logged\n"
        "import logging\nprint(logging.getLogger('shop').handlers, loaded())"
    )
    assert told == "[<NullHandler (NOTSET)>] ['shop', 'shop.logged']"


@pytest.mark.parametrize(
    "more",
    [
        "made = Apple()",
        "Apple.color = 'red'",
        "text = f'{Apple}'",
        "table = {'apple': Apple}",
        "if Apple: made = 1",
        "if Apple == 1: made = 1",
        "if Apple in (1,): made = 1",
        "red: Apple = 1",
        "def made(): return Apple",
        "class Red(Apple): pass",
        "size = len('x')",
        "import sys",
        "from logging import *",
        "import logging\nlog = logging.getLogger('shop')",
        "from sys import *",
        "from .. import inner",
        "try: from .none import none\nexcept ImportError: none = 1",
    ],
)
def test_a_package_that_does_more_is_executed(
    run_python: RunPython, tmp_path: Path, more: str
) -> None:
    (tmp_path / "shop/busy/__init__.py").write_text(f"from shop.apple import Apple\n{more}\n")
    told = run_python(
        "with lazy_reexports('shop'): import shop.busy\nprint('Apple' in vars(shop.busy))"
    )
    assert told == "True"


def test_a_name_that_is_also_a_submodule_stays_what_it_is(run_python: RunPython) -> None:
    told = run_python(
        "with lazy_reexports('shop'): from shop import doubtful\n"
        "import shop.doubtful.same\nprint(type(doubtful.same).__name__)"
    )
    assert told == "function"


def test_other_packages_are_not_touched(run_python: RunPython) -> None:
    told = run_python("with lazy_reexports('shop.inner'): import shop\nprint(loaded())")
    assert told == "['shop', 'shop.apple', 'shop.inner', 'shop.inner.pear']"


def test_the_finder_leaves_with_the_block(run_python: RunPython) -> None:
    told = run_python("with lazy_reexports('shop'): pass\nimport shop\nprint(loaded())")
    assert told == "['shop', 'shop.apple', 'shop.inner', 'shop.inner.pear']"
