"""A dom0 that only needs reading: a small tree made with pyfakefs, and what its commands print."""

from typing import Dict, List, Optional, Sequence, Union

from sriovlib.machine.command import COMMAND_SECONDS, NOT_FOUND, Completed, Running
from sriovlib.machine.host import Host


class _Ended(Running):
    def __init__(self, answer: Completed) -> None:
        self._failed = answer
        self._trace = None


class SmallDom0(Host):
    """`says`: a command's name, or its whole line, and what it prints, or its exit status. Others are not
    there. `ran`: the commands that were run."""

    def __init__(self, says: Optional[Dict[str, Union[str, int]]] = None) -> None:
        super().__init__()
        self.says = says or {}
        self.ran: List[str] = []

    def start(self, argv: Sequence[str], input_text: Optional[str] = None) -> Running:
        assert input_text is None
        line = " ".join(argv)
        self.ran.append(line)
        said = self.says.get(line, self.says.get(argv[0], NOT_FOUND))
        if isinstance(said, str):
            return _Ended(Completed(argv, 0, said, ""))
        return _Ended(Completed(argv, said, "", "refused"))

    def run(
        self, argv: Sequence[str], seconds: float = COMMAND_SECONDS, input_text: Optional[str] = None
    ) -> Completed:
        return self.start(argv, input_text).finish(seconds)
