"""The benchmarks: what they judge, when they refuse to, and that the Azure they use is read."""

import itertools
import subprocess
import sys
from importlib.util import find_spec

import pytest
from starlette.testclient import TestClient

from agent.session_pool.survey import Errand, read_survey, survey_code
from bench.fake_azure import FakeAzure
from bench.judging import (
    MET,
    MISSED,
    NOT_JUDGED,
    OtherWork,
    OwnWork,
    Target,
    busy_s,
    judge,
    waited_s,
)
from bench.layers import import_times, layer_of, module_layer
from bench.page import PAGES, parts_of, with_table
from tests.support import PROJECT


@pytest.mark.parametrize(
    ("values", "other_cores", "status", "words"),
    [
        ((1.9, 0.2), 0.25, MET, ["met", "met"]),
        ((1.9, 0.3), 0.0, MISSED, ["met", "MISSED"]),
        ((2.1, 0.3), 0.25, MISSED, ["MISSED", "MISSED"]),
        # A machine that did something else says nothing, neither good nor bad.
        ((1.9, 0.2), 0.26, NOT_JUDGED, ["unsure", "unsure"]),
        ((2.1, 0.3), 1.5, NOT_JUDGED, ["unsure", "unsure"]),
    ],
)
def test_targets_are_judged_on_a_quiet_machine_alone(
    capsys: pytest.CaptureFixture[str],
    values: tuple[float, float],
    other_cores: float,
    status: int,
    words: list[str],
) -> None:
    targets = [Target("warm", values[0], 2.0), Target("more", values[1], 0.25)]
    assert judge(targets, other_cores) == status
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed[:2]] == words
    assert f"other work on this machine: {other_cores:.2f} of " in printed[-1]


def test_other_work_is_what_neither_this_process_nor_its_children_did() -> None:
    clock, busy, own = iter([100.0, 110.0]), iter([50.0, 62.0]), iter([5.0, 9.0])
    machine = OtherWork(lambda: next(clock), lambda: next(busy), lambda: next(own))
    assert machine.cores() == pytest.approx(0.8)
    # Ticks are coarse: what is less than nothing is nothing.
    counts = itertools.count(1.0)
    assert OtherWork(lambda: next(counts), lambda: 1.0, lambda: next(counts)).cores() == 0


_WORK = "i=0; while [ $i -lt 50000 ]; do i=$((i + 1)); done"


def test_own_work_has_that_of_children_that_ended() -> None:
    own, machine_before = OwnWork(), busy_s()
    subprocess.run(["/bin/sh", "-c", _WORK], check=True)
    assert own() > 0
    assert busy_s() > machine_before


def test_own_work_has_that_of_processes_that_nobody_waits_for() -> None:
    own, before_s = OwnWork(), waited_s()
    if not own.counts_all:
        pytest.skip("Linux lets this user count nothing (kernel.perf_event_paranoid)")
    # As in a sandbox: Linux reaps the child of who ignores its end. `os.wait` says only that.
    program = (
        "import contextlib, os, signal, time\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "if os.fork() == 0:\n"
        "    while time.process_time() < 0.2: pass\n"
        "    os._exit(0)\n"
        "with contextlib.suppress(ChildProcessError): os.wait()"
    )
    subprocess.run([sys.executable, "-S", "-c", program], check=True)
    assert waited_s() - before_s < 0.2 < own()


def test_other_work_is_measured_by_itself() -> None:
    assert 0 <= OtherWork().cores() < 1000


def test_the_fake_pool_answers_a_survey_as_a_session_without_files() -> None:
    azure = FakeAzure(0, 0)
    code, mark = survey_code(Errand())
    with TestClient(azure.pool()) as pool:
        body = {"code": code}
        said = pool.post("/pool/executions", params={"identifier": "one"}, json=body).json()
    survey = read_survey(said["result"]["stdout"], mark, "guid")
    assert survey is not None
    assert (survey.files, survey.count) == ((), 0)
    assert (azure.calls["survey"], azure.calls["execute"]) == (1, 0)


