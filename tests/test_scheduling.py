from types import SimpleNamespace
from typing import Any

from tests.scheduling import FIRST, LongestFirst
from tests.support import PROJECT


class Process:
    """Stands for a process of xdist: keeps what it is told to run."""

    gateway = SimpleNamespace(id="")

    def __init__(self) -> None:
        self.told: list[int] = []
        self.shutting_down = False

    def send_runtest_some(self, indices: list[int]) -> None:
        self.told += indices

    def shutdown(self) -> None:
        self.shutting_down = True


def test_what_takes_longest_starts_first_and_a_folder_stays_in_one_process() -> None:
    collection = [
        *(f"tests/test_many.py::test_{number}" for number in range(9)),
        *(f"{FIRST[0]}test_a.py::test_it", f"{FIRST[0]}test_b.py::test_it"),
        *(f"{FIRST[1]}test_a.py::test_{number}" for number in range(4)),
    ]
    option = SimpleNamespace(loadscopereorder=True)
    config: Any = SimpleNamespace(getvalue=lambda name: ["2*popen"], option=option)
    processes: list[Any] = [Process(), Process()]
    scheduler = LongestFirst(config)
    for process in processes:
        scheduler.add_node(process)
        scheduler.add_node_collection(process, collection)
    scheduler.schedule()
    first, second = ([collection[index] for index in process.told] for process in processes)
    assert first[:2] == collection[9:11]
    assert second == collection[11:]
    # Two tests are few: the next unit waits behind them.
    assert first[2:] == collection[:9]


def test_each_unit_exists() -> None:
    for unit in FIRST:
        assert (PROJECT / unit).is_dir() if unit.endswith("/") else (PROJECT / unit).is_file()
