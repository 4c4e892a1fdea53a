#!/usr/bin/python3
"""Where sriovctl starts in dom0 and from the repository: /usr/bin/sriovctl is a link to this file."""

import os
import sys

_HERE = os.path.dirname(os.path.realpath(__file__))
_TREE = os.path.dirname(os.path.dirname(_HERE))  # the repository, or a version of the package
sys.path[0:1] = [os.path.join(_TREE, "scripts"), os.path.join(_TREE, "plugins")]

from sriovctl.start import main

if __name__ == "__main__":
    sys.exit(main())
