"""What a start hook says of failures that nobody foresaw: xapi is not blamed for files."""

import socket
from pathlib import Path

import pytest
from sriovlib import hooks
from sriovlib.host import Host
from sriovlib.xapi import XapiFailure


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FileNotFoundError(2, "No such file or directory"), "SRIOV_XAPI_SILENT"),  # there is no socket
        (FileNotFoundError(2, "No such file or directory", "/sys/class/net"), "SRIOV_INTERNAL_ERROR"),
        (OSError(28, "No space left on device"), "SRIOV_INTERNAL_ERROR"),
        (socket.timeout("timed out"), "SRIOV_XAPI_SILENT"),
        (XapiFailure(["HOST_OFFLINE"]), "SRIOV_XAPI_SILENT"),
    ],
)
def test_xapi_is_not_blamed_for_files(tmp_path: Path, error: Exception, code: str) -> None:
    refusal = hooks._unforeseen(Host(str(tmp_path)), "vm-pre-start", error)
    assert (refusal.code, str(error) in refusal.message) == (code, True)
