"""The texts an account may hold: what each must look like, said without showing a secret."""

import re
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator

from batching.model import CANARY_ACCOUNT

_SECRETS_MAX = 2
_TEMPERATURE_MAX = 2


def _matches(pattern: str, problem: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError(problem)
        return text

    return AfterValidator(check)


def _one_or_two(value: object) -> object:
    names = [value] if isinstance(value, str) else value
    if isinstance(names, list) and not 1 <= len(names) <= _SECRETS_MAX:
        raise ValueError(f"must be one name, or a list of 1..{_SECRETS_MAX}")
    return names


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be a time zone such as Europe/Berlin") from None
    return name


def _temperature(value: float) -> float:
    if not 0 <= value <= _TEMPERATURE_MAX:
        raise ValueError(f"must be 0..{_TEMPERATURE_MAX}")
    return value


AccountId = Annotated[
    str,
    _matches(r"[a-z0-9-]{1,40}", "must be 1..40 of a-z, 0-9 and -"),
    _matches(rf"(?!{CANARY_ACCOUNT}$).*", "is reserved for the canary"),
]
EnvName = Annotated[
    str, _matches(r"[A-Z_][A-Z0-9_]{0,63}", "must be the NAME of an environment variable")
]
EnvNames = Annotated[list[EnvName], BeforeValidator(_one_or_two)]
Digits = Annotated[str, _matches(r"\d{5,20}", "must be 5..20 digits in quotes")]
Word = Annotated[str, _matches(r"[\w.:/@+-]{1,100}", "must be 1..100 letters, digits or .:/@+-_")]
Url = Annotated[str, _matches(r"https?://[^\s/@?#]+[^\s@?#]*", "must look like https://HOST/PATH")]
Language = Annotated[str, _matches(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})?", 'must look like "en"')]
Timezone = Annotated[str, AfterValidator(_timezone)]
FilePath = Annotated[str, _matches(r"[^\0\n]{1,200}", "must be a path")]
Temperature = Annotated[float, AfterValidator(_temperature)]
