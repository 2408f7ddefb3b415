"""Makes odd bodies out of recorded ones."""

import copy
import operator
from collections.abc import Sequence
from functools import reduce
from typing import Any

from hypothesis import strategies as st


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths to everything in ``value``, itself excluded."""
    match value:
        case dict():
            inner = list(value.items())
        case list():
            inner = list(enumerate(value))
        case _:
            return []
    return [
        found for name, part in inner for found in [(*path, name), *places(part, (*path, name))]
    ]


@st.composite
def mutated(draw: st.DrawFn, bodies: Sequence[Any], odd: st.SearchStrategy[Any]) -> Any:
    """Draw one of ``bodies`` in which up to four things are gone or replaced by something odd."""
    body = copy.deepcopy(draw(st.sampled_from(bodies)))
    for _ in range(draw(st.integers(1, 4))):
        found = places(body)
        if not found:
            break
        *above, last = draw(st.sampled_from(found))
        holder = reduce(operator.getitem, above, body)
        if isinstance(holder, dict) and draw(st.booleans()):
            del holder[last]
        else:
            holder[last] = copy.deepcopy(draw(odd))
    return body
