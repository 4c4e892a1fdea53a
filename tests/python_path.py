"""Where the tests import from, for programs that pytest does not start: the imitation and the library.

pytest and mypy have the same folders from pyproject.toml.
"""

import os

_TESTS = os.path.dirname(os.path.abspath(__file__))
_PARTS = [
    "imitation",
    "imitation/xapi",
    "imitation/machine",
    "imitation/kernel",
    "imitation/commands",
    "pool",
    "../plugins",
    "../scripts",
]
FOLDERS = [os.path.join(_TESTS, part) for part in _PARTS]
