"""Modules here import each other by their plain names: most also run as programs, or in a dom0's Python."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
