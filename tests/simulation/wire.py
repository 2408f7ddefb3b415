"""The client of Redis that a simulated process holds: real commands, and all that befalls them."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import redis
from redis.client import Pipeline
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tests.simulation.world import Moment, World

LATE_MS = (1_000, 60_000)


class Wire:
    """Carries commands to the server, or loses them or their answers on the way."""

    def __init__(self, world: World, look: Callable[[tuple[Any, ...]], None]) -> None:
        self.world = world
        #: Called after everything that the server carried out, with the commands.
        self.look = look
        self.away_until_ms = 0

    def carry(
        self, commands: list[tuple[Any, ...]], run: Callable[[list[tuple[Any, ...]]], Any]
    ) -> Any:
        """Return the server's answer. Raise what a client raises where there is none."""
        world = self.world
        world.boundary()
        answer = self._carry(commands, run)
        world.boundary()
        return answer

    def _carry(
        self, commands: list[tuple[Any, ...]], run: Callable[[list[tuple[Any, ...]]], Any]
    ) -> Any:
        world = self.world

        def execute(those: list[tuple[Any, ...]] = commands) -> Any:
            timely = [tuple(map(self._told_now, command)) for command in those]
            try:
                return run(timely)
            finally:
                self.look(tuple(timely))

        if world.now_ms < self.away_until_ms or world.chance("unavailable"):
            world.pause()
            raise RedisConnectionError
        if world.chance("executed_late"):
            world.pause()
            world.after(world.rng.randint(*LATE_MS), lambda: _forgiven(execute))
            raise RedisTimeoutError
        if len(commands) > 1 and world.chance("cut_short"):
            world.pause()
            _forgiven(lambda: execute(commands[: world.rng.randrange(len(commands))]))
            raise RedisConnectionError
        if world.chance("executed_twice"):
            _forgiven(execute)
        answer = execute()
        if world.chance("reply_lost"):
            world.pause()
            raise RedisConnectionError
        return answer

    def _told_now(self, argument: Any) -> Any:
        return self.world.clock() if isinstance(argument, Moment) else argument


def _forgiven(run: Callable[[], Any]) -> None:
    """Carry out what no caller waits for; nor does the server's refusal reach one."""
    with suppress(redis.ResponseError):
        run()


class SimulatedRedis(redis.Redis):
    """A client whose commands go by a wire."""

    wire: Wire

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Carry one command."""
        plain = super().execute_command
        return self.wire.carry([args], lambda commands: plain(*commands[0], **options))

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> "SimulatedPipeline":  # noqa: FBT001, FBT002
        """Return a pipeline that goes by the same wire."""
        pipeline = SimulatedPipeline(
            self.connection_pool, self.response_callbacks, transaction, shard_hint
        )
        pipeline.wire = self.wire
        return pipeline


class SimulatedPipeline(Pipeline):
    """A pipeline of which a beginning may be all that arrives."""

    wire: Wire

    def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002
        """Carry all commands in one go."""
        stack = list(self.command_stack)
        plain = super().execute

        def run(commands: list[tuple[Any, ...]]) -> Any:
            options = [options for _, options in stack]
            self.command_stack = list(zip(commands, options, strict=False))
            return plain(raise_on_error=raise_on_error)

        answer: list[Any] = self.wire.carry([args for args, _ in stack], run)
        return answer
