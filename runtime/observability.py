"""What a process tells: log lines on stdout, errors to Sentry, and who it is when it starts."""

import logging
import os
from dataclasses import asdict

from runtime.logs import start_logging
from runtime.reports import flush, start_reporting
from runtime.settings import Settings

__all__ = ["configure", "flush", "log_start"]

log = logging.getLogger(__name__)


def configure(settings: Settings, role: str) -> None:
    """Set up logs and reports of this process. Call once, after it forked."""
    start_logging(role=role, release=settings.release, level=settings.log_level)
    start_reporting(settings, role)


def log_start(settings: Settings, *, fingerprint: str, ledger: dict[str, object]) -> None:
    """Log who this process is, what it runs with, and which ledger it found.

    A stale setting or another Redis is found by comparing these lines of two processes.
    """
    log.info(
        "process.started",
        extra={
            "pid": os.getpid(),
            "environment": settings.environment,
            "fingerprint": fingerprint,
            "limits": asdict(settings.limits()),
            **ledger,
        },
    )
