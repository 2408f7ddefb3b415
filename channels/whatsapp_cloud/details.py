"""Put into words what is not words: places, contacts, orders, forms.

Each function takes the part of a message that holds the thing and returns one line for the
model, "" where the part says nothing.
"""

import json

from channels.fields import Record, items, record, text

#: Most contacts, ordered products or answers of a form that are spelled out.
LISTED_MAX = 20


def location(place: Record) -> str:
    """Return a place's name, address and coordinates."""
    named = _joined(", ", text(place, "name"), text(place, "address"))
    point = _joined(", ", text(place, "latitude"), text(place, "longitude"))
    return _joined(" ", named, f"({point})" if point else "")


def contacts(cards: list[object]) -> str:
    """Return the names and numbers on contact cards."""
    return _listed([_contact(card) for card in cards])


def order(cart: Record) -> str:
    """Return what a customer put in the cart, then the note they wrote with it."""
    products = _listed([_product(product) for product in items(cart, "product_items")])
    return _joined(". ", products, text(cart, "text"))


def form(reply: Record) -> str:
    """Return a form's answers; they come as JSON in a string, and sometimes as broken JSON."""
    try:
        answers = record(json.loads(text(reply, "response_json")))
    except (ValueError, RecursionError):
        answers = {}
    # The token is for the form's server; nobody is to read it in an answer.
    listed = _listed([_answer(*pair) for pair in answers.items() if pair[0] != "flow_token"])
    return listed or text(reply, "body")


def _contact(card: object) -> str:
    name = text(card, "name", "formatted_name") or text(card, "name", "first_name")
    phones = items(card, "phones")[:LISTED_MAX]
    numbers = [text(phone, "phone") or text(phone, "wa_id") for phone in phones]
    return _joined(" ", name, _joined(", ", *numbers))


def _product(product: object) -> str:
    name = text(product, "product_retailer_id")
    count = text(product, "quantity") or "1"
    price = _joined(" ", text(product, "item_price"), text(product, "currency"))
    return _joined(" at ", f"{count} x {name}", price) if name else ""


def _answer(question: str, answer: object) -> str:
    choices = _joined(", ", *map(_choice, items(answer)[:LISTED_MAX]))
    return f"{text(question)}: {choices}" if choices else ""


def _choice(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return text(value)


def _joined(separator: str, *words: str) -> str:
    return separator.join(word for word in words if word)


def _listed(lines: list[str]) -> str:
    said = [line for line in lines if line]
    rest = len(said) - LISTED_MAX
    return "; ".join(said[:LISTED_MAX] + ([f"and {rest} more"] if rest > 0 else []))
