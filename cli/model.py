"""``model``: whether models may be asked, and how often they were; ``off`` and ``on`` switch."""

from argparse import ArgumentParser

from batching.flow import asked, model_is_on, switch_model
from cli.common import EXIT_OK, Request, write, write_json
from runtime.build import store_of
from runtime.clients import redis_client
from runtime.settings import load_settings


def arguments(parser: ArgumentParser) -> None:
    """Add what may stand behind the verb."""
    parser.add_argument("state", nargs="?", choices=("off", "on"))


def run(request: Request) -> int:
    """Switch if told to, then print the state. Raise ConfigurationError, LedgerUnavailableError."""
    settings = load_settings(request.environ)
    store = store_of(settings, redis_client(settings.redis_url, "manage"))
    wish: str | None = request.arguments.state
    if wish is not None:
        switch_model(store, on=wish == "on")
    on, count, most = model_is_on(store), asked(store), settings.budget_installation_day
    if request.as_json:
        write_json({"on": on, "asked": count, "budget": most})
    else:
        state = "on" if on else "off: batches wait, and nothing is lost, until their deadline"
        write([f"The model is {state}.", f"Questions today: {count} of {most}."])
    return EXIT_OK
