"""What a measurement gives back, and how large it is made."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. ``aim``: what we want it to be, "" where it is only context."""

    name: str
    value: str
    aim: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured. Times are milliseconds.

    ``webhooks_max``: signed webhooks prepared, each with a message id of its own.
    ``burst_pause_ms``: between the messages of one burst; ``bursts_per_s``: new ones a second.
    """

    load_ms: int = 8_000
    connections: int = 32
    webhooks_max: int = 120_000
    conversations: int = 10_000
    open_conversations: tuple[int, ...] = (100, 10_000, 1_000_000)
    ticks: int = 1_000
    bursts: int = 600
    bursts_per_s: int = 20
    burst_pause_ms: int = 150
    idle_ms: int = 2_000


QUICK = Scale(
    load_ms=1_000,
    webhooks_max=20_000,
    conversations=1_000,
    open_conversations=(100, 10_000),
    ticks=200,
    bursts=40,
    # A busy machine must have written the burst by then.
    idle_ms=3_000,
)


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the least value that ``percent`` of ``values`` do not exceed; 0 if there are none."""
    ordered = sorted(values)
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def table(title: str, figures: Sequence[Figure]) -> str:
    """Return the figures under their title, in columns."""
    lines = [title]
    for figure in figures:
        aim = f"   aim: {figure.aim}" if figure.aim else ""
        lines.append(f"  {figure.name:<44}{figure.value:>14}{aim}")
    return "\n".join(lines) + "\n"
