"""Converts text files saved by Windows editors and PowerShell (UTF-16, UTF-32) to UTF-8."""

from __future__ import annotations

_MARKS = (
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
    (b"\xef\xbb\xbf", "utf-8"),
)
# Without a mark: which byte of a character is not 0 in text that is mostly ASCII.
_SHAPES = (
    ("utf-16-le", 2, 0),
    ("utf-16-be", 2, 1),
    ("utf-32-le", 4, 0),
    ("utf-32-be", 4, 3),
)
_SAMPLE = 4096  # bytes, from the beginning
_MOSTLY = 0.9


def as_utf8(data: bytes) -> bytes:
    """A file's content in UTF-8, without a byte order mark; anything but text is unchanged."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            rest = data[len(mark) :]
            if encoding == "utf-8":
                return rest
            # ASCII in UTF-16 has a 0 in each character: without any 0, the mark is a coincidence.
            return _recoded(rest, encoding) if 0 in rest else data
    sample = data[:_SAMPLE]
    for encoding, width, place in _SHAPES:
        if len(sample) >= 2 * width and _is_shaped(sample, width, place):
            return _recoded(data, encoding)
    return data


def _is_shaped(sample: bytes, width: int, place: int) -> bool:
    for at in range(width):
        column = sample[at::width]
        zeros = column.count(0) / len(column)
        if zeros > 1 - _MOSTLY if at == place else zeros < _MOSTLY:
            return False
    return True


def _recoded(data: bytes, encoding: str) -> bytes:
    return data.decode(encoding, "replace").encode("utf-8", "replace")
