"""What is done to a running installation and taken back: a context for each kind of wound.

Each takes the victim's name, "" where it has none, the scene, and the random numbers of its fault.
"""

import contextlib
import os
import random
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from signal import SIGCONT, SIGKILL, SIGSTOP

import redis

from tests.chaos.disk import SmallDisk
from tests.chaos.meta import Meta
from tests.chaos.outside import ChaosModel, ChaosProvider
from tests.chaos.site import OTHERS, SERVICES, Site
from tests.waiting import answers, eventually


@dataclass(frozen=True, slots=True)
class Scene:
    """All that can be hurt."""

    site: Site
    meta: Meta
    model: ChaosModel
    provider: ChaosProvider
    disk: SmallDisk


@contextmanager
def killed(name: str, scene: Scene, rng: random.Random, *, child: bool) -> Iterator[None]:
    """Kill a process; systemd starts the service again."""
    scene.site.signal(name, SIGKILL, rng, child=child)
    yield


@contextmanager
def stopped(name: str, scene: Scene, rng: random.Random, *, child: bool) -> Iterator[None]:
    """Freeze a process without systemd noticing."""
    pid = scene.site.signal(name, SIGSTOP, rng, child=child)
    try:
        yield
    finally:
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, SIGCONT)


@contextmanager
def terminated(name: str, scene: Scene, _rng: random.Random) -> Iterator[None]:
    """Stop services by SIGTERM, all at once, and start them again: a deploy.

    ``name``: that of one service, "" for all.
    """
    services = (name,) if name else SERVICES
    with scene.site.unsupervised(*services):
        for service in services:
            scene.site.processes[service].signal(signal.SIGTERM)
        yield
        for service in services:
            with contextlib.suppress(TimeoutError):
                scene.site.processes[service].terminate()
            scene.site.processes[service].start()


@contextmanager
def redis_killed(_victim: str, scene: Scene, _rng: random.Random) -> Iterator[None]:
    scene.site.valkey.kill()
    try:
        yield
    finally:
        scene.site.valkey.start()


@contextmanager
def redis_stopped(_victim: str, scene: Scene, _rng: random.Random) -> Iterator[None]:
    scene.site.valkey.pause()
    try:
        yield
    finally:
        scene.site.valkey.resume()


@contextmanager
def disk_full(_victim: str, scene: Scene, _rng: random.Random) -> Iterator[None]:
    """Leave the ledger's file no room: a server that syncs each write ends by itself."""
    scene.disk.fill()
    try:
        yield
    finally:
        scene.disk.free()
        if not scene.site.valkey.running:
            scene.site.valkey.kill()
            scene.site.valkey.start()


@contextmanager
def scripts_flushed(_victim: str, scene: Scene, _rng: random.Random) -> Iterator[None]:
    with contextlib.suppress(redis.RedisError):
        scene.site.ledger.client.script_flush()
    yield


@contextmanager
def broker_flushed(_victim: str, scene: Scene, _rng: random.Random) -> Iterator[None]:
    with contextlib.suppress(redis.RedisError), scene.site.valkey.client(1) as broker:
        broker.flushdb()
    yield


@contextmanager
def cut(name: str, scene: Scene, _rng: random.Random) -> Iterator[None]:
    scene.site.cut(name)
    yield


@contextmanager
def changed(thing: object, name: str, value: object) -> Iterator[None]:
    """Give an attribute a value for the body."""
    before = getattr(thing, name)
    setattr(thing, name, value)
    try:
        yield
    finally:
        setattr(thing, name, before)


@contextmanager
def refused(name: str, scene: Scene, _rng: random.Random) -> Iterator[None]:
    with changed(scene.site.proxies[name], "refuses", value=True):
        scene.site.cut(name)
        yield


def swallowed(name: str, scene: Scene, _rng: random.Random) -> AbstractContextManager[None]:
    return changed(scene.site.proxies[name], "swallows", value=True)


def delayed(name: str, scene: Scene, rng: random.Random) -> AbstractContextManager[None]:
    return changed(scene.site.proxies[name], "delay_ms", rng.choice((30, 100, 300)))


def sentry_away(_victim: str, scene: Scene, _rng: random.Random) -> AbstractContextManager[None]:
    return changed(scene.site.way_to_sentry, "refuses", value=True)


def model_fails(
    _victim: str, scene: Scene, _rng: random.Random, *, mood: str
) -> AbstractContextManager[None]:
    return changed(scene.model, "mood", getattr(scene.model, mood))


def provider_fails(
    _victim: str, scene: Scene, _rng: random.Random, *, mood: str
) -> AbstractContextManager[None]:
    return changed(scene.provider, "mood", getattr(scene.provider, mood))


@contextmanager
def other_release(_victim: str, scene: Scene, rng: random.Random) -> Iterator[None]:
    """Run another release with other settings beside the first, and end it hard or well."""
    site = scene.site
    others = [site.processes[name] for name in OTHERS]
    for process in others:
        process.start()
    url = f"http://127.0.0.1:{site.other_port}"
    eventually(lambda: answers(url), what="the other release to serve")
    scene.meta.ports.append(site.other_port)
    try:
        yield
    finally:
        scene.meta.ports.remove(site.other_port)
        for process in others:
            if rng.random() < 0.5:
                process.kill()
            else:
                with contextlib.suppress(TimeoutError):
                    process.terminate()
