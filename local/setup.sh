#!/usr/bin/env bash
# Prepares this folder for `make run` and `make test`: .venv, the sandbox's tool, the session image.
# Each step does nothing when its work is done already. PYTHON=/path/to/python3.13 chooses a Python.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly UV_VERSION=0.13.9
readonly INSTALLED=.venv/.installed-from

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# step TITLE COMMAND...: run a command that may take long; its output is shown only if it fails.
step() {
    local title=$1 started_us=${EPOCHREALTIME/[.,]/} log ticker='' status=0
    shift
    log=$(mktemp)
    printf '%s ' "$title"
    if [[ -t 1 ]]; then
        (while sleep 1; do printf .; done) &
        ticker=$!
    fi
    "$@" >"$log" 2>&1 || status=$?
    [[ -z $ticker ]] || kill "$ticker"
    local took_ms=$(((${EPOCHREALTIME/[.,]/} - started_us) / 1000))
    if ((status)); then
        printf 'failed:\n' && cat "$log" >&2
    else
        printf '(%d.%d s)\n' $((took_ms / 1000)) $((took_ms % 1000 / 100))
    fi
    rm -f "$log"
    return "$status"
}

# A shim may exist and fail, and a python3 may be another version: only running it tells.
is_python_3_13() {
    "$@" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3.13 python3}; do
        if is_python_3_13 "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "Python 3.13 is needed and ${PYTHON:-neither python3.13 nor python3} is not it:" \
        "install it, or name one with PYTHON=/path/to/python3.13 make run."
}

# apt_install PACKAGE WHY: by apt as root or with a sudo that asks for no password.
apt_install() {
    local package=$1 why=$2 as_root=(env)
    if ((EUID != 0)); then
        if ! sudo -n true 2>/dev/null; then
            fail "$why Type: sudo apt-get install $package"
        fi
        as_root=(sudo -n env)
    fi
    command -v apt-get >/dev/null || fail "$why Install $package with your package manager."
    as_root+=(DEBIAN_FRONTEND=noninteractive apt-get -q)
    local install=("${as_root[@]}" install -y --no-install-recommends "$package")
    # A machine that never ran `apt-get update` does not know the package yet.
    "${install[@]}" || { "${as_root[@]}" update && "${install[@]}"; }
}

make_venv() {
    local python=$1
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        apt_install python3.13-venv "$python has no venv module."
    fi
    "$python" -m venv --clear .venv
}

install_requirements() {
    # uv is a fast pip; the pins are complete, so nothing has to be resolved (--no-deps).
    if .venv/bin/pip install -q --disable-pip-version-check "uv==$UV_VERSION"; then
        .venv/bin/uv pip install --python .venv --compile-bytecode --no-deps -r requirements-dev.txt
    else
        .venv/bin/pip install --disable-pip-version-check --no-deps -r requirements-dev.txt
    fi
}

prepare_venv() {
    if ! is_python_3_13 .venv/bin/python; then
        local python
        python=$(find_python)
        step "Making .venv with $python" make_venv "$python"
    fi
    local wanted
    wanted="$(cksum <requirements-dev.txt) uv $UV_VERSION"
    if [[ ! -f $INSTALLED || $(<"$INSTALLED") != "$wanted" ]]; then
        step "Installing requirements-dev.txt into .venv" install_requirements
        printf '%s\n' "$wanted" >"$INSTALLED"
    fi
}

prepare_sandbox() {
    [[ $(uname -s) == Linux ]] || fail "Sessions are isolated with Linux namespaces, which $(uname -s)" \
        "does not have: use a Linux machine (on Windows: WSL 2; on macOS: a virtual machine)."
    if ! command -v bwrap >/dev/null; then
        step "Installing bubblewrap" \
            apt_install bubblewrap "Sessions are isolated with bubblewrap, which is not installed."
    fi
    .venv/bin/python -m local.session_pool prepare
}

prepare_venv
prepare_sandbox
