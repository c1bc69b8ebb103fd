"""The commands of docs/verify-on-azure.md run, and the local pool answers as the page expects."""

import asyncio
import re
import shutil
import subprocess

import pytest

from local.defaults import SESSION_POOL_AUDIENCES
from local.stack import LocalStack
from tests.infra.bicep import PROJECT

PAGE = (PROJECT / "docs/verify-on-azure.md").read_text()
QUESTIONS = PAGE.partition("## 4.")[2].partition("## 5.")[0]
FUNCTIONS = next(
    block for block in re.findall(r"```bash\n(.*?)```", QUESTIONS, re.DOTALL) if "pool()" in block
)


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

    async with LocalStack() as azure:
        setting = (
            f"token={azure.identity.mint(SESSION_POOL_AUDIENCES[0])}\n"
            f"POOL_MANAGEMENT_ENDPOINT={azure.app_settings['POOL_MANAGEMENT_ENDPOINT']}\n"
        )
        for question, commands, expected in rows():
            script = setting + definitions + "\n".join(commands)
            shell = await asyncio.to_thread(
                subprocess.run, ["/bin/bash", "-ec", script], capture_output=True, text=True
            )
            assert shell.returncode == 0, shell.stderr

            statuses = set(re.findall(r"^HTTP/\S+ (\d+)", shell.stdout, re.MULTILINE))
            assert statuses <= set(re.findall(r"\b[245]\d\d\b", expected) or ["200"]), question
            fragments = [squeezed(f.partition("…")[0]) for f in re.findall("`([^`]+)`", expected)]
            answer = squeezed(shell.stdout)
            assert not fragments or any(fragment in answer for fragment in fragments), question


def test_page_asks_about_a_dozen_and_more_things() -> None:
    assert len(rows()) >= 12
