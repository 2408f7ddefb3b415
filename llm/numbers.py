"""Tell telephone and card numbers from prices, dates, hours and the ids of orders."""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

import phonenumbers
from stdnum import luhn

#: Numbers are compared by so many of their last digits: country and trunk codes are optional.
TAIL_MIN, TAIL_MAX = 6, 9
#: Where no region is known, and for long numbers in all: those that most strangers would have.
_COMMON = ("US", "RU", "DE", "GB", "FR", "ES", "IT", "PL", "UA", "TR", "UZ", "IN", "BR", "CN")
#: So many lookups in the numbering plans for a text; a text that needs more is no honest answer,
#: and whatever has the length of a number is one.
_LOOKUPS_MAX = 1_500

_SEPARATOR = r"[ \t.\-/()_·•*~,'’]"  # Swiss prices have a typographic apostrophe
#: Digits with up to four separators between them; a comma and a space end it.
RUN = re.compile(rf"\+?[ .(-]{{0,3}}\d(?:(?:(?!,\s){_SEPARATOR}){{0,4}}\d)*")
_GROUP = re.compile(r"\d+")

_DAY, _MONTH = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])"
_HOUR = r"(?:[01]?\d|2[0-4])\.[0-5]\d"
_FULL_HOUR = r"(?:[01]\d|2[0-4])(?:00|15|30|45)"
_DATES = (
    rf"(?:19|20)\d\d(?:-{_MONTH}-{_DAY}|/{_MONTH}/{_DAY}|\.{_MONTH}\.{_DAY})",
    rf"{_DAY}(?:-{_MONTH}-|/{_MONTH}/|\.{_MONTH}\.)(?:20)?\d\d",
    rf"{_MONTH}/{_DAY}/(?:20)?\d\d",
)
#: Dates and ranges of them, hours, years with a number, decimals such as coordinates, ISBNs.
_HARMLESS = re.compile(
    r"(?<![\d+])(?<!\d[./-])(?:"
    + "|".join(
        (
            *(rf"{it}(?:\s?-\s?{it})?" for it in _DATES),
            rf"{_DAY}(?:\.{_MONTH})?\.?\s?-\s?{_DAY}\.{_MONTH}(?:\.(?:20)?\d\d|\.)?",
            r"20[0-3]\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:-\d{1,4})?",
            r"(?:199|20[0-3])\d\s?[-/]\s?\d{1,6}",
            rf"{_HOUR}(?:\s?-\s?{_HOUR})?|{_FULL_HOUR}-{_FULL_HOUR}",
            r"(?:0|[1-9]\d{0,2})\.\d{4,8}",
            r"97[89]-\d{1,5}-\d{1,7}-\d{1,7}-\d",
        )
    )
    + r")(?!\d|[./-]\d)|(?<![\d(+])\d{1,2}\)(?=\s)"
)
_CODES = (
    "aed|all|amd|ars|aud|azn|bgn|brl|byn|cad|chf|clp|cny|cop|czk|dkk|dzd|egp|eur|gbp|gel|hkd|huf"
    "|idr|ils|inr|isk|jpy|kes|kgs|krw|kwd|kzt|lkr|mad|mdl|mkd|mxn|myr|ngn|nok|nzd|pen|php|pkr|pln"
    "|qar|ron|rsd|rub|rur|sar|sek|sgd|thb|tjs|tmt|tnd|try|twd|uah|usd|uyu|uzs|vnd"
)
_CURRENCY = (
    rf"(?:[$€£¥₽₸₴₹₩₺₫฿₾₼₪₦]|(?:{_CODES}|руб(?:л\w+)?|р\.|тг|тенге|теңге|сум|сўм|сом|so.m|грн|гривен\w*"
    r"|гривн\w+|лари|драм\w*|манат\w*|tenge|euros?|dollars?|pounds?|zł|złotych|kč|ft|lei|tl|lira"
    r"|rp|kr|fr|rs|rm|francs?|reais|pesos)(?!\w))"
)
_SCALE = r"(?:(?:тыс|млн|млрд|mio|mrd|k|million\w*|thousand)\.?\s?)?"
_PRICE_AFTER = re.compile(rf"\s?[-.,]{{0,2}}\s?{_SCALE}{_CURRENCY}", re.IGNORECASE)
_PRICE_BEFORE = re.compile(rf"(?:(?<!\w)|(?=[$€£¥₽])){_CURRENCY}\.?\s?\Z", re.IGNORECASE)
_THOUSANDS = re.compile(r"\d{1,3}(?:[ .,'’]\d{3})+(?:[.,]\d{1,2})?")
_PLAIN = re.compile(r"\d+(?:[.,]\d{1,2})?")

