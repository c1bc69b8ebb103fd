# Two commands do all the set-up: `make run` and `make test`.

LOCK := uv pip compile --quiet --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
	--python-version 3.13 --python-platform x86_64-manylinux_2_28

.PHONY: lock
lock: ## Write the exact pins from pyproject.toml.
	.venv/bin/$(LOCK) pyproject.toml -o requirements.txt
	.venv/bin/$(LOCK) pyproject.toml --group test -c requirements.txt -o requirements-dev.txt
