"""Proves every control inside a real sandbox before any code of a guest runs."""

import json

from pydantic import BaseModel, ValidationError

from local.session_pool.sandbox.guest import probe
from local.session_pool.sandbox.kernel_process import KernelDiedError, KernelStartError
from local.session_pool.sandbox.kernels import KernelSource

_APPARMOR = (
    "AppArmor restricts user namespaces (Ubuntu 23.10 and later): `sudo sysctl -w"
    " kernel.apparmor_restrict_unprivileged_userns=0`, or install the profile"
    " bwrap-userns-restrict"
)
# What bubblewrap says, and what helps.
_REMEDIES = (
    (
        "No space left on device",
        "user namespaces are used up or off: `sysctl user.max_user_namespaces`",
    ),
    (
        "No permissions to create ",  # "new namespace", in newer versions "a new namespace"
        "this system forbids user namespaces to ordinary users: `sudo sysctl -w"
        " kernel.unprivileged_userns_clone=1`, or in Docker `--security-opt seccomp=unconfined`",
    ),
    (
        "Can't set hostname",
        "this container's seccomp profile allows namespaces and not what is done in them: start it"
        " with `--security-opt seccomp=unconfined`",
    ),
    (
        "pivot_root: Operation not permitted",
        "this container's seccomp profile forbids pivot_root: start it with `--security-opt"
        " seccomp=unconfined`",
    ),
    (
        "Unexpected capabilities",
        "this container gives an ordinary user capabilities, which bubblewrap refuses: start it"
        " without `--cap-add`",
    ),
    (
        "Failed to make / slave",
        "AppArmor forbids mounts in this container: start it with `--security-opt"
        " apparmor=unconfined`",
    ),
    (
        "setting up uid map: Permission denied",
        _APPARMOR,
    ),
    (
        "Failed RTM_NEWADDR",
        _APPARMOR,
    ),
    (
        "Can't mount proc",
        "this container masks /proc: start it with `--security-opt systempaths=unconfined`",
    ),
    (
        "CLONE_NEWNS",
        "root of this container may not make namespaces: start it with `--cap-add SYS_ADMIN"
        " --security-opt seccomp=unconfined --security-opt apparmor=unconfined`",
    ),
    (
        "not allowed to raise maximum limit",
        "the size of core files is limited to 0 for this user, where Linux starts a program of this"
        " machine for every crash: start the pool where `ulimit -Hc` is at least 1",
    ),
    ("Unknown option", "this bubblewrap is too old: 0.8 or later is needed"),
)


class SandboxNotEnforcedError(Exception):
    """A control does not hold here, so no session starts."""


class Findings(BaseModel):
    """The probe's results: the name of each control and whether it holds."""

    controls: dict[str, bool]


async def prove(source: KernelSource) -> None:
    """Start a kernel, have it attempt what it must not be able to, and end it.

    Raises:
        SandboxNotEnforcedError: a control does not hold, with the reason and the remedy.
    """
    try:
        kernel = await source.spawn()
    except KernelStartError as error:
        raise SandboxNotEnforcedError(explain(str(error))) from error
    try:
        kernel.stdout.begin(1 << 16)
        await kernel.execute(probe.CODE)
        findings = Findings.model_validate(json.loads(kernel.stdout.take(1 << 16).text))
    except (KernelDiedError, ValidationError, ValueError) as error:
        output = kernel.stderr.take(1000).text
        raise SandboxNotEnforcedError(f"the sandbox's self-test did not run: {output}") from error
    finally:
        await kernel.kill()
        kernel.close()
    missing = sorted(set(probe.CONTROLS) - set(findings.controls))
    failed = sorted(name for name, holds in findings.controls.items() if not holds)
    if failed or missing:
        raise SandboxNotEnforcedError(
            f"the sandbox does not hold here: {', '.join(failed + missing)}."
            " No code is run without it."
        )


def explain(output: str) -> str:
    """Why no session starts, and which option or setting helps, where the words are known."""
    for words, remedy in _REMEDIES:
        if words in output:
            return f"sessions cannot be isolated here: {remedy} ({output[-300:]})"
    return f"sessions cannot be isolated here: {output[-1000:]}"