#: Says that a telephone number follows, however it is written.
_CALL = re.compile(
    r"(?:call|phone|dial|ring|sms|text|whatsapp|viber|telegram|\btel\b|telefon|tel[eé]fono|mobil\w*|anruf"
    r"|\bruf|llam|appel|t[eé]l[eé]phon|ligue|zadzwo|звон|тел\b|телефон|набер|пиши|вотсап|ватсап"
    r"|хабарлас|қоңырау|телефонуй|дзвон|номеру?\b)\w*[\s.:,-]*(?:[^\W\d]+[\s.:,-]+){0,3}\(?\Z",
    re.IGNORECASE,
)
#: Says that an id follows, directly. It holds for numbers too short to have a country.
_NO = r"(?:\bn(?:o|r|[o°]|um[mb]er|[uú]mero|um[ée]ro)\b\.?|n°|#|\bномер\b|№)"
_ID = re.compile(
    r"\b(?:order|booking|invoice|reference|ref|ticket|code|id|pin|article|sku|ean|barcode"
    r"|bin|iin|inn|vat|tax|унп|штрихкод"
    r"|заказ\w*|бронь|бронирован\w+|запис[ьи]|код|сч[её]т\w*|артикул|бин|иин|инн|замовлення|тапсырыс"
    r"|bestell\w*|buchung\w*|rechnung\w*|auftrag\w*|pedido|reserva|factura|commande|r[ée]servation"
    rf"|facture|zam[oó]wieni\w+)[\s.:-]*{_NO}?[\s.:-]*\Z",
    re.IGNORECASE,
)
_NUMBER_SIGN = re.compile(rf"(?:{_NO}\s*|(?-i:\b[A-Z]{{2,5}}-?))\Z", re.IGNORECASE)
#: Grouped as only telephone numbers are, in whatever country.
_SHAPE = re.compile(
    r"\+?\d{0,3}[ -]?\(0?\d{2,5}\)[ -]?\d[\d -]{4,}|(?:[\d(][\d ()-]*[ )-])?\d{2,3}-\d\d-\d\d"
    r"|(?:\d[ -])?\d{3}[-.]\d{3}[-.]\d{4}|0\d{1,4}[ /-]\d{3,}(?:[ -]\d+)*"
)
#: Six digits are a number only after a word for it.
_SIX = re.compile(r"\d{6}|\d\d([ -])\d\d\1\d\d")
_LOCAL = re.compile(r"\d{3}-(0\d{3}|\d{3}[1-9])")


def digits_of(text: str) -> str:
    """Return the digits of ``text``, which is folded."""
    return "".join(_GROUP.findall(text))


