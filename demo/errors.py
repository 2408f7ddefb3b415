"""What ends a demo with one line instead of a traceback."""


class DemoError(Exception):
    """The demo cannot go on; the message tells a newcomer why, and what to do."""
