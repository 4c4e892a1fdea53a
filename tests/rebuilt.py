"""Another build of the library, for tests of what one build keeps for itself."""

import os
from typing import Iterable

import pytest
from sriovlib import digest


def rebuilt(patch: pytest.MonkeyPatch, module: str) -> None:
    """This module has been built anew. `module`: its path in the library."""
    of_files = digest._of_files

    def of_another(paths: Iterable[str]) -> str:
        found = list(paths)
        is_there = any(os.path.samefile(path, f"{digest._LIBRARY}/{module}") for path in found)
        return of_files(found) + (" anew" if is_there else "")

    patch.setattr(digest, "_of_files", of_another)