def find_numbers(
    text: str, regions: tuple[str, ...], known_tails: frozenset[str]
) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield digits and place of telephone and card numbers in folded ``text``, in order."""
    text = _HARMLESS.sub(lambda it: "\n" * len(it[0]), text)
    lookup = _Lookup(regions)
    for run in RUN.finditer(text):
        start = run.end() - len(run[0].lstrip(" .-"))
        if text[start] == "(" and ")" not in run[0]:
            start += 1
        said, before = text[start : run.end()], text[max(0, start - 48) : start]
        digits = digits_of(said)
        if len(digits) < TAIL_MIN or _is_known(digits, known_tails):
            continue
        if _is_price(said, before, text[run.end() : run.end() + 24]):
            continue
        for first, last in _windows(said, before, lookup, known_tails):
            yield digits_of(said[first:last]), (start + first, start + last)


def _is_known(digits: str, known_tails: frozenset[str]) -> bool:
    return len(digits) >= TAIL_MIN and digits[-TAIL_MAX:] in known_tails


def tails(keys: Iterator[str]) -> frozenset[str]:
    """Return the ends, TAIL_MIN to TAIL_MAX digits long, by which numbers are known again."""
    sizes = range(TAIL_MIN, TAIL_MAX + 1)
    return frozenset(key[-size:] for key in keys for size in sizes if len(key) >= size)


def _is_price(said: str, before: str, after: str) -> bool:
    """Return whether ``said`` is one amount, a range or a list of them.

    A currency must stand beside it, unless it is of round thousands or of even steps. Long amounts
    and lists are round: what is not could be a telephone number with a currency after it.
    """
    amounts = list[str]()
    for piece in re.split(r"\s*[-/]\s*", said.strip("+( )")):
        whole = _THOUSANDS.fullmatch(piece)
        amounts += [piece] if whole else piece.split()
    values = [digits_of(re.sub(r"[.,]\d{1,2}\Z", "", it)) for it in amounts]
    grouped = all(_THOUSANDS.fullmatch(it) for it in amounts)
    if any(value.startswith("0") for value in values) or not (
        grouped or all(_THOUSANDS.fullmatch(it) or _PLAIN.fullmatch(it) for it in amounts)
    ):
        return False
    steps = {int(later) - int(value) for value, later in pairwise(values)}
    if len(values) > 2 and len(steps) == 1 and steps != {0}:
        return True
    if said.startswith("+") and not all(it.endswith("000") and len(it) < 10 for it in values):
        return False
    rounded = all(value.endswith("00") for value in values)
    if grouped and rounded and (len(amounts) > 1 or values[0].endswith("000")):
        return True
    short = all(
        value.endswith("00") or (len(value) < 8 and (len(values) == 1 or value[-1] in "059"))
        for value in values
    )
    return short and bool(_PRICE_AFTER.match(after) or _PRICE_BEFORE.search(before))


def _windows(
    said: str, before: str, lookup: "_Lookup", known_tails: frozenset[str]
) -> Iterator[tuple[int, int]]:
    """Yield the parts of a run that are numbers, each the longest that begins at its group."""
    groups = [group.span() for group in _GROUP.finditer(said)]
    at = 0
    while at < len(groups):
        first = 0 if at == 0 else groups[at][0]
        ends, digits = list[tuple[int, bool]](), ""
        for number in range(at, len(groups)):
            digits += said[slice(*groups[number])]
            if len(digits) > 19:  # cards
                break
            if len(digits) >= TAIL_MIN:
                ends.append((number, _is_known(digits, known_tails)))
        for number, known in reversed(ends):
            last = groups[number][1]
            context = before if at == 0 else ""
            if known or lookup.is_number(said[first:last], context):
                if not known:
                    yield first, last
                at = number
                break
        at += 1


class _Lookup:
    """Decides what is a number where these regions' national numbers are; counts its work."""

    def __init__(self, regions: tuple[str, ...]) -> None:
        self._regions = regions
        self._done = 0

    def is_number(self, said: str, before: str) -> bool:
        """Return whether ``said``, which follows ``before``, is a telephone or card number."""
        digits = digits_of(said)
        count = len(digits)
        if 14 <= count <= 19 and digits[0] != "0" and luhn.is_valid(digits):
            return True
        if count > 15:  # the longest that E.164 has
            return False
        if said.startswith("+"):
            return count > 7 or _is_valid(f"+{digits}", None)
        is_id = said.isdecimal() or count < 10
        is_id = is_id and bool(_ID.search(before))
        called = not is_id and _CALL.search(before) and (count > 6 or _SIX.fullmatch(said))
        if called or (count > 6 and _SHAPE.fullmatch(said)):
            return True
        if count < 10 and (is_id or _NUMBER_SIGN.search(before)):
            return False
        self._done += 1
        over = self._done > _LOOKUPS_MAX
        return (
            over
            or bool(_LOCAL.fullmatch(said))
            or _is_somewhere(said, digits, self._regions, wide=not (is_id and self._regions))
        )


@lru_cache(4096)
def _is_somewhere(said: str, digits: str, regions: tuple[str, ...], *, wide: bool) -> bool:
    """Return whether the digits are a number that people of these regions could dial.

    ``wide``: a long one may be of the common regions too.
    """
    long = len(digits) >= 10
    if len(digits) < 7 or (not long and _THOUSANDS.fullmatch(said) and digits.endswith("00")):
        return False
    if long and _is_valid(f"+{digits.removeprefix('00')}", None):
        return True
    for region in regions:
        trunk = phonenumbers.ndd_prefix_for_region(region, strip_non_digits=True)
        dialled = not trunk or digits.startswith(trunk) or not said.isdecimal()
        if (dialled or (long and wide)) and _is_valid(digits, region):
            return True
    return long and wide and any(_is_valid(digits, region) for region in _COMMON)


def _is_valid(number: str, region: str | None) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number, region))
    except phonenumbers.NumberParseException:
        return False
