"""Which process of `make test` runs which tests, and in which order it gets them."""

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

# What takes longest starts first, or all would wait for it at the end. One process runs a whole
# folder whose tests share what is slow to start: the app's host, Chromium, Azurite, a package.
FIRST = (
    "tests/end_to_end/",
    "tests/page/",
    "tests/local/test_command_line.py",
    "tests/infra/",
    "tests/agent/conversations/",
    "tests/local/session_pool/sandbox/test_attacks.py",
    "tests/package/",
    "tests/contract/test_kernel_cells.py",
    "tests/local/functions_host/",
    "tests/contract/test_semantic_kernel_sessions.py",
    "tests/contract/test_session_pool_docs.py",
    "tests/local/azure_openai/",
    "tests/local/session_pool/sandbox/test_limits.py",
    "tests/local/session_pool/sandbox/test_kernel.py",
    "tests/local/session_pool/sandbox/test_memory.py",
    "tests/contract/test_langchain_sessions.py",
    "tests/local/session_pool/test_service.py",
    "tests/local/session_pool/sandbox/test_executions.py",
    "tests/test_operate.py",
    "tests/local/session_pool/files/test_files.py",
    "tests/contract/test_sessions_client.py",
    "tests/contract/test_openai_sdk.py",
    "tests/test_layout.py",
    "tests/local/session_pool/sandbox/test_outputs.py",
    "tests/agent/test_expressions.py",
    "tests/agent/model/test_lean_imports.py",
    "tests/agent/telemetry/test_exporting.py",
    "tests/agent/test_deferred_imports.py",
    "tests/local/test_tracing.py",
)


class LongestFirst(LoadFileScheduling):
    """Hands out the units of `FIRST`, then files, those with most tests first."""

    def _split_scope(self, nodeid: str) -> str:
        listed = (unit for unit in FIRST if nodeid.startswith(unit))
        return next(listed, nodeid.split("::")[0])

    def _assign_work_unit(self, node: WorkerController) -> None:
        for unit in FIRST:
            if unit in self.workqueue:
                self.workqueue.move_to_end(unit, last=False)
                break
        super()._assign_work_unit(node)
