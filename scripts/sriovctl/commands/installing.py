"""install: the package brought to hosts and installed there, over ssh."""

import argparse
import os
import re
import shlex
import subprocess
from typing import List, NamedTuple, Optional

from sriovlib.safetext import plural, safe

from .. import names
from ..client import Client
from ..command import Command
from ..command import hosts as hosts_argument
from ..errors import Failed, Usage
from ..output import Record, by_key
from ..pool import Host

PACKAGE = "xapi-sriov"
FOLDER = "/var/tmp"  # of dom0, where the file is until it is installed
_LEAD = b"\xed\xab\xee\xdb"  # the first bytes of an RPM (rpm: lib/rpmlead.c)
# A host that hangs, or a network that is gone, ends it after a minute.
SSH_OPTIONS = ["-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"]
_LOST = 255  # ssh's own exit status; any other is that of the command there


class Step(NamedTuple):
    """What is to be done on one host; `before` is the version that it has."""

    host: Host
    before: Optional[str]
    after: str

    @property
    def is_needed(self) -> bool:
        return self.before != self.after


INSTALLED = (
    by_key("NAME", "host"),
    by_key("BEFORE", "before"),
    by_key("AFTER", "after"),
    by_key("CHANGED", "changed"),
)


def version_of(path: str) -> str:
    """VERSION-RELEASE of the file, from the name in its lead: 66 bytes from the tenth on."""
    try:
        with open(path, "rb") as file:
            lead = file.read(96)
    except OSError as error:
        raise Failed(
            "NO_FILE", f"{safe(path)} cannot be read: {error.strerror}.", "Give the RPM's file."
        ) from error
    name = lead[10:76].split(b"\0")[0].decode("ascii", "replace")
    if not lead.startswith(_LEAD) or not re.fullmatch(
        PACKAGE + r"-[A-Za-z0-9.+~^_]+-[A-Za-z0-9.+~^_]+", name
    ):
        raise Failed(
            "NOT_THE_PACKAGE", f"{safe(path)} is no RPM of {PACKAGE}.", f"Its name begins with {PACKAGE}-."
        )
    return name[len(PACKAGE) + 1 :]


def install(client: Client, args: argparse.Namespace) -> int:
    after = version_of(args.rpm)
    hosts = names.hosts(client.pool, args.hosts)
    # The master first: it has never an older one than a member.
    hosts.sort(key=lambda host: (not host.master, host.name))
    planned = client.each(
        hosts, lambda host: host.name, lambda host: Step(host, installed(args, host), after)
    )
    steps: List[Step] = planned.results
    needed = [step for step in steps if step.is_needed]
    for step in steps:
        there = "is there already" if not step.is_needed else f"{step.before or 'not installed'} -> {after}"
        client.say(f"{step.host.name} ({step.host.address}): {there}")
    if needed:
        client.say("On each of them, as root over ssh:")
        client.say(f"  {_shown(remote_install(after))}")
    if not needed or args.dry_run:
        client.show([_row(step, False) for step in steps], INSTALLED)
        if needed:
            client.say("Nothing was changed (--dry-run).")
        elif steps:
            client.say("Nothing is to be done." if len(steps) == len(hosts) else "Nothing was changed.")
        return planned.status
    if not client.confirm(f"Install {PACKAGE} {after} on {len(needed)} of {plural(len(hosts), 'host')}?"):
        raise Failed("DECLINED", "Nothing was installed.", "")
    done = client.each(needed, lambda step: step.host.name, lambda step: _install_on(client, args, step))
    same = [_row(step, False) for step in steps if not step.is_needed]
    client.show([*done.results, *same], INSTALLED)
    return max(planned.status, done.status)


def _row(step: Step, changed: bool) -> Record:
    return {"host": step.host.name, "before": step.before, "after": step.after, "changed": changed}


def installed(args: argparse.Namespace, host: Host) -> Optional[str]:
    """VERSION-RELEASE of what is installed there, or None. It stands in the last line: a shell there may
    greet first. rpm ends with 1 also where it cannot tell, as with a broken database."""
    query = ["env", "LC_ALL=C", "rpm", "--query", "--queryformat", "%{VERSION}-%{RELEASE}", PACKAGE]
    done = _ssh(args, host, query)
    if done.returncode == _LOST:
        raise _unreachable(host, done)
    if done.returncode == 0:
        return done.stdout.strip().rpartition("\n")[2].strip()
    if "is not installed" in done.stdout:
        return None
    raise Failed(
        "NO_VERSION",
        f"rpm on host {host.name} does not say what is installed: {_last(done)}",
        "Is it a host of the pool? `rpm --rebuilddb` there mends a broken database.",
    )


