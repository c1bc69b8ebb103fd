"""The commands of docs/verify-on-azure.md run, and the local pool answers as the page expects."""

import asyncio
import re
import shutil
import subprocess

import pytest

from local.defaults import SESSION_POOL_AUDIENCES
from local.session_pool import PoolOptions
from local.stack import LocalStack
from tests.support import PROJECT

PAGE = (PROJECT / "docs/verify-on-azure.md").read_text()
QUESTIONS = PAGE.partition("## 4.")[2].partition("## 5.")[0]
FUNCTIONS = next(
    block for block in re.findall(r"```bash\n(.*?)```", QUESTIONS, re.DOTALL) if "pool()" in block
)

# Question of the page → status codes of the local pool's answers, in order.
STATUSES = {
    "Is Session Executor enough, without Contributor?": ["200"],
    "Status code of an execution": ["200"],
    "An unknown api-version": ["401"],
    "A wrapped body": ["400"],
    "Code that raises": ["200"],
    "Code over its time": ["200"],
    "State after that": ["200", "200"],
    "Out of memory": ["200"],
    "Does any request reset the cooldown?": ["200"],
    "Streams without a limit given": ["200"],
    "Values": ["200"],
    "A figure": ["200"],
    "All outputs of a cell": ["200"],
    "A file that is not there": ["404", "404"],
    "A session that is not there": ["204", "400"],
    "A new session after that": ["200"],
    "Does a list of files allocate?": ["204", "200", "200"],
    "The network": ["200"],
    "Python and packages of the image": ["200"],
}


def rows() -> list[tuple[str, list[str], str]]:
    """Question, commands and expectation of each row that has commands for the pool."""
    found = []
    for line in QUESTIONS.splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if len(cells) == 3:
            commands = re.findall(r"`((?:execute|pool) [^`]+)`", cells[1])
            found += [(cells[0], commands, cells[2])] if commands else []
    return found


def squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)


async def test_local_pool_answers_each_question_as_the_page_expects_of_azure() -> None:
    missing = [tool for tool in ("bash", "curl", "jq") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"the commands of the page need {', '.join(missing)}")
    _, _, definitions = FUNCTIONS.partition("\n")  # without the line that asks Azure for a token

    async with LocalStack(pool=PoolOptions(preload=())) as azure:
        setting = (
            f"token={azure.identity.mint(SESSION_POOL_AUDIENCES[0])}\n"
            f"POOL_MANAGEMENT_ENDPOINT={azure.app_settings['POOL_MANAGEMENT_ENDPOINT']}\n"
        )
        answered = {}
        for question, commands, expected in rows():
            script = setting + definitions + "\n".join(commands)
            shell = await asyncio.to_thread(
                subprocess.run, ["/bin/bash", "-ec", script], capture_output=True, text=True
            )
            assert shell.returncode == 0, shell.stderr

            statuses = re.findall(r"HTTP/1\.1 (\d{3}) ", shell.stdout)
            answered[question] = statuses
            assert set(statuses) <= set(re.findall(r"\b[245]\d\d\b", expected) or ["200"]), question
            fragments = [squeezed(f.partition("…")[0]) for f in re.findall("`([^`]+)`", expected)]
            assert "" not in fragments, question
            answer = squeezed(shell.stdout)
            assert not fragments or any(fragment in answer for fragment in fragments), question
    assert answered == STATUSES
