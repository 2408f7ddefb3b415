"""Numbers with both their limits, shared by settings and the overrides of an account."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from batching.limits import Limits
from runtime.mistakes import Mistake


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number from ``least`` to ``most``, both included; anything else names the limits."""

    least: int
    most: int

    def __str__(self) -> str:
        return f"{self.least}..{self.most}"

    def __get_pydantic_core_schema__(
        self, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Return a schema with this check around the one of ``int``."""
        return core_schema.no_info_wrap_validator_function(self._check, handler(source))

    def _check(self, value: object, parse: Callable[[object], int]) -> int:
        try:
            # Python takes a bool for a number; in a file of settings it is a slip.
            number = None if isinstance(value, bool) else parse(value)
        except ValidationError:
            number = None
        if number is None or not self.least <= number <= self.most:
            raise ValueError(f"must be {self}")
        return number


IdleMs = Annotated[int, Whole(100, 600_000)]
MaxMessages = Annotated[int, Whole(1, 100)]
MaxWaitMs = Annotated[int, Whole(100, 3_600_000)]
OverdueMs = Annotated[int, Whole(1_000, 86_400_000)]
ReplyDeadlineMs = Annotated[int, Whole(1_000, 604_800_000)]
LeaseMs = Annotated[int, Whole(1_000, 600_000)]
MaxAttempts = Annotated[int, Whole(1, 50)]

#: An account's name for a limit → the field of Limits. A setting is BATCH_ and the same name.
LIMIT_FIELDS = {
    "idle_ms": "idle_ms",
    "max_messages": "messages_max",
    "max_wait_ms": "wait_max_ms",
    "overdue_ms": "overdue_ms",
    "reply_deadline_ms": "reply_deadline_ms",
    "lease_ms": "lease_ms",
    "max_attempts": "attempts_max",
}

#: The first of each pair may not be below the second.
_ORDER = (
    ("max_wait_ms", "idle_ms"),
    ("overdue_ms", "max_wait_ms"),
    ("reply_deadline_ms", "overdue_ms"),
    ("reply_deadline_ms", "lease_ms"),
)


def order_mistakes(
    limits: Limits, name_of: Callable[[str], str], where: str = ""
) -> Iterator[tuple[frozenset[str], Mistake]]:
    """Yield each pair of limits in the wrong order: the names concerned, and the mistake.

    ``name_of`` turns "idle_ms" into the name that the reader knows, ``where`` stands before it.
    """
    for greater, lesser in _ORDER:
        value = getattr(limits, LIMIT_FIELDS[greater])
        least = getattr(limits, LIMIT_FIELDS[lesser])
        if value < least:
            problem = f"must be at least {name_of(lesser)}={least}"
            yield (
                frozenset((greater, lesser)),
                Mistake(f"{where}{name_of(greater)}", problem, str(value)),
            )
