"""What we add to the idle window: from the moment a batch is due until its answer arrives."""

import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

from bench.figures import Figure, Scale, percentile
from demo.child import SCHEDULER, worker
from tests.stack.accounts import BusinessNumber
from tests.stack.customer import Customer
from tests.stack.stack import Stack
from tests.waiting import eventually
from tests.webhooks import SALON_NUMBER

#: The scripted model answers at once.
ACCOUNT = BusinessNumber("bench", SALON_NUMBER, model={"provider": "scripted"})
MESSAGES = ("Hi", "can I book", "for tomorrow 15:00?")
#: How long the last answers may take to arrive, s.
ANSWERED_S_MAX = 60
#: Bursts that are not counted: connections are made, modules loaded.
WARM_UP = 20
#: Customers who write at a time, at most.
WRITERS = 64


def measure(stack: Stack, scale: Scale) -> list[Figure]:
    """Return the median and the tail over many conversations with the real processes."""
    processes = [stack.process("worker", *worker()), stack.process("scheduler", *SCHEDULER)]
    with stack.other_web() as stack.web:
        for process in processes:
            process.start()
        _converse(stack, WARM_UP, scale)
        due_ms = _converse(stack, scale.bursts, scale)
    arrived_ms = arrivals(stack)
    over_ms = [arrived_ms[number][0] - at_ms for number, at_ms in due_ms.items()]
    sends = sum(len(arrived_ms[number]) for number in due_ms)
    return [
        Figure("due → at the channel, p50", f"{percentile(over_ms, 50):.0f} ms", "at most 100 ms"),
        Figure("due → at the channel, p99", f"{percentile(over_ms, 99):.0f} ms", "at most 300 ms"),
        Figure("due → at the channel, worst", f"{max(over_ms):.0f} ms"),
        Figure("bursts of three messages", f"{len(due_ms):,}"),
        Figure("answers, one to each burst", f"{sends:,}", f"{len(due_ms):,}"),
        Figure("new bursts a second", f"{scale.bursts_per_s}"),
    ]


def arrivals(stack: Stack) -> dict[str, list[float]]:
    """Return when each text came to the provider, wall clock, ms, by the customer's number."""
    wall_ns = time.time_ns() - time.monotonic_ns()
    found: defaultdict[str, list[float]] = defaultdict(list)
    for request in list(stack.provider.requests):
        if number := stack.provider.key_of(request):
            found[number].append((request.came_ns + wall_ns) / 1e6)
    return found


def _converse(stack: Stack, bursts: int, scale: Scale) -> dict[str, float]:
    """Have customers write at a steady rate; return when each burst was due, once answered."""
    customers = [stack.customer(ACCOUNT) for _ in range(bursts)]
    writing = []
    with ThreadPoolExecutor(WRITERS) as pool:
        for customer in customers:
            writing.append(pool.submit(_burst, stack, customer, scale.burst_pause_ms))
            time.sleep(1 / scale.bursts_per_s)
    due_ms = {c.number: burst.result() for c, burst in zip(customers, writing, strict=True)}
    eventually(
        lambda: due_ms.keys() <= arrivals(stack).keys(),
        what="all answers",
        deadline_s=ANSWERED_S_MAX,
        every_s=0.5,
    )
    return due_ms


def _burst(stack: Stack, customer: Customer, pause_ms: int) -> float:
    for n, text in enumerate(MESSAGES):
        time.sleep(pause_ms / 1000 * bool(n))
        customer.writes(text)
    due_ms = stack.ledger.store.peek(stack.ledger.conversation_id(customer)).due_ms
    if due_ms is None:
        raise RuntimeError("burst: collected before it was inspected; make idle_ms longer")
    return due_ms
