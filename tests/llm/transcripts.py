"""Conversations with the demo's salon, and what every answer must and must not hold.

The clock of the salon shows Thursday, 15 January 2026, 13:00. A turn is what the customer writes,
a line for each message, what the answer has to hold, and what it must not.
"""

from collections.abc import Mapping
from typing import NamedTuple

VOICE = "[The customer sent a voice message that cannot be played here]"
PICTURE = "[The customer sent a picture that cannot be shown here]"
LIKED = "[The customer reacted to a message] 👍"
STICKER = "[The customer sent a sticker]"


class Turn(NamedTuple):
    """One burst. A price may stand in the answer only where ``has`` names one."""

    says: str
    has: tuple[str, ...]
    lacks: tuple[str, ...] = ()


ENGLISH: Mapping[str, tuple[Turn, ...]] = {
    "a booking that moves": (
        Turn("Hi, I'm Anna", ("Hello!", "Salon Linden", "Anna")),
        Turn("how much is a manicure?", ("Manicure: 28 EUR",), ("Pedicure",)),
        Turn("👍", (), ("colleague",)),
        Turn(
            "ok, book me for tomorrow at 3 pm",
            ("Manicure", "Friday 16 January", "15:00", "not booked"),
        ),
        Turn(
            "move it to Wednesday 11",
            ("Manicure", "Wednesday 21 January", "11:00", "colleague"),
            ("15:00", "16 January"),
        ),
        Turn(LIKED, (), ("?", "colleague")),
        Turn("what's my name?", ("Anna",)),
        Turn("is my appointment confirmed now?", ("colleague",), ("Please write",)),
        Turn("please cancel it", ("Cancelling", "colleague"), ("Please write", "sorry")),
        Turn("thanks, bye!", ("welcome", "Goodbye"), ("colleague",)),
    ),
    "a complaint is not a booking": (
        Turn(
            "I booked a haircut yesterday and it was awful, my hair is ruined",
            ("sorry", "colleague"),
            ("Please write", "appointment?"),
        ),
        Turn("I want my money back", ("sorry", "colleague"), ("card",)),
        Turn("are you a bot?", ("automatic", "not a person")),
        Turn("then let me talk to a human please", ("colleague",), ("automatic",)),
        Turn("message 17", (), ("Parking", "17:00", "the day")),
        Turn("do you remember my name?", ("not told",)),
        Turn("why did nobody answer my complaint??", ("sorry", "colleague")),
    ),
    "several questions at once": (
        Turn(
            "Hello!\nwhere are you?\nis there parking?\ncan I pay by card?",
            ("Hello!", "Lindenstraße 0", "Parking is free", "pay by card"),
            ("colleague",),
        ),
        Turn("are you open on Sunday?", ("Sunday 18 January", "closed")),
        Turn("and on Saturday?", ("Saturday 17 January", "11:00–18:00"), ("Please write",)),
        Turn("what's open today? and tomorrow?", ("Thursday 15 January", "Friday 16 January")),
        Turn(
            "How much do a men's haircut and a pedicure cost? And when are you open?",
            ("Men's haircut: 30 EUR", "Pedicure: 38 EUR", "Monday–Friday: 10:00–20:00"),
            ("Women", "Manicure"),
        ),
        Turn("do you sell shampoo?", ("colleague",), ("voucher",)),
        Turn("are cats welcome?", ("colleague",), ("Dogs", "Children")),
        Turn("how much is a massage?", ("colleague",), ("28 EUR",)),
        Turn("do you have gift cards", ("gift vouchers",), ("in cash",)),
        Turn("ok great, thank you so much!!", ("welcome",), ("colleague",)),
    ),
    "outside the opening hours": (
        Turn("Can I come today at 11?", ("Hello!", "too late", "Thursday 15 January"), ("11:00",)),
        Turn("then at 21:00", ("10:00–20:00", "write"), ("21:00",)),
        Turn("at 7pm", ("at 19:00", "the service")),
        Turn("hair", (), ("Your wish",)),
        Turn("men's haircut", ("Men's haircut, on Thursday 15 January, at 19:00", "not booked")),
        Turn("perfect", (), ("?", "colleague")),
        Turn("I was there yesterday at 3, it was lovely, thanks!", ("welcome",), ("Please write",)),
        Turn("book me a pedicure on 10 January at noon", ("10 January", "too late", "the day")),
    ),
    "what cannot be seen or read": (
        Turn(VOICE, ("Hello!", "cannot", "write")),
        Turn(f"{PICTURE} how much is such a manicure?", ("Manicure: 28 EUR",)),
        Turn(STICKER, (), ("?", "colleague")),
        Turn("asdf qwerty", ("not sure",), ("Please write",)),
        Turn("How are you today?", ("Thank you",), ("10:00",)),
        Turn("Wie viel kostet ein Haarschnitt?", ("Kollege",), ("colleague", "Haircut")),
        Turn("Ich heiße Jonas. Wie heiße ich?", ("Sie heißen Jonas",), ("colleague",)),
        Turn("А українською можна?", ("колега",), ("коллега", "colleague")),
        Turn("Хочу записатися на завтра о 15:00", ("колега",), ("коллега", "пожелание")),
        Turn("how much is\na pedicure", ("Pedicure: 38 EUR",), ("Manicure",)),
        Turn("sorry, English please. Do you do blow-dry?", ("Blow-dry: 25 EUR",)),
    ),
    "a language that it does not have": (
        Turn("Hola, ¿hay aparcamiento para bicicletas?", ("Hello!", "colleague")),
        Turn("gracias", (), ("Parking",)),
    ),
    "a booking in small pieces": (
        Turn(
            "Hi\ncan I book\nfor tomorrow 15:00?",
            ("Hello!", "Friday 16 January, at 15:00", "the service"),
            ("the day", "the time"),
        ),
        Turn("a haircut", ("Women's haircut, Men's haircut", "Friday 16 January"), ("Pedicure",)),
        Turn("men's", ("Men's haircut, on Friday 16 January, at 15:00", "not booked"), ("Women",)),
        Turn("or rather at 4 pm", ("Men's haircut", "at 16:00"), ("15:00",)),
        Turn("make it an hour later", ("Men's haircut", "the day, the time"), ("at 16:00",)),
        Turn("Saturday", ("Saturday 17 January", "write the time")),
        Turn("12 then", ("Saturday 17 January, at 12:00", "not booked")),
        Turn("also a pedicure", ("Men's haircut, Pedicure", "at 12:00")),
    ),
    "other questions in the middle of a booking": (
        Turn("book a manicure on Sunday", ("closed", "the day, the time", "Manicure")),
        Turn("at 12", ("Manicure, at 12:00", "the day"), ("Sunday",)),
        Turn("how much is a blow-dry?", ("Blow-dry: 25 EUR",), ("Manicure",)),
        Turn(
            "no, Saturday at 12 for the manicure", ("Manicure, on Saturday 17 January, at 12:00",)
        ),
        Turn("tomorrow at 22:00", ("10:00–20:00", "the time"), ("22:00", "not booked")),
        Turn("I am Kate. What's my name?", ("Kate",)),
    ),
    "a price that becomes a booking": (
        Turn("what does a haircut cost", ("Women's haircut: 45 EUR", "Men's haircut: 30 EUR")),
        Turn("yes please", ("Women's haircut, Men's haircut",), ("Blow-dry",)),
        Turn("women's, friday 10:00", ("Women's haircut, on Friday 16 January, at 10:00",)),
        Turn("I had a haircut last week", (), ("Your wish",)),
        Turn("the pedicure chipped and I am upset", ("sorry",)),
        Turn("dogs and kids ok?", ("Dogs are welcome", "Children are welcome")),
        Turn("I forgot my card at your place", ("colleague",), ("in cash",)),
        Turn("my card was charged twice", ("sorry",), ("in cash",)),
        Turn("reschedule to 21.01 at 15:30", ("Wednesday 21 January, at 15:30",), ("10:00",)),
        Turn("no wait, 16:00", ("21 January, at 16:00",), ("15:30",)),
    ),
}