def test_the_fake_model_calls_the_tool_in_each_turn_of_a_conversation() -> None:
    messages: list[dict[str, str]] = []
    reasons = []
    with TestClient(FakeAzure(0, 0).model()) as model:
        for _ in range(2):
            for role in ("user", "tool"):
                messages.append({"role": role, "content": "Hi"})
                url = "/openai/deployments/fake/chat/completions"
                answer = model.post(url, json={"messages": messages, "tools": []}).json()
                reasons.append(answer["choices"][0]["finish_reason"])
    assert reasons == ["tool_calls", "stop"] * 2


def test_the_fake_azure_tells_that_telemetry_came() -> None:
    azure = FakeAzure(0, 0)
    with TestClient(azure.identity()) as ingestion:
        said = ingestion.post("http://testserver//v2.1/track", json=[{}, {}]).json()
    with TestClient(azure.model()) as model:
        assert model.get("/calls").json()["telemetry"] == 1
    assert said["itemsAccepted"] == 2


def test_every_part_of_make_bench_exists() -> None:
    recipe = (PROJECT / "Makefile").read_text().partition("\nbench:")[2].partition("\n\n")[0]
    parts = recipe.partition("for part in ")[2].partition(";")[0].split()
    assert len(parts) == 6
    for part in parts:
        path = PROJECT / part.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), part


def test_a_table_of_a_part_goes_to_its_place_on_the_page() -> None:
    page = "# P\n<!-- bench -->\n| old |\n<!-- end -->\nText.\n<!-- bench.soak -->\n<!-- end -->\n"
    printed = "| | ours |\n|---|---|\n| warm | 2 |\n\nmet    warm: 2, at most 2\n"
    table = "| | ours |\n|---|---|\n| warm | 2 |\n"
    assert parts_of(page) == ["bench", "bench.soak"]
    assert with_table(page, "bench", printed) == page.replace("| old |\n", table)
    assert with_table(page, "bench", "what failed\n") == page
    with pytest.raises(ValueError, match=r"bench\.other"):
        with_table(page, "bench.other", printed)


def test_every_place_on_the_page_belongs_to_a_part_that_exists() -> None:
    parts = [part for page in PAGES for part in parts_of(page.read_text())]
    assert {"bench", "bench.streaming", "bench.layers", "bench.session_pool"} <= set(parts)
    assert [part for part in parts if find_spec(part) is None] == []


@pytest.mark.parametrize(
    ("file", "layer"),
    [
        (f"{PROJECT}/agent/model/call.py", "agent/model"),
        (f"{PROJECT}/local/functions_host/worker.py", "Functions host and worker"),
        ("/x/site-packages/openai/_base_client.py", "openai"),
        ("/x/site-packages/azure/functions/http.py", "Functions host and worker"),
        ("/x/site-packages/azure/identity/aio/__init__.py", "azure-identity"),
        ("/x/site-packages/typing_extensions.py", "pydantic"),
        ("/x/site-packages/openai_other/a.py", "other packages"),
        ("/usr/lib/python3.13/asyncio/events.py", "Python: asyncio and ssl"),
        ("/usr/lib/python3.13/json/decoder.py", "Python: rest"),
    ],
)
def test_each_file_has_its_layer(file: str, layer: str) -> None:
    assert layer_of(file) == layer


def test_import_times_are_those_of_each_module_alone() -> None:
    printed = (
        "import time: self [us] | cumulative | imported package\n"
        "import time:       120 |        120 |     pydantic.main\n"
        "import time:        30 |        150 | agent.settings\n"
    )
    assert dict(import_times(printed)) == {"pydantic.main": 120, "agent.settings": 30}
    assert [module_layer(module) for module, _ in import_times(printed)] == ["pydantic", "agent"]
