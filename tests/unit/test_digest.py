"""Digests are those of BLAKE3, in a forked child too."""

from __future__ import annotations

import os
import signal

import pytest
from blake3 import blake3

from jupyter_fx.digest import digest, digest_parts

LARGE = bytes(range(256)) * 16384


@pytest.mark.parametrize("data", [b"", b"abc", LARGE])
def test_a_digest_is_that_of_all_the_bytes(data: bytes) -> None:
    assert digest(data) == digest_parts([data[:7], data[7:]]) == blake3(data).hexdigest()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_wait_for_threads_that_were_not_forked() -> None:
    known = digest(LARGE)  # starts BLAKE3's threads
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        try:
            os.write(write, f"{digest(LARGE)} {digest_parts([LARGE])}".encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        said = file.read()
    os.waitpid(pid, 0)
    assert said == f"{known} {known}"