RUSSIAN: Mapping[str, tuple[Turn, ...]] = {
    "a booking that moves": (
        Turn("Здравствуйте, меня зовут Анна", ("Здравствуйте!", "Salon Linden", "Анна")),
        Turn("сколько стоит маникюр?", ("Маникюр: 28 EUR",), ("Педикюр",)),
        Turn("👍", (), ("коллега",)),
        Turn(
            "да, запишите на завтра в 15",
            ("Маникюр", "пятницу 16 января", "15:00", "не оформлена"),
        ),
        Turn(
            "перенесите на среду 11",
            ("Маникюр", "среду 21 января", "11:00", "оллега"),
            ("15:00", "16 января"),
        ),
        Turn(LIKED, (), ("?", "оллега")),
        Turn("как меня зовут?", ("Анна",)),
        Turn("моя запись подтверждена?", ("оллега",), ("что вам подойдёт",)),
        Turn("отмените, пожалуйста", ("Отмену", "оллега"), ("что вам подойдёт", "жаль")),
        Turn("спасибо, до свидания!", ("Пожалуйста", "До свидания"), ("оллега",)),
    ),
    "a complaint is not a booking": (
        Turn(
            "Записалась вчера на стрижку, и это было ужасно, волосы испорчены",
            ("жаль", "оллега"),
            ("что вам подойдёт", "Записать вас"),
        ),
        Turn("верните мне деньги", ("жаль", "оллега"), ("карт",)),
        Turn("вы бот?", ("автоматический", "не человек")),
        Turn("тогда позовите человека", ("оллега",), ("автоматический",)),
        Turn("сообщение 17", (), ("арковка", "17:00", "что вам подойдёт")),
        Turn("вы помните, как меня зовут?", ("не называли",)),
        Turn("почему никто не ответил на мою жалобу??", ("жаль", "оллега")),
    ),
    "several questions at once": (
        Turn(
            "Добрый день!\nгде вы находитесь?\nпарковка есть?\nможно оплатить картой?",
            ("Здравствуйте!", "Lindenstraße 0", "Парковка", "картой"),
            ("оллега",),
        ),
        Turn(
            "вы работаете в воскресенье?",
            ("воскресенье 18 января", "выходной"),
        ),
        Turn("а в субботу?", ("субботу 17 января", "11:00–18:00"), ("что вам подойдёт",)),
        Turn("сегодня открыты? а завтра?", ("четверг 15 января", "пятницу 16 января")),
        Turn(
            "Сколько стоят мужская стрижка и педикюр? И когда вы работаете?",
            ("Мужская стрижка: 30 EUR", "Педикюр: 38 EUR", "Понедельник–пятница: 10:00–20:00"),
            ("Женская", "Маникюр"),
        ),
        Turn("шампунь продаёте?", ("оллега",), ("сертификат",)),
        Turn("а с кошкой можно?", ("оллега",), ("обак", "Дет")),
        Turn("сколько стоит массаж?", ("оллега",), ("28 EUR",)),
        Turn("есть подарочные карты?", ("сертификат",), ("наличными",)),
        Turn("отлично, большое спасибо!!", ("Пожалуйста",), ("оллега",)),
    ),
    "outside the opening hours": (
        Turn("Можно прийти сегодня в 11?", ("Здравствуйте!", "прошло", "15 января"), ("11:00",)),
        Turn("тогда в 21:00", ("10:00–20:00", "время"), ("21:00",)),
        Turn("в 7 вечера", ("в 19:00", "услугу")),
        Turn("волосы", (), ("пожелание",)),
        Turn("мужская стрижка", ("Мужская стрижка, в четверг 15 января, в 19:00", "не оформлена")),
        Turn("супер", (), ("?", "оллега")),
        Turn(
            "Была у вас вчера в 3, всё понравилось, спасибо!",
            ("Пожалуйста",),
            ("что вам подойдёт",),
        ),
        Turn("запишите на педикюр на 10 января в полдень", ("10 января", "прошло", "день")),
    ),
    "what cannot be seen or read": (
        Turn("Здравствуйте", ("Здравствуйте!", "Чем могу помочь")),
        Turn(VOICE, ("не могу", "Напишите")),
        Turn(f"{PICTURE} сколько стоит такой маникюр?", ("Маникюр: 28 EUR",)),
        Turn(STICKER, (), ("?", "оллега")),
        Turn("фывапр олдж", ("не понял",), ("что вам подойдёт",)),
        Turn("Как дела?", ("Спасибо",)),
        Turn("Haben Sie am Sonntag geöffnet?", ("Kollege",), ("оллега", "closed")),
        Turn("Do you take cards?", ("pay by card",), ("карт",)),
        Turn("простите, по-русски. Укладку делаете?", ("Укладка: 25 EUR",)),
    ),
    "another day, then another time": (
        Turn("Хочу записаться на стрижку", ("Здравствуйте!", "Женская стрижка, Мужская стрижка")),
        Turn("мужская, в воскресенье в 12", ("выходной", "Мужская стрижка", "день")),
        Turn("тогда в понедельник, в 9", ("10:00–20:00", "время"), ("09:00",)),
        Turn("10:30", ("Мужская стрижка, в понедельник 19 января, в 10:30", "не оформлена")),
        Turn("и педикюр тоже", ("Мужская стрижка, Педикюр", "10:30")),
        Turn("педикюр облез, я расстроена", ("жаль",), ("пожелание",)),
        Turn("можно с собакой и детьми?", ("С собаками можно", "Детям мы рады")),
    ),
}
