"""A refusal to start says which option is missing; docs/development.md has the words."""

import pytest

from local.session_pool.sandbox.self_test import explain


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        # podman, its own seccomp profile
        (
            "bwrap: Can't set hostname to sandbox: Operation not permitted",
            "--security-opt seccomp=unconfined",
        ),
        # Docker's seccomp profile, an ordinary user
        (
            "bwrap: No permissions to create a new namespace, likely because the kernel does not",
            "--security-opt seccomp=unconfined",
        ),
        (
            "bwrap: No permissions to create new namespace, likely because the kernel does not",
            "--security-opt seccomp=unconfined",
        ),
        # Docker's seccomp profile, root with SYS_ADMIN
        ("bwrap: pivot_root: Operation not permitted", "--security-opt seccomp=unconfined"),
        # /proc masked
        (
            "bwrap: Can't mount proc on /proc: Operation not permitted",
            "--security-opt systempaths=unconfined",
        ),
        # an ordinary user in a container with --cap-add SYS_ADMIN
        ("bwrap: Unexpected capabilities but not setuid, old file caps config?", "--cap-add"),
        # Docker's AppArmor profile
        (
            "bwrap: Failed to make / slave: Permission denied",
            "--security-opt apparmor=unconfined",
        ),
        # root without SYS_ADMIN
        (
            "os.unshare(os.CLONE_NEWNS)\nPermissionError: [Errno 1] Operation not permitted",
            "--cap-add SYS_ADMIN",
        ),
        # a user whose hard limit of core files is 0
        ("pid 1: ValueError: not allowed to raise maximum limit", "`ulimit -Hc` is at least 1"),
    ],
)
def test_what_a_container_forbids_is_answered_with_the_option_that_allows_it(
    words: str, remedy: str
) -> None:
    assert remedy in explain(words)
    assert words in explain(words)


def test_unknown_words_are_shown_as_they_are() -> None:
    assert explain("bwrap: something new").endswith("bwrap: something new")
