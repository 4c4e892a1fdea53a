"""Why VMs' custom field is not kept, or not shown, though somebody asks for it. Pure."""

from typing import Iterator

from ...safetext import line
from .. import FIELD_DEFINITIONS, FIELD_WISH
from .view import Conflict, Seen

CODE = "CONFIG_ERROR"
_POOL = "uuid=$(xe pool-list --minimal)"


def not_understood(seen: Seen) -> Iterator[Conflict]:
    wish = seen.state.field_wish
    if wish is None:
        return
    from .. import custom_field  # its patterns take time to compile, and few pools have the key

    wanted = custom_field.is_wanted(wish)
    if wanted is None:
        yield Conflict(
            CODE,
            f"pool.other_config:{FIELD_WISH} is `{line(wish, 80)}`, and takes yes or no: the custom field of "
            "VMs stays as it is.",
            f"`xe pool-param-set {_POOL} other-config:{FIELD_WISH}=yes` has it kept, `no` in its place taken "
            f"away; `xe pool-param-remove {_POOL} param-name=other-config param-key={FIELD_WISH}` leaves it "
            "as it is.",
            [],
        )
    elif wanted and custom_field.with_ours(seen.state.field_definitions) is None:
        yield Conflict(
            CODE,
            f"pool.gui_config:{FIELD_DEFINITIONS} is not as XenCenter writes it, so XenCenter does not show "
            "VMs' VFs as their custom field.",
            "Correct its XML; or take it out, and with it XenCenter's definitions of all custom fields: "
            f"`xe pool-param-remove {_POOL} param-name=gui-config param-key={FIELD_DEFINITIONS}`.",
            [],
        )
