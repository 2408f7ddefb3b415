"""Hours of every day, as an operator writes them: "22:00-07:00 Europe/Berlin"."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_FORM = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)(?: +([\w+/-]{1,50}))?")


@dataclass(frozen=True, slots=True)
class Hours:
    """A part of every day. ``begin`` and ``end``: minutes of the day in ``zone``, not equal."""

    begin: int
    end: int
    zone: ZoneInfo

    def end_ms(self, now_ms: int) -> int:
        """Return when they end, ms since the epoch; 0 outside of them."""
        now = datetime.fromtimestamp(now_ms / 1000, self.zone)
        minute = now.hour * 60 + now.minute
        spans_midnight = self.begin > self.end
        is_in = minute >= self.begin, minute < self.end
        if not (any(is_in) if spans_midnight else all(is_in)):
            return 0
        day = now.date() + timedelta(days=minute >= self.end)
        hour, minute = divmod(self.end, 60)
        end = datetime(day.year, day.month, day.day, hour, minute, tzinfo=self.zone)
        return int(end.astimezone(UTC).timestamp() * 1000)


def hours_of(text: str) -> Hours | None:
    """Return the hours that a text says, None for "". Raise ValueError for any other text."""
    if not text:
        return None
    found = _FORM.fullmatch(text)
    try:
        zone = ZoneInfo((found and found[5]) or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        found = None
    if found:
        begin, end = (int(found[n]) * 60 + int(found[n + 1]) for n in (1, 3))
        if begin != end:
            return Hours(begin, end, zone)
    raise ValueError("must look like 22:00-07:00 Europe/Berlin")


def quiet_hours(text: str) -> str:
    """Check that ``hours_of`` can read a setting; return it as it is. Raise ValueError."""
    hours_of(text)
    return text
