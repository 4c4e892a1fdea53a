"""Runs what was typed: the words of the grammar, the client, errors as sentences, and the exit status."""

import argparse
import os
import signal
import sys
import time
from contextlib import suppress
from typing import Any, Callable, List, Optional, Sequence

from . import completion, grammar, output, seen_names, settings, terminal, undone
from .client import Client
from .command import Command
from .connection import Connection
from .errors import FAILED, USAGE, Failed, Usage
from .rollout.state import notice
from .start import INTERRUPTED


def main(argv: Optional[Sequence[str]] = None) -> int:
    terminal.reopened()
    sys.stdout, sys.stderr = terminal.in_utf8(sys.stdout), terminal.in_utf8(sys.stderr)
    _end_like_ctrl_c()
    argv = list(sys.argv[1:] if argv is None else argv)
    answered = completion.asked(argv, in_dom0)
    return run(argv, in_dom0()) if answered is None else answered


def _end_like_ctrl_c() -> None:
    """`kill`, `timeout` and a terminal that closes end a command as Ctrl-C does: what it has begun with a VM
    is put back. The shell of a closing terminal tells of it a second time, which is not to end that. Under
    nohup nothing is changed."""

    def interrupted(number: int, _frame: Any) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for name in ("SIGHUP", "SIGTERM"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, interrupted)


def in_dom0() -> bool:
    """Whether this is a host's control domain."""
    try:
        from . import local
    except ImportError:  # a system without fcntl
        return False
    return local.is_dom0()


def run(argv: List[str], local: bool) -> int:
    try:
        args = grammar.read(argv)
    except SystemExit as end:  # argparse has said why
        return int(end.code or 0)
    by_socket = local and not args.host and not args.pool
    client = Client(args, _local if by_socket else _remote, local)
    try:
        return _act(client, grammar.command(args.command), args)
    except Failed as failed:
        client.error(failed)
        return USAGE if isinstance(failed, Usage) else FAILED
    except KeyboardInterrupt:
        client.say("\nInterrupted.")
        return INTERRUPTED
    except BrokenPipeError:
        # Who read our output has enough. Python would complain when it flushes the rest.
        terminal.to_nowhere(sys.stdout)
        return FAILED
    except Exception as error:  # a bug of ours, or a pool that nobody foresaw
        client.error(unforeseen(args.command, error))
        return FAILED
    finally:
        _closed(client, by_socket)


def unforeseen(command: str, error: Exception) -> Failed:
    """Its traceback is for who reports it: SRIOV_DEBUG=1 shows it."""
    import traceback  # hardly ever wanted

    if os.environ.get("SRIOV_DEBUG"):
        traceback.print_exc()
    where = traceback.extract_tb(error.__traceback__)[-1]
    said = f"{type(error).__name__}: {error} ({os.path.basename(where.filename)}:{where.lineno})"
    return Failed(
        "INTERNAL_ERROR",
        f"`{command}` failed unexpectedly: {said}.",
        "Please report it, with what `SRIOV_DEBUG=1 sriovctl ...` shows.",
    )


def _closed(client: Client, by_socket: bool) -> None:
    with suppress(Exception, KeyboardInterrupt):  # completion knows less, and that is all
        if client.connected:
            key = seen_names.DOM0 if by_socket else settings.target(client.options).key
            seen_names.keep(key, client.pool)
    with suppress(Failed, KeyboardInterrupt):  # the session ends by itself
        client.close()


def _act(client: Client, command: Command, args: argparse.Namespace) -> int:
    if command.workstation and client.local:
        raise Failed(
            "NOT_IN_DOM0",
            f"`{command.name}` does not run in dom0: a program must not live on the host that it reboots.",
            "Run sriovctl on a workstation: `pipx install` of this repository, see docs/sriovctl.md.",
        )
    output.check(command.table(args), client.columns)  # before anything is changed
    if not args.watch:
        try:
            return command.run(client, args)
        finally:
            _tell_of_what_was_left(client, command)
    return _watch(client, lambda: command.run(client, args), args.interval)


def _tell_of_what_was_left(client: Client, command: Command) -> None:
    """A setup that is not over may have hosts out of service, a relocate that was killed a VM halted:
    whatever was asked, say so."""
    if not client.connected:
        return
    try:
        texts = [None if command.name == "setup" else notice(client.pool)]
        texts += undone.notices(client.pool, client.pool.record["other_config"])
    except Failed:  # what was asked has failed too, and said so
        return
    for text in filter(None, texts):
        client.warn(text)


def _watch(client: Client, look: Callable[[], int], seconds: float) -> int:
    """Until Ctrl-C. A look that fails is said, and the next one is tried."""
    while True:
        if sys.stdout.isatty():
            sys.stdout.write("\x1b[H\x1b[2J")
        try:
            look()
        except Usage:
            raise  # it would be no better understood the next time
        except Failed as failed:
            client.error(failed)
        sys.stdout.flush()
        time.sleep(seconds)
        client.pool.forget()


def _local(client: Client) -> Connection:
    from .local import Local

    return Local(client.longest)


def _remote(client: Client) -> Connection:
    from .login import connect

    return connect(client)
