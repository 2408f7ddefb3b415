"""What the receptionist says, in English and in Russian."""
# ruff: noqa: RUF001 - customers write Cyrillic, and dashes of every length

from dataclasses import dataclass
from datetime import date

from llm.prompt import DAYS, MONTHS

_RUSSIAN_MONTHS = (
    "января", "февраля", "марта", "апреля", "мая", "июня",
    "июля", "августа", "сентября", "октября", "ноября", "декабря",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Phrases:
    """The sentences of one language; ``{day}`` is what ``day`` of this class returns.

    Those named ``ask_*`` and ``noted`` mark an answer as part of a booking, so that the next
    burst goes on with it: no sentence may hold another.
    """

    russian: bool
    relative_days: tuple[str, str, str]
    week: tuple[str, ...]
    on_days: tuple[str, ...]
    months: tuple[str, ...]
    conjunctions: tuple[str, str]
    hello: str
    hello_from: str
    offer: str
    still_here: str
    welcome: str
    farewell: str
    agreed: str
    prices: str
    no_prices: str
    hours: str
    no_hours: str
    closed_mark: str
    open_on: str
    closed_on: str
    closing_over: str
    next_open: str
    address: str
    no_address: str
    unseen: str
    person: str
    handover: str
    change: str
    fits: str
    outside: str
    passed: str
    ask_service: str
    ask_which: str
    ask_day: str
    ask_time: str
    ask_day_and_time: str
    ask_all: str
    ask_other_day: str
    ask_other_time: str
    ask_booking: str
    noted: str
    visit: str
    on_day: str

    @property
    def booking_marks(self) -> tuple[str, ...]:
        """Return what shows that an answer belongs to a booking."""
        asked = (self.ask_service, self.ask_which, self.ask_day, self.ask_time)
        more = (self.ask_day_and_time, self.ask_all, self.ask_other_day, self.ask_other_time)
        starts = (phrase.partition("{")[0] for phrase in (*asked, *more, self.ask_booking))
        return (*starts, self.noted.rpartition("}")[2])

    def day(self, day: date, today: date) -> str:
        """Return a day as one says it: "tomorrow, Friday 16 January," or "on Friday 16 January"."""
        ahead = (day - today).days
        number = f"{day.day} {self.months[day.month - 1]}"
        on = f"{self.on_days[day.weekday()]} {number}"
        if not 0 <= ahead < len(self.relative_days):
            return self.on_day.format(day=on)
        return f"{self.relative_days[ahead]}, {on},"

    def joined(self, names: list[str], *, either: bool = False) -> str:
        """Return names as a list in words: "a, b and c", "a, b or c"."""
        if len(names) == 1:
            return names[0]
        return f"{', '.join(names[:-1])} {self.conjunctions[either]} {names[-1]}"


ENGLISH = Phrases(
    russian=False,
    relative_days=("today", "tomorrow", "the day after tomorrow"),
    week=DAYS,
    on_days=DAYS,
    months=MONTHS,
    conjunctions=("and", "or"),
    hello="Hello!",
    hello_from="Hello! This is {name}.",
    offer="How can I help you: prices, opening hours, or an appointment?",
    still_here="I am here. What can I do for you?",
    welcome="You are welcome!",
    farewell="Goodbye, see you soon!",
    agreed="Good. If there is anything else, just write.",
    prices="Our prices:",
    no_prices="I have no price list at hand: a colleague can tell you the prices here.",
    hours="Our opening hours: {hours}.",
    no_hours="I do not have our opening hours at hand: a colleague can tell you here.",
    closed_mark="closed",
    open_on="{day} we are open {hours}.",
    closed_on="{day} we are closed.",
    closing_over="{day} we have already closed.",
    next_open="We are open again {day} {hours}.",
    address="You find us here: {address}",
    no_address="I do not have our address at hand: a colleague can tell you here.",
    unseen="I cannot see pictures or listen to recordings here. "
    "Please write in a few words what it is about.",
    person="I do not know that for certain and would rather not guess: "
    "a colleague can answer you here.",
    handover="Of course: a colleague can answer you here.",
    change="Changing or cancelling an appointment is for a colleague, who can answer you here.",
    fits="{time} {day} is within our opening hours ({hours}).",
    outside="{day} we are open {hours}, so {time} is not possible.",
    passed="It is already {now} here, so {time} {day} has passed.",
    ask_service="Which service would you like: {names}?",
    ask_which="Which one do you mean: {names}?",
    ask_day="Which day would suit you?",
    ask_time="What time would suit you?",
    ask_day_and_time="Which day and what time would suit you?",
    ask_all="Gladly. Which service would you like, on which day and at what time?",
    ask_other_day="Which other day would suit you?",
    ask_other_time="What other time would suit you?",
    ask_booking="Would you like an appointment?",
    noted="Your wish: {services}, {day} at {time}. "
    "A colleague checks the calendar and confirms it here; until then it is not booked.",
    visit="a visit",
    on_day="on {day}",
)

RUSSIAN = Phrases(
    russian=True,
    relative_days=("сегодня", "завтра", "послезавтра"),
    week=("понедельник", "вторник", "среда", "четверг", "пятница", "суббота", "воскресенье"),
    on_days=(
        "в понедельник",
        "во вторник",
        "в среду",
        "в четверг",
        "в пятницу",
        "в субботу",
        "в воскресенье",
    ),
    months=_RUSSIAN_MONTHS,
    conjunctions=("и", "или"),
    hello="Здравствуйте!",
    hello_from="Здравствуйте! Это {name}.",
    offer="Чем могу помочь: цены, часы работы, запись?",
    still_here="Я на связи. Чем могу помочь?",
    welcome="Пожалуйста!",
    farewell="До свидания, будем вам рады!",
    agreed="Хорошо. Если будут ещё вопросы, пишите.",
    prices="Наши цены:",
    no_prices="Прайса у меня под рукой нет: цены вам подскажет здесь коллега.",
    hours="Мы работаем: {hours}.",
    no_hours="Часов работы у меня под рукой нет: вам подскажет здесь коллега.",
    closed_mark="выходной",
    open_on="{day} мы работаем {hours}.",
    closed_on="{day} у нас выходной.",
    closing_over="{day} мы уже закрыты.",
    next_open="Снова работаем {day} {hours}.",
    address="Наш адрес: {address}",
    no_address="Адреса у меня под рукой нет: вам подскажет здесь коллега.",
    unseen="Я не могу здесь посмотреть изображение или прослушать запись. "
    "Напишите, пожалуйста, в двух словах, о чём речь.",
    person="Точно не знаю, а гадать не хочу: вам ответит здесь коллега.",
    handover="Конечно: вам ответит здесь коллега.",
    change="Перенос или отмену записи оформит коллега: вам ответят здесь.",
    fits="{day} в {time} мы работаем ({hours}).",
    outside="{day} мы работаем {hours}, поэтому {time} не получится.",
    passed="У нас уже {now}, поэтому {day} на {time} не получится.",
    ask_service="На какую услугу вас записать: {names}?",
    ask_which="Что именно вы имеете в виду: {names}?",
    ask_day="Какой день вам удобен?",
    ask_time="Какое время вам удобно?",
    ask_day_and_time="Какой день и какое время вам удобны?",
    ask_all="С удовольствием. На какую услугу, на какой день и на какое время вас записать?",
    ask_other_day="Какой другой день вам подойдёт?",
    ask_other_time="Какое другое время вам подойдёт?",
    ask_booking="Записать вас?",
    noted="Ваше пожелание: {services}, {day} в {time}. "
    "Коллега проверит расписание и подтвердит здесь; до этого запись не оформлена.",
    visit="визит",
    on_day="{day}",
)
