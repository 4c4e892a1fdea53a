"""Lines of Prometheus's text format, which OpenMetrics has too (prometheus/docs, exposition_formats.md)."""

from typing import List, Sequence, Tuple

from .safetext import safe

Labels = Sequence[Tuple[str, str]]


def head(name: str, kind: str, described: str) -> List[str]:
    return [f"# HELP {name} {described}", f"# TYPE {name} {kind}"]


def sample(name: str, labels: Labels, value: int) -> str:
    inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
    return f"{name}{{{inside}}} {value}" if labels else f"{name} {value}"


def _escaped(value: str) -> str:
    """What a label's value cannot have as it is: one NUL, and Prometheus takes nothing of the file."""
    return safe(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
