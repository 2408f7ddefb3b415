"""What is done to a running installation and taken back: a context for each kind of wound."""

import contextlib
import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from signal import SIGCONT, SIGKILL, SIGSTOP

import redis

from tests.chaos.disk import SmallDisk
from tests.chaos.meta import Meta
from tests.chaos.outside import ChaosModel, ChaosProvider
from tests.chaos.site import OTHERS, Site
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
    """Kill a process; the supervisor starts the service again, by itself."""
    scene.site.signal(name, SIGKILL, rng, child=child)
    yield


@contextmanager
def stopped(name: str, scene: Scene, rng: random.Random, *, child: bool) -> Iterator[None]:
    """Have a process stand still, its supervisor not knowing."""
    pid = scene.site.signal(name, SIGSTOP, rng, child=child)
    try:
        yield
    finally:
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, SIGCONT)


@contextmanager
def terminated(names: tuple[str, ...], scene: Scene, _rng: random.Random) -> Iterator[None]:
    """Have services end in good order, all at once, and start again: a deploy."""
    with scene.site.unsupervised(*names):
        for name in names:
            scene.site.processes[name].signal(signal.SIGTERM)
        yield
        for name in names:
            with contextlib.suppress(TimeoutError):
                scene.site.processes[name].terminate()
            scene.site.processes[name].start()


@contextmanager
def redis_killed(scene: Scene, _rng: random.Random) -> Iterator[None]:
    scene.site.valkey.kill()
    try:
        yield
    finally:
        scene.site.valkey.start()


@contextmanager
def redis_stopped(scene: Scene, _rng: random.Random) -> Iterator[None]:
    scene.site.valkey.pause()
    try:
        yield
    finally:
        scene.site.valkey.resume()


@contextmanager
def disk_full(scene: Scene, _rng: random.Random) -> Iterator[None]:
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
def scripts_flushed(scene: Scene, _rng: random.Random) -> Iterator[None]:
    with contextlib.suppress(redis.RedisError):
        scene.site.ledger.client.script_flush()
    yield


@contextmanager
def broker_flushed(scene: Scene, _rng: random.Random) -> Iterator[None]:
    with contextlib.suppress(redis.RedisError), scene.site.valkey.client(1) as broker:
        broker.flushdb()
    yield


@contextmanager
def cut(name: str, scene: Scene, _rng: random.Random) -> Iterator[None]:
    scene.site.cut(name)
    yield


@contextmanager
def refused(name: str, scene: Scene, _rng: random.Random) -> Iterator[None]:
    proxy = scene.site.proxies[name]
    proxy.refuses = True
    scene.site.cut(name)
    try:
        yield
    finally:
        proxy.refuses = False


@contextmanager
def swallowed(name: str, scene: Scene, _rng: random.Random) -> Iterator[None]:
    proxy = scene.site.proxies[name]
    proxy.swallows = True
    try:
        yield
    finally:
        proxy.swallows = False


@contextmanager
def delayed(name: str, scene: Scene, rng: random.Random) -> Iterator[None]:
    proxy = scene.site.proxies[name]
    proxy.delay_ms = rng.choice((30, 100, 300))
    try:
        yield
    finally:
        proxy.delay_ms = 0


@contextmanager
def sentry_away(scene: Scene, _rng: random.Random) -> Iterator[None]:
    scene.site.way_to_sentry.refuses = True
    try:
        yield
    finally:
        scene.site.way_to_sentry.refuses = False


@contextmanager
def model_fails(mood: str, scene: Scene, _rng: random.Random) -> Iterator[None]:
    scene.model.mood = getattr(scene.model, mood)
    try:
        yield
    finally:
        scene.model.mood = None


@contextmanager
def provider_fails(mood: str, scene: Scene, _rng: random.Random) -> Iterator[None]:
    scene.provider.mood = getattr(scene.provider, mood)
    try:
        yield
    finally:
        scene.provider.mood = None


@contextmanager
def other_release(scene: Scene, rng: random.Random) -> Iterator[None]:
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
