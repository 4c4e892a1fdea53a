"""Starts a program whose first line has `-I` or `-S`, with them, in the machine that is measured: Python
then imports no sitecustomize, so this does it."""

import os
import sys

del sys.argv[0]
before = list(sys.path)
sys.path[:0] = os.environ["PYTHONPATH"].split(os.pathsep)
__import__("sitecustomize")

sys.path[:] = before
with open(sys.argv[0], "rb") as file:
    code = compile(file.read(), sys.argv[0], "exec")
exec(code, {"__name__": "__main__", "__file__": sys.argv[0]})
