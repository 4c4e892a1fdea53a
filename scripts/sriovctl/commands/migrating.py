"""Commands for the VFs of a running VM: it moves with them, is suspended and resumed, or goes on without."""

import argparse
from typing import Dict

from sriovlib.pool import GUEST_MOST_SECONDS, GUEST_SECONDS

from .. import migration, names
from ..client import Client
from ..command import Command, seconds
from ..errors import DONE, Failed
from ..output import Record
from .changing import PLACED, TAKEN, of_vm, placed, show_placed

# -- migrate -----------------------------------------------------------------------------------------------


def migrate(client: Client, args: argparse.Namespace) -> int:
    pool = client.pool
    vm, target = names.vm(pool, args.vm), names.host(pool, args.to)
    asked = {**guest_seconds(args), **allowed(args)}
    would = f"move VM {vm.name} to host {target.name} while it runs, with VFs there"
    with client.progress(f"Moving VM {vm.name}") as progress:
        answer = migration.migrate(pool, vm, target, progress.say, **asked, **client.dry)
    show_placed(client, vm, answer)
    if not (answer["changed"] or answer.get("would_change")):
        client.say(f"VM {vm.name} runs on host {target.name} already.")
        return DONE
    client.did(f"VM {vm.name} runs on host {target.name}. {_times(answer)}", would)
    return DONE


def _times(answer: Record) -> str:
    took = answer["seconds"]
    if not took:
        return ""
    return (
        f"It was without VFs for {took['without_vf']:.1f} s: {took['unplug']:.1f} s until its guest had let "
        f"them go, {took['copy']:.1f} s for the move, {took['plug']:.1f} s until it had the new ones."
    )


def guest_seconds(args: argparse.Namespace) -> Dict[str, str]:
    return {} if args.guest_timeout is None else {"timeout": f"{args.guest_timeout:.0f}"}


def allowed(args: argparse.Namespace) -> Dict[str, str]:
    asked = {}
    if args.network_gap:
        asked["network_gap"] = "allowed"
    if args.unconfirmed:
        asked["unconfirmed"] = "true"
    if args.force:
        asked["force"] = "true"
    return asked


def guest_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--guest-timeout",
        type=seconds(1, GUEST_MOST_SECONDS),
        metavar="SECONDS",
        help="that its guest may take to let its VFs go, "
        f"{GUEST_MOST_SECONDS} at most (default: {GUEST_SECONDS})",
    )


def _migrate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("vm", metavar="VM", help="a running VM with VFs")
    parser.add_argument("to", metavar="HOST", help="where it is to run")
    allowing_arguments(parser)
    guest_argument(parser)


def allowing_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--network-gap",
        action="store_true",
        help="also without a VIF in the networks of its VFs: its guest is without these meanwhile",
    )
    parser.add_argument(
        "--unconfirmed",
        action="store_true",
        help="also on a version of XCP-ng or XenServer on which nobody has confirmed that it works",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="also a VM that was started with platform:nomigrate, as earlier versions set it",
    )


# -- detach, attach ------------------------------------------------------------------------------------------


def detach(client: Client, args: argparse.Namespace) -> int:
    vm = names.vm(client.pool, args.vm)
    with client.progress(f"Detaching the VFs of VM {vm.name}") as progress:
        answer = migration.detach(client.pool, vm, progress.say, **guest_seconds(args))
    client.show(of_vm(vm, answer["detached"]), TAKEN)
    client.warnings(answer)
    client.say(
        f"VM {vm.name} runs on, without its VFs. `sriovctl attach {vm.uuid}` gives them back."
        if answer["changed"]
        else f"VM {vm.name} is without its VFs already."
    )
    return DONE


def attach(client: Client, args: argparse.Namespace) -> int:
    vm = names.vm(client.pool, args.vm)
    with client.progress(f"Attaching VFs to VM {vm.name}") as progress:
        answer = migration.attach(client.pool, vm, progress.say)
    _show_attached(client, vm, answer)
    if vm.record["power_state"] == "Suspended":
        client.say(_resumes(vm))
    elif not answer["changed"]:
        client.say("None of its VFs is detached, and no move of it is left to be ended.")
    return DONE


