"""Starts sriovctl. Loading it takes a moment, in which Ctrl-C is to end it without a traceback too."""

INTERRUPTED = 130  # as a shell reports a program that SIGINT ended


def main() -> int:
    try:
        from .main import main as run
    except KeyboardInterrupt:
        return INTERRUPTED
    return run()
