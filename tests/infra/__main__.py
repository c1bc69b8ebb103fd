"""`python -m tests.infra`: write the snapshots anew, after a change to infra/ that was meant."""

import sys

from tests.infra.bicep import HOW_TO_GET_IT, Bicep, find_compiler


def main() -> int:
    """Write every snapshot; print what failed."""
    compiler = find_compiler()
    if compiler is None:
        sys.stderr.write(f"{HOW_TO_GET_IT}\n")
        return 1
    results = Bicep(compiler).snapshots("overwrite")
    for name, result in results.items():
        sys.stdout.write(f"{name}: {'written' if result.returncode == 0 else result.stderr}\n")
    return max(result.returncode for result in results.values())


if __name__ == "__main__":
    raise SystemExit(main())
