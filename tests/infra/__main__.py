"""`python -m tests.infra`: write the snapshots and the table of options in docs/deploy.md anew."""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.infra.options import DEPLOY_PAGE, options_table, with_table
from tests.support.bicep import CONFIGURATIONS, HOW_TO_GET_IT, INFRA, Bicep, find_compiler


def main() -> int:
    """Write every snapshot and the table; print what failed."""
    compiler = find_compiler()
    if compiler is None:
        sys.stderr.write(f"{HOW_TO_GET_IT}\n")
        return 1
    bicep = Bicep(compiler)
    compiled = bicep.run("build", INFRA / "main.bicep", "--stdout")
    if compiled.returncode != 0:
        sys.stderr.write(compiled.stderr)
        return 1
    table = options_table(json.loads(compiled.stdout))
    DEPLOY_PAGE.write_text(with_table(DEPLOY_PAGE.read_text(), table))
    with TemporaryDirectory() as folder:
        results = bicep.predict_all(compiled.stdout, Path(folder))
        for configuration in CONFIGURATIONS:
            result = results[configuration.stem]
            snapshot = configuration.with_suffix(".snapshot.json")
            if result.returncode == 0:
                _write_in_order((Path(folder) / snapshot.name).read_text(), snapshot)
            outcome = "written" if result.returncode == 0 else f"{result.stdout}{result.stderr}"
            sys.stdout.write(f"{configuration.stem}: {outcome}\n")
    return max(result.returncode for result in results.values())


def _write_in_order(text: str, snapshot: Path) -> None:
    """Sort what the compiler writes in another order each time: a diff shows changes only."""
    content = json.loads(text)
    content["outputs"] = dict(sorted(content["outputs"].items()))
    snapshot.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
