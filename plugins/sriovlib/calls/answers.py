"""What a function returns, as the text of its answer."""

import json
from typing import Any

from ..safetext import safe


class JsonText(str):
    """An answer that is JSON already, as `as_json` writes it."""


def as_json(value: Any) -> str:
    """JSON in plain ASCII. Only a text with escapes in it can hold unsafe characters."""
    if isinstance(value, JsonText):
        return str(value)
    text = json.dumps(value)
    if "\x7f" in text or ("\\" in text and any(part in text for part in ("\\u", "\\b", "\\f", "\\r"))):
        return json.dumps(_safe_value(value))
    return text


def _safe_value(value: Any) -> Any:
    if isinstance(value, str):
        return safe(value)
    if isinstance(value, dict):
        return {safe(key): _safe_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_safe_value(item) for item in value]
    return value
