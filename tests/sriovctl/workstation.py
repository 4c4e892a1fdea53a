"""What only a workstation has: dom0 of XCP-ng 8.3 has an older Python, and none of the packages."""

import sys

import pytest

ONLY = pytest.mark.skipif(sys.version_info < (3, 9), reason="a workstation has Python 3.9 or newer")
