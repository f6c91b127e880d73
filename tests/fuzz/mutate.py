"""Random changes to files: of what they say (JSON, TOML), and of their bytes."""

import json
import random
from typing import Any

__all__ = ["change_bytes", "change_json", "change_toml"]

ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    -(2**63),
    10**12,
    10**30,
    0.5,
    -0.0,
    1e308,
    "",
    "x",
    "../x",
    "/etc/passwd",
    "a\nb",
    "\x00",
    "m.py:f",
    "$(touch x) [exec touch x] <script>",
    "é" * 100,
    "long" * 10_000,
    [],
    {},
    [[]],
    [-1],
    {"a": 1},
    [0] * 5000,
)
TOKENS = (
    "-1",
    "0",
    "1e12",
    "nan",
    "inf",
    "true",
    '""',
    '"../x"',
    "[]",
    "{}",
    "[[[[",
    "'''",
    '"a\\nb"',
    "10000000000000",
)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container of a tree with each of its keys."""
    found = []
    waiting = [value]
    while waiting:
        here = waiting.pop()
        keys = list(here) if isinstance(here, dict) else range(len(here)) if isinstance(here, list) else ()
        for key in keys:
            found.append((here, key))
            waiting.append(here[key])
    return found


def _change_tree(value: Any, source: random.Random) -> None:
    places = _places(value)
    if not places:
        return
    where, key = source.choice(places)
    kind = source.randrange(6)
    if kind == 0:
        del where[key]
    elif kind == 1:
        other, name = source.choice(places)
        where[key] = json.loads(json.dumps(other[name] if name in other or isinstance(other, list) else None))
    elif kind == 2 and isinstance(where[key], int | float):
        where[key] = where[key] * source.choice((-1, 0, 2, 0.5, 1 << 40)) + source.choice((0, 1, -1, 4096))
    elif kind == 3 and isinstance(where, dict):
        where[str(source.choice(ODD))[:100]] = where.pop(key)
    elif kind == 4 and isinstance(where, list):
        where.append(where[key])
    else:
        where[key] = json.loads(json.dumps(source.choice(ODD)))


def change_json(text: str, source: random.Random) -> bytes:
    """A JSON text of which one to three things are otherwise; now and then its bytes."""
    if source.randrange(5) == 0:
        return change_bytes(text.encode(), source)
    if source.randrange(50) == 0:
        return source.choice((b"[", b'{"a":', b"-", b'"')) * source.choice((10, 100_000))
    value = json.loads(text)
    for _ in range(source.randint(1, 3)):
        try:
            _change_tree(value, source)
        except (IndexError, OverflowError):  # of a place that an earlier change took away
            continue
    return json.dumps(value).encode("utf-8", "surrogatepass")


def change_toml(text: str, source: random.Random) -> bytes:
    """A TOML text with lines dropped, doubled, swapped, or of other values; now and then its bytes."""
    if source.randrange(5) == 0:
        return change_bytes(text.encode(), source)
    if source.randrange(50) == 0:
        return text.encode() + b"\nx = " + source.choice((b"[", b"{a=", b'"""', b"'")) * source.choice((10, 100_000))
    lines = text.splitlines()
    for _ in range(source.randint(1, 3)):
        at = source.randrange(len(lines))
        kind = source.randrange(5)
        if kind == 0 and len(lines) > 1:
            del lines[at]
        elif kind == 1:
            lines.insert(at, source.choice(lines))
        elif "=" in lines[at]:
            name, _, value = lines[at].partition("=")
            odd = json.dumps(str(source.choice(ODD))) if kind == 2 else source.choice(TOKENS)
            lines[at] = f"{name}={odd if kind < 4 else value + odd}"
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def change_bytes(data: bytes, source: random.Random) -> bytes:
    """A file with bytes flipped, cut, doubled or put in."""
    changed = bytearray(data)
    for _ in range(source.randint(1, 4)):
        at = source.randrange(len(changed) + 1)
        kind = source.randrange(5)
        if kind == 0:
            del changed[at:]
        elif kind == 1:
            del changed[at : at + source.randint(1, 64)]
        elif kind == 2:
            changed[at:at] = source.randbytes(source.randint(1, 16))
        elif kind == 3:
            changed[at:at] = changed[at : at + source.randint(1, 64)]
        elif at < len(changed):
            changed[at] ^= 1 << source.randrange(8)
    return bytes(changed)
