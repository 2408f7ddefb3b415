"""The adaptive debounce window: how long to wait for more, by what was written last, and why.

Fixed rules, no model: the same words always wait equally long. The signs at the end are read in
every language, words only in those of ``LANGUAGES``. Nothing here decides alone: a batch is due
when it is full or after its longest wait, whatever the rules say, see ``due_ms``.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from batching.model import InboundMessage, Kind, Limits, plain


class Rule(StrEnum):
    """What a message looks like; ``docs/conversation.md`` has an example of each."""

    QUESTION = "question"
    SENTENCE = "sentence"
    WORDS = "words"
    GREETING = "greeting"
    COMMA = "comma"
    DASH = "dash"
    DOTS = "dots"
    JOIN = "join"
    THANKS = "thanks"
    EMOJI = "emoji"
    REPLY = "reply"
    CHOICE = "choice"
    VOICE = "voice"
    STICKER = "sticker"
    MEDIA = "media"


#: How long to wait after a message, in percent of ``idle_ms``; 100 for rules that are not here.
PERCENT: Final[Mapping[Rule, int]] = {
    Rule.CHOICE: 50,
    Rule.QUESTION: 50,
    Rule.GREETING: 150,
    Rule.COMMA: 150,
    Rule.DASH: 150,
    Rule.DOTS: 150,
    Rule.JOIN: 150,
    Rule.MEDIA: 135,
}


@dataclass(frozen=True, slots=True)
class Language:
    """The words of a language, in lower case, separated by commas.

    ``joins``: words after which something follows. ``replies``: short answers to a question.
    """

    greetings: str
    thanks: str
    replies: str
    joins: str


LANGUAGES: Final[Mapping[str, Language]] = {
    "en": Language(
        "hi,hello,hey,hi there,hello there,hey there,good morning,good afternoon,good evening,"
        "good day,greetings,morning,evening",
        "thanks,thank you,thx,ty,cheers,many thanks,thanks a lot,so much,very much,bye,goodbye,"
        "see you,have a nice day,have a good day",
        "yes,yeah,yep,no,nope,ok,okay,sure,great,perfect,fine,good,cool,got it",
        "and,but,or,because,so,if,with,for,to,at,on,in,the,a,an,my,also,plus,about,from,by,of",
    ),
    "ru": Language(
        "привет,приветик,здравствуйте,здравствуй,здрасте,добрый день,доброе утро,добрый вечер,"
        "доброго дня,день добрый,хай,алло",
        "спасибо,спс,благодарю,спасибо большое,большое спасибо,огромное спасибо,вам,пока,"
        "до свидания,до встречи,хорошего дня,всего доброго",
        "да,нет,ок,окей,хорошо,ладно,ага,угу,конечно,отлично,понятно,ясно,супер",
        "и,а,но,или,что,чтобы,если,на,в,во,с,со,к,по,для,у,потому,также,ещё,еще,как,о,об,от,до,из",
    ),
    "uk": Language(
        "привіт,вітаю,добрий день,добрий ранок,доброго ранку,добрий вечір,доброго дня",
        "дякую,дуже дякую,спасибі,щиро дякую,вам,бувайте,до побачення,гарного дня",
        "так,ні,ок,добре,гаразд,ага,звичайно,чудово,зрозуміло",
        "і,й,та,а,але,або,чи,що,щоб,якщо,на,в,у,з,до,для,по,ще,як,від,про",
    ),
    "es": Language(
        "hola,buenas,buenos días,buenos dias,buen día,buen dia,buenas tardes,buenas noches,saludos",
        "gracias,muchas gracias,mil gracias,muy amable,adiós,adios,chao,hasta luego,"
        "buen fin de semana",
        "sí,si,no,vale,ok,claro,perfecto,bueno,listo,genial,de acuerdo,entendido",
        "y,e,o,u,pero,porque,que,con,para,por,de,del,en,el,la,los,las,un,una,mi,también,a,al,cuando",
    ),
    "pt": Language(
        "oi,olá,ola,bom dia,boa tarde,boa noite,tudo bem,e aí",
        "obrigado,obrigada,muito obrigado,muito obrigada,brigado,brigada,valeu,tchau,até logo,"
        "até mais",
        "sim,não,nao,ok,claro,perfeito,certo,beleza,ótimo,pode ser,entendi,tá bom",
        "e,ou,mas,porque,que,se,com,para,pra,por,de,do,da,em,no,na,o,a,os,as,um,uma,meu,minha,também",
    ),
    "de": Language(
        "hallo,hi,guten morgen,guten tag,guten abend,moin,servus,grüß gott,hey",
        "danke,vielen dank,danke schön,dankeschön,danke sehr,tschüss,auf wiedersehen,bis dann",
        "ja,nein,ok,okay,gut,genau,klar,passt,super,alles klar",
        "und,oder,aber,weil,dass,wenn,mit,für,zu,zum,zur,um,am,im,in,der,die,das,ein,eine,auch,von",
    ),
    "fr": Language(
        "bonjour,bonsoir,salut,coucou,bonjour madame,bonjour monsieur",
        "merci,merci beaucoup,merci bien,au revoir,bonne journée,bonne soirée,à bientôt",
        "oui,non,ok,d'accord,parfait,bien sûr,super,très bien,entendu",
        "et,ou,mais,parce que,que,si,avec,pour,à,de,du,le,la,les,un,une,mon,ma,aussi,en,dans,chez",
    ),
    "it": Language(
        "ciao,buongiorno,buonasera,buon giorno,buona sera,salve,buon pomeriggio",
        "grazie,grazie mille,molte grazie,arrivederci,a presto,buona giornata",
        "sì,si,no,ok,va bene,certo,perfetto,d'accordo,bene",
        "e,o,ma,perché,che,se,con,per,di,da,del,il,la,lo,i,gli,le,un,una,anche,a,in,mio,mia",
    ),
}
_NO_LANGUAGE: Final = Language("", "", "", "")

#: Signs at the end of a text, beyond those of Latin script: Arabic, Chinese, Greek, Armenian.
_ASKS: Final = "?؟？⁇⁈⁉¿՞\u037e"
_ENDS: Final = ".!。！।։۔"
_PAUSES: Final = ",،，、;؛；"
_GOES_ON: Final = ":-–—&+/："
_DOTS: Final = ("...", "…", "..")
#: What may stand behind the sign that ends a text, brackets that smile among it; then their eyes,
#: and smileys that end in a letter.
_BEHIND: Final = " \t\n)(]}\"'»”’*_~"
_EYES: Final = re.compile(r"[:;=][-']?$")
_LAUGH: Final = re.compile(r"\s(?:[:;=8]-?[DPp]|[xX]D{1,9})$")
_SMILEY: Final = re.compile(r"(?:[:;=8]-?['’]?[)(DPpОO3*|/\\]+|<3|[xX]D+|\)+|\^_*\^)")
_ANSWERING_EMOJI: Final = frozenset("👍👌✅🆗🙆👎❌🙅✔☑💯")
_EMOJI_CATEGORIES: Final = frozenset({"So", "Sk", "Cf", "Mn", "Me", "Zs"})
_KINDS: Final[Mapping[Kind, Rule]] = {
    **dict.fromkeys((Kind.VOICE, Kind.AUDIO), Rule.VOICE),
    Kind.STICKER: Rule.STICKER,
    **dict.fromkeys(
        (Kind.IMAGE, Kind.VIDEO, Kind.DOCUMENT, Kind.CONTACTS, Kind.LOCATION), Rule.MEDIA
    ),
    **dict.fromkeys(
        (Kind.BUTTON_REPLY, Kind.LIST_REPLY, Kind.FLOW_REPLY, Kind.ORDER, Kind.POLL_VOTE,
         Kind.PAYMENT, Kind.CALL),
        Rule.CHOICE,
    ),
}  # fmt: skip
#: Our own sentences about a message; its words stand behind them, and hold no such brackets.
_DESCRIPTIONS: Final = re.compile(r"\A(?:\[[^\[\]]*\]\s*)+")
#: So many characters at the end of a text are looked at.
_LOOKED_AT: Final = 200


def rule_of(message: InboundMessage, language: str) -> Rule:
    """Return what a message looks like; ``language``: of its account, such as "en" or "pt-BR"."""
    return Rule.WORDS if message.amends else rule_of_said(message.kind, message.text, language)


def closes(kind: Kind, rule: Rule) -> bool:
    """Return whether a message may end a conversation and ask for nothing: thanks, a lone emoji.

    Not where they stand below a picture or a file: that may ask for something.
    """
    return kind is Kind.TEXT and rule in {Rule.THANKS, Rule.EMOJI}


def rule_of_said(kind: Kind, text: str, language: str) -> Rule:
    """Return what a message of a kind looks like; ``text``: as the model reads it."""
    rule, words = _KINDS.get(kind), _DESCRIPTIONS.sub("", text)
    if rule is None or (rule is Rule.MEDIA and words):
        return rule_of_words(words, language)
    return rule


def rule_of_words(text: str, language: str) -> Rule:
    """Return what the words of a message look like."""
    is_whole, text = len(text) <= _LOOKED_AT, _visible(text[-_LOOKED_AT:])
    if is_whole and (emoji := _only_emoji(text)):
        return emoji
    words, code = _without_emoji(text), language.partition("-")[0].lower()
    if is_whole and (rule := _by_phrases(words, code)):
        return rule
    if (rule := _by_sign(words, code)) is not Rule.WORDS:
        return rule
    last = words.casefold().split()[-1:]
    return Rule.JOIN if last and last[0] in _joins(code) else Rule.WORDS


def idle_ms(rule: Rule, limits: Limits) -> int:
    """Return how long to wait after a message; never longer than a batch may collect at all."""
    return min(limits.idle_ms * PERCENT.get(rule, 100) // 100, limits.max_wait_ms)


def pause_after(message: InboundMessage, language: str, limits: Limits) -> str:
    """Return how long to wait for more, in ms, and the rule that says so, as batches keep it."""
    rule = rule_of(message, language)
    return f"{idle_ms(rule, limits)} {rule}"


def due_ms(limits: Limits, count: int, first_ms: int, last_ms: int, wait_ms: int) -> int:
    """Return when an open batch is due; ``due_at`` of the scripts is the same, and compared."""
    if count >= limits.max_messages:
        return last_ms
    return min(last_ms + wait_ms, first_ms + limits.max_wait_ms)


def _visible(text: str) -> str:
    """Return text without marks of direction and other characters that nobody sees."""
    kept = (c for c in text if c in "\u200d\n" or unicodedata.category(c) not in {"Cf", "Cc"})
    return "".join(kept).strip()


def _only_emoji(text: str) -> Rule | None:
    """Return the rule of a text that is emoji or smileys alone, None for any other."""
    rest = _SMILEY.sub("", text).strip()
    if not text or any(unicodedata.category(c) not in _EMOJI_CATEGORIES for c in rest):
        return None
    return Rule.REPLY if _ANSWERING_EMOJI.intersection(rest) else Rule.EMOJI


def _without_emoji(text: str) -> str:
    """Return text without emoji at its end, which often stand in place of a full stop."""
    while text and unicodedata.category(text[-1]) in _EMOJI_CATEGORIES | {"Cs"}:
        text = text[:-1]
    return text


def _by_sign(words: str, code: str) -> Rule:
    """Return the rule of the sign at the end, WORDS where there is none."""
    bare = _LAUGH.sub("", words).rstrip(_BEHIND)
    if words[len(bare) :].startswith((")", "(", "]")):
        bare = _EYES.sub("", bare).rstrip()
    if bare.endswith(tuple(_ASKS)) or (code == "el" and bare.endswith(";")):
        return Rule.QUESTION
    if bare.endswith(_DOTS):
        return Rule.DOTS
    if bare.endswith(tuple(_PAUSES)):
        return Rule.COMMA
    if bare.endswith(tuple(_GOES_ON)):
        return Rule.DASH
    # Armenian asks by a sign within the word.
    return Rule.SENTENCE if bare.endswith(tuple(_ENDS)) else Rule.WORDS


def _by_phrases(words: str, code: str) -> Rule | None:
    """Return the rule of a text that is nothing but a greeting, thanks or a short answer."""
    if code not in LANGUAGES or "?" in words:
        return None
    bare = " ".join(re.sub(r"[^\w\s'’]", " ", plain(words)).split())
    for rule, pattern in _patterns(code).items():
        if pattern.fullmatch(bare):
            return rule
    return None


@lru_cache(maxsize=len(LANGUAGES))
def _patterns(code: str) -> Mapping[Rule, re.Pattern[str]]:
    """Return by rule what a whole text must be; a short answer with thanks stays an answer."""
    spoken = LANGUAGES[code]
    greeting, thanks = _any_of(spoken.greetings), _any_of(spoken.thanks)
    polite = f"(?:{_any_of(spoken.replies)}|{thanks})"
    return {
        Rule.GREETING: re.compile(rf"{greeting}(?: {greeting})*"),
        Rule.THANKS: re.compile(rf"{thanks}(?: {thanks})*"),
        Rule.REPLY: re.compile(rf"{polite}(?: {polite})*"),
    }


def _any_of(phrases: str) -> str:
    longest_first = sorted(map(plain, phrases.split(",")), key=len, reverse=True)
    return f"(?:{'|'.join(map(re.escape, longest_first))})"


@lru_cache(maxsize=len(LANGUAGES) + 1)
def _joins(code: str) -> frozenset[str]:
    return frozenset(filter(None, LANGUAGES.get(code, _NO_LANGUAGE).joins.split(",")))
