"""Integer arguments: numpy integers count, bools and floats do not."""

from __future__ import annotations

from .errors import InvalidArgumentError


def checked(name: str, value: object, least: int, most: int) -> int:
    """`value` as an int, if it is an integer from `least` to `most`."""
    index = getattr(type(value), "__index__", None)
    if index is None or isinstance(value, bool):
        raise InvalidArgumentError(f"{name}={value!r}: an integer is accepted")
    number: int = index(value)
    if not least <= number <= most:
        raise InvalidArgumentError(f"{name}={number}: {least} to {most} are accepted")
    return number


def checked_threads(threads: int | None) -> int | None:
    """A number of threads, or None for one a core."""
    return None if threads is None else checked("threads", threads, 1, 1 << 16)
