"""Times, durations and sizes as people read them; programs get the plain numbers."""

from datetime import UTC, datetime

_DURATIONS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))
_SIZES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def span(ms: int) -> str:
    """Return a duration in its largest fitting unit: 12 ms, 9.1 s, 3 min, 5 h, 2 d."""
    for unit_ms, unit in _DURATIONS:
        if ms >= unit_ms:
            return f"{ms / 1_000:.1f} s" if unit == "s" else f"{ms // unit_ms} {unit}"
    return f"{ms} ms"


def size(count: int) -> str:
    """Return a number of bytes in its largest fitting unit: 512 bytes, 1.5 MiB."""
    for unit_bytes, unit in _SIZES:
        if count >= unit_bytes:
            return f"{count / unit_bytes:.1f} {unit}"
    return f"{count} bytes"


def moment(at_ms: int) -> str:
    """Return a time for a person, UTC with milliseconds."""
    try:
        at = datetime.fromtimestamp(at_ms / 1_000, UTC).replace(tzinfo=None)
    except (ValueError, OverflowError, OSError):
        return f"{at_ms} ms"  # No time at all, whoever wrote it.
    return at.isoformat(" ", "milliseconds")
