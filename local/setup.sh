#!/usr/bin/env bash
# Prepares this folder for `make run` and `make test`: .venv, the sandbox's tool, the session image.
# `local/setup.sh tests` also gets what only tests need: node, for Azurite.
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
    local candidate candidates=(python3.13 python3)
    [[ -z ${PYTHON:-} ]] || candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        if is_python_3_13 "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "Python 3.13 is needed, and ${PYTHON:-what python3.13 or python3 starts} is not it:" \
        "install it, or name one with PYTHON=/path/to/python3.13 make run."
}

# apt_install PACKAGE WHY: by apt as root or with a sudo that asks for no password.
apt_install() {
    local package=$1 why=$2 as_root=(env)
    command -v apt-get >/dev/null || fail "$why: install $package with your package manager."
    if ((EUID != 0)); then
        sudo -n true 2>/dev/null || fail "$why. Type: sudo apt-get install $package"
        as_root=(sudo -n env)
    fi
    as_root+=(DEBIAN_FRONTEND=noninteractive apt-get -q)
    step "Installing $package" apt_get "$package" "${as_root[@]}"
}

# apt_get PACKAGE COMMAND...: a machine that never ran `apt-get update` may not know the package.
apt_get() {
    local package=$1
    shift
    local install=("$@" install -y --no-install-recommends "$package")
    "${install[@]}" || { "$@" update && "${install[@]}"; }
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
        "$python" -c 'import ensurepip, venv' 2>/dev/null ||
            apt_install python3.13-venv "$python cannot make a .venv"
        step "Making .venv with $python" "$python" -m venv --clear .venv
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
    command -v bwrap >/dev/null ||
        apt_install bubblewrap "Sessions are isolated with bubblewrap, which is not installed"
    .venv/bin/python -m local.session_pool prepare
}

prepare_tests() {
    if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
        apt_install npm "The tests of the blob store run Azurite, which needs node and npm"
    fi
    # Playwright's own browsers are downloads; a distribution's Chromium does as well.
    if ! command -v chromium-headless-shell >/dev/null && ! command -v chromium >/dev/null; then
        local browser=chromium
        # Where it can be had without windows, it takes a fifth less CPU.
        ! grep -qx 'ID=debian' /etc/os-release 2>/dev/null || browser=chromium-headless-shell
        apt_install "$browser" "The tests of the chat page drive Chromium"
    fi
    if [[ ! -f /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf ]]; then
        apt_install fonts-dejavu-core "The stored pictures of the chat page are in DejaVu Sans"
    fi
}

prepare_venv
prepare_sandbox
[[ ${1:-} != tests ]] || prepare_tests
