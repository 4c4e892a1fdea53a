"""Digests are those of hashlib, whatever Python was built with."""

import hashlib
import sys
from typing import List

import pytest
from sriovlib import digest


@pytest.mark.parametrize("left_out", [[], ["_sha2", "_sha256"]], ids=["own", "openssl"])
def test_sha256_is_that_of_hashlib(left_out: List[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in left_out:
        monkeypatch.setitem(sys.modules, name, None)  # import raises ModuleNotFoundError
    for data in (b"", b"sriov 1", bytes(range(256)) * 5):
        assert digest.sha256(data) == hashlib.sha256(data).digest()
