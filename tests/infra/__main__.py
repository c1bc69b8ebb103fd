"""`python -m tests.infra`: write the snapshots anew, after a change to infra/ that was meant."""

import json
import sys
from pathlib import Path

from tests.infra.bicep import CONFIGURATIONS, HOW_TO_GET_IT, Bicep, find_compiler


def main() -> int:
    """Write every snapshot; print what failed."""
    compiler = find_compiler()
    if compiler is None:
        sys.stderr.write(f"{HOW_TO_GET_IT}\n")
        return 1
    results = Bicep(compiler).snapshots("overwrite")
    for configuration in CONFIGURATIONS:
        result = results[configuration.stem]
        if result.returncode == 0:
            _put_outputs_in_order(configuration.with_suffix(".snapshot.json"))
        told = "written" if result.returncode == 0 else f"{result.stdout}{result.stderr}"
        sys.stdout.write(f"{configuration.stem}: {told}\n")
    return max(result.returncode for result in results.values())


def _put_outputs_in_order(snapshot: Path) -> None:
    """Sort what the compiler writes in another order each time: a diff shows changes only."""
    content = json.loads(snapshot.read_text())
    content["outputs"] = dict(sorted(content["outputs"].items()))
    snapshot.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