def remote_install(version: str) -> List[str]:
    # --oldpackage: a version may be taken back
    return ["rpm", "--upgrade", "--oldpackage", "--replacepkgs", _there(version)]


def _there(version: str) -> str:
    """Not as the file is called here: what a name may have is a shell's there, and a colon is scp's."""
    return f"{FOLDER}/{PACKAGE}-{version}.noarch.rpm"


def _install_on(client: Client, args: argparse.Namespace, step: Step) -> Record:
    host, there = step.host, _there(step.after)
    with client.progress(f"installing on {host.name}") as progress:
        progress.say("copying")
        to = f"{_login(args, host, scp=True)}:{there}"
        copied = _run([*_program(args.scp), *_options(args), "--", os.path.abspath(args.rpm), to])
        try:
            if copied.returncode != 0:
                raise _not_copied(host, copied)
            progress.say("installing")
            done = _ssh(args, host, remote_install(step.after))
        finally:  # also a file of which only half found room
            if copied.returncode != _LOST:
                _ssh(args, host, ["rm", "-f", there])
    if done.returncode == _LOST:
        raise Failed(
            "NO_SSH",
            f"The connection to host {host.name} ended while rpm was at work there: {_last(done)}",
            "Call again: it looks what is installed now.",
        )
    if done.returncode != 0:
        raise Failed(
            "INSTALL_FAILED",
            f"rpm on host {host.name} failed: {_last(done)}",
            "The host has what it had before; mend that, then call again.",
        )
    now = installed(args, host)
    if now != step.after:
        raise Failed(
            "INSTALL_FAILED", f"Host {host.name} has {now or 'no'} {PACKAGE} afterwards.", "See its log."
        )
    return _row(step, True)


def _ssh(args: argparse.Namespace, host: Host, command: List[str]) -> "subprocess.CompletedProcess[str]":
    return _run([*_program(args.ssh), *_options(args), "--", _login(args, host), _shown(command)])


def _options(args: argparse.Namespace) -> List[str]:
    """With --no-input ssh asks neither for a password nor whether a host's key is right."""
    return [*SSH_OPTIONS, *(["-o", "BatchMode=yes"] if args.no_input else [])]


def _program(text: str) -> List[str]:
    return shlex.split(text)


def _login(args: argparse.Namespace, host: Host, scp: bool = False) -> str:
    address = f"[{host.address}]" if scp and ":" in host.address else host.address
    return f"{args.ssh_user}@{address}"


def _shown(command: List[str]) -> str:
    """For the shell there, each word quoted."""
    return " ".join(map(shlex.quote, command))


def _run(command: List[str]) -> "subprocess.CompletedProcess[str]":
    """ssh asks for a password on the terminal by itself. Our standard input is not its: it would swallow the
    list of hosts of a loop in a script."""
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            errors="replace",
        )
    except OSError as error:
        raise Usage(
            f"{command[0]} cannot be run: {error.strerror}.", "Install the OpenSSH client."
        ) from error


def _unreachable(host: Host, done: "subprocess.CompletedProcess[str]") -> Failed:
    return Failed(
        "NO_SSH",
        f"No ssh to host {host.name} ({host.address}): {_last(done)}",
        "Check that you may log in there by ssh; xsconsole turns the remote shell on and off.",
    )


def _not_copied(host: Host, done: "subprocess.CompletedProcess[str]") -> Failed:
    if done.returncode == _LOST:
        return _unreachable(host, done)
    return Failed(
        "NOT_COPIED",
        f"The file could not be copied to host {host.name} ({host.address}): {_last(done)}",
        f"Is there room in {FOLDER}? In its dom0: `df {FOLDER}`. Or may you not log in by scp?",
    )


def _last(done: "subprocess.CompletedProcess[str]") -> str:
    lines = (done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}").splitlines()
    return safe(lines[-1])


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("rpm", metavar="RPM", help=f"the file of the package, {PACKAGE}-VERSION.noarch.rpm")
    hosts_argument(parser)
    parser.add_argument(
        "--ssh-user", default="root", metavar="USER", help="who logs in there (default: root)"
    )
    parser.add_argument("--ssh", default="ssh", metavar="COMMAND", help="instead of ssh, with its options")
    parser.add_argument("--scp", default="scp", metavar="COMMAND", help="instead of scp, with its options")


COMMANDS = [
    Command(
        "install",
        "bring the package to hosts, over ssh",
        _arguments,
        install,
        changes=True,
        workstation=True,
        columns=INSTALLED,
    )
]
