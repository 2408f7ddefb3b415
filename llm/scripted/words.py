"""What customers call things, in English and Russian, and when two words are the same one."""
# ruff: noqa: RUF001 - customers write Cyrillic, and dashes of every length

import re

CYRILLIC = re.compile(r"[а-яё]", re.IGNORECASE)
LATIN = re.compile(r"[a-z]", re.IGNORECASE)

#: A sentence in brackets that a channel wrote in place of a picture or a voice message.
_NOTE = re.compile(r"\A\s*\[(?:The customer)\b[^\]]*\]\s*")
#: Those of them that ask the customer to write instead.
UNSEEN = re.compile(r"\A\s*\[The customer sent [^\]]*cannot be (?:shown|played|opened)[^\]]*\]")

_APOSTROPHE = re.compile(r"['’`ʼ]")
_WORD = re.compile(r"[a-zа-я0-9]+")
#: Of these no service can be told.
_EMPTY = frozenset(
    _WORD.findall(
        "a an and any are at can do for from get have how i in is it me much my of on or our "
        "please price prices cost costs service services the to we what with you your "
        "а без вам вас во вы для до за и из или как какая какой ли мне можно на не от по под при с "
        "сколько стоит стоят у услуга услуги цена цены что это я"
    )
)
#: Shorter words have no ending to differ in: "hair" is not "haircut".
_INFLECTED_MIN = 5
_STEM_MIN = 4
_ENDING_MAX = 2


def _any(*words: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(words)})")


GREETING = _any(
    r"hi+\b", r"hello\b", r"hey+\b", r"good (?:morning|afternoon|evening|day)\b",
    r"привет", r"здравствуй", r"добр(?:ый|ое|ого) (?:день|дня|утро|утра|вечер)", r"доброго времени",
)  # fmt: skip
THANKS = _any(r"thanks?\b", r"thank you", r"thx\b", r"спасибо", r"благодар")
FAREWELL = _any(r"bye\b", r"goodbye", r"see you", r"до свидания", r"до встречи", r"пока\b")
AGREEMENT = re.compile(
    r"\W*(?:yes|yep|ok|okay|fine|good|great|perfect|sure|got it|please|yes please"
    r"|да|ок|окей|хорошо|отлично|понятно|ладно|супер|давайте|да пожалуйста)\W*"
)
REFUSAL = re.compile(r"\W*(?:no|nope|not now|нет|не надо|не нужно)\W*")
PRICES = _any(
    r"prices?\b", r"pricing", r"price ?list", r"costs?\b", r"how much", r"charge\b",
    r"цен[аыуе]?\b", r"прайс", r"стои(?:т|мость)", r"сколько (?:будет|за)", r"почем\b",
)  # fmt: skip
HOURS = _any(
    r"open(?:ing)?\b", r"close[sd]?\b", r"closing", r"working hours", r"hours\b", r"work on\b",
    r"work (?:today|tomorrow|late)", r"until when", r"how late", r"работае", r"открыт",
    r"открыва", r"закрыва", r"закрыт", r"часы работы", r"график", r"режим", r"расписани",
    r"до сколь?ки", r"до которого часа", r"со скольки", r"во сколько вы",
)  # fmt: skip
ADDRESS = _any(
    r"address", r"where (?:are|is|do)\b", r"where you", r"located", r"location", r"find you",
    r"get to you", r"directions", r"адрес", r"где вы", r"где наход", r"где располож",
    r"находитесь", r"как (?:к вам |до вас )?(?:добраться|доехать|пройти|проехать)",
)  # fmt: skip
BOOKING = _any(
    r"book(?:ing|ings)?\b", r"appointments?", r"reserve", r"reservation", r"sign (?:me )?up",
    r"(?:free|any) slots?", r"come in\b", r"can i come", r"could i come", r"запи(?:с|ш)", r"бронь",
    r"брониров", r"свободн", r"окошк", r"можно (?:к вам|прийти|подойти)", r"хочу (?:к вам|прийти)",
)  # fmt: skip
CHANGE = _any(
    r"cancel", r"reschedul", r"postpone", r"(?:change|move) (?:my|the|our)", r"отмен",
    r"перенес", r"перенос", r"переписат",
)  # fmt: skip
PERSON = _any(
    r"human", r"real person", r"(?:a|the) person\b", r"operator", r"manager", r"(?:an?|the) admin",
    r"complain", r"живо(?:й|го|му|м) человек", r"с человеком", r"оператор", r"менеджер",
    r"администратор", r"жалоб", r"позовите", r"позвать",
)  # fmt: skip
QUESTION = re.compile(
    r"\?|\A\W*(?:do|does|is|are|can|could|what|which|have|how|who|why|when|where|will|would"
    r"|есть|можно|какой|какая|какие|что|кто|когда|почему|зачем|где|делаете|а)\b"
)


def fold(text: str) -> str:
    """Return the text for comparison: small letters, no apostrophes, one spelling of ё."""
    return _APOSTROPHE.sub("", text.casefold().replace("ё", "е"))


def without_note(line: str) -> str:
    """Return the customer's own words of a line: without a channel's sentence in brackets."""
    return _NOTE.sub("", line)


def content_words(text: str) -> list[str]:
    """Return the words of a text that can name something, folded, in order."""
    words = [_WORD.findall(fold(line)) for line in text.splitlines()]
    return [word for line in words for word in line if word not in _EMPTY]


def same_word(one: str, other: str) -> bool:
    """Return whether two folded words are one, perhaps with another ending."""
    one, other = one.removesuffix("s"), other.removesuffix("s")
    shorter = min(len(one), len(other))
    if one == other or shorter < _INFLECTED_MIN:
        return one == other
    needed = max(_STEM_MIN, shorter - _ENDING_MAX)
    return one[:needed] == other[:needed]
