"""Lines of Prometheus's text format, which OpenMetrics has too (prometheus/docs, exposition_formats.md)."""

from typing import List, Sequence, Tuple

from .safetext import safe

Labels = Sequence[Tuple[str, str]]


def head(name: str, kind: str, described: str) -> List[str]:
    return [f"# HELP {name} {described}", f"# TYPE {name} {kind}"]


def sample(name: str, labels: Labels, value: int) -> str:
    return f"{name}{braced(labels)} {value}"


def braced(labels: Labels) -> str:
    """As they stand behind the name; nothing where there are none."""
    inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
    return f"{{{inside}}}" if labels else ""


def _escaped(value: str) -> str:
    """What a label's value cannot have as it is: one NUL, and Prometheus takes nothing of the file."""
    if value.isprintable() and '"' not in value and "\\" not in value:
        return value  # most are, and there are thousands every five seconds
    return safe(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
