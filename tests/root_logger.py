"""The root logger, which building a process configures: put back after a test."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def restored() -> Iterator[logging.Logger]:
    """Yield the root logger; put its handlers and level back as they were."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    try:
        yield logger
    finally:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logging.captureWarnings(capture=False)
