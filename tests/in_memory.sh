#!/usr/bin/env bash
# Runs a command whose temporary files are in memory, if there is room for them: the tests write and
# sync thousands, which on a disk takes a sixth of the CPU of those of the stores, and waits.
set -euo pipefail
readonly MEMORY=/dev/shm NEEDED_MIB=4096

free_mib=$(df --output=avail -B1M "$MEMORY" 2>/dev/null | tail -n 1 || true)
if ((${free_mib:-0} >= NEEDED_MIB)); then
    folder=$(mktemp -d "$MEMORY/tests.XXXXXX")
    trap 'rm -rf "$folder"' EXIT
    chmod 1777 "$folder" # like /tmp: some programs of tests run as another user
    printf '#!/bin/sh\n' >"$folder/probe"
    chmod +x "$folder/probe"
    # Docker mounts it without the right to execute what is in it.
    if "$folder/probe" 2>/dev/null; then
        export TMPDIR=$folder
    fi
fi
"$@"