def _show_attached(client: Client, vm: names.Vm, answer: Record) -> None:
    client.show(placed(client, vm, answer["host_uuid"], answer["vfs"]), PLACED)
    client.warnings(answer)
    client.say(migration.attached(client.pool, vm, answer))


def _detach_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("vm", metavar="VM", help="a running VM with VFs")
    guest_argument(parser)


def _attach_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("vm", metavar="VM", help="a VM whose VFs are detached, or whose move was cut off")


# -- suspend, resume -----------------------------------------------------------------------------------------


def suspend(client: Client, args: argparse.Namespace) -> int:
    vm = names.vm(client.pool, args.vm)
    if vm.record["power_state"] == "Suspended":
        client.say(f"VM {vm.name} is suspended already. `sriovctl resume {vm.uuid}` resumes it.")
        return DONE
    with client.progress(f"Suspending VM {vm.name}") as progress:
        answer = migration.suspend(client.pool, vm, progress.say, **guest_seconds(args))
    client.warnings(answer)
    client.say(f"VM {vm.name} is suspended. {_resumes(vm)}")
    return DONE


def _resumes(vm: names.Vm) -> str:
    return (
        f"`sriovctl resume {vm.uuid}` resumes it, here or on another host, and gives it VFs by "
        "a move in its place, which takes `--unconfirmed` where `migrate` does."
    )


def resume(client: Client, args: argparse.Namespace) -> int:
    vm = names.vm(client.pool, args.vm)
    host = names.host(client.pool, args.on) if args.on else None
    if vm.record["power_state"] != "Suspended":
        state = vm.record["power_state"].lower()
        hint = "Only a suspended VM is resumed."
        if state == "running":
            hint += f" If it is without its VFs: `sriovctl attach {vm.uuid}`."
        raise Failed("VM_BAD_POWER_STATE", f"VM {vm.name} is {state}.", hint)
    with client.progress(f"Resuming VM {vm.name}") as progress:
        migration.resume(client.pool, vm, host, progress.say)
        try:
            answer = migration.attach(client.pool, vm, progress.say)
        except Failed as without:
            if without.code != "SRIOV_MOVED_WITHOUT_VF":
                raise
            try:
                answer = migration.renew(client.pool, vm, progress.say, **allowed(args))
            except Failed as failed:
                runs = f"VM {vm.name} is resumed, and runs without its VFs."
                raise Failed(failed.code, f"{runs} {failed.message}", _then(client, vm, failed)) from failed
    _show_attached(client, vm, answer)
    return DONE


def _then(client: Client, vm: names.Vm, failed: Failed) -> str:
    """The hint, and the command that gives a resumed VM its VFs: it cannot be resumed once more."""
    try:
        here = client.pool.host(client.pool.call("VM.get_resident_on", vm.ref))
    except Failed:  # what went wrong before says more
        here = None
    if here is None:
        return failed.hint
    again = f"`sriovctl migrate {vm.uuid} {names.word(client.pool, here)}`"
    return f"{failed.hint} Then {again} gives it VFs, with the same options as `resume`.".strip()


def _resume_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("vm", metavar="VM", help="a suspended VM")
    parser.add_argument("on", nargs="?", metavar="HOST", help="where (default: where xapi resumes it)")
    allowing_arguments(parser)


COMMANDS = [
    Command(
        "migrate",
        "move a running VM to another host, with VFs of that host",
        _migrate_arguments,
        migrate,
        changes=True,
        columns=PLACED,
    ),
    Command(
        "suspend",
        "suspend a VM with VFs: they are detached, and given back by resume",
        _detach_arguments,
        suspend,
    ),
    Command(
        "resume",
        "resume a VM that was suspended with `suspend`",
        _resume_arguments,
        resume,
        columns=PLACED,
    ),
    Command(
        "detach",
        "take the VFs of a running VM away, which runs on",
        _detach_arguments,
        detach,
        columns=TAKEN,
    ),
    Command(
        "attach",
        "give a running VM its VFs back, and end a move that was cut off",
        _attach_arguments,
        attach,
        columns=PLACED,
    ),
]
