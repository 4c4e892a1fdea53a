"""Where the tests find the library and the fake machine."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in (os.path.join(HERE, "pool"), os.path.join(os.path.dirname(HERE), "plugins")):
    if folder not in sys.path:
        sys.path.insert(0, folder)
