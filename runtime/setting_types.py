"""The texts a setting may hold: what each must look like, said without showing a secret."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from runtime.urls import AMQP_SCHEMES, REDIS_SCHEMES, url_problem

_SECRET_LENGTH_MAX = 256
#: Where our own webhooks may be; without a login, for it is shown.
HTTP_URL = r"https?://[^\s/@?#]+(/[^\s@?#]*)?"


def _redis_url(url: str) -> str:
    if problem := url_problem(url, REDIS_SCHEMES):
        raise ValueError(problem)
    return url


def _broker_url(url: str) -> str:
    if problem := url_problem(url, REDIS_SCHEMES + AMQP_SCHEMES):
        raise ValueError(problem)
    return url


def _canary_url(url: str) -> str:
    if url and not re.fullmatch(HTTP_URL, url):
        raise ValueError("must look like https://HOST, where our webhooks are")
    return url.rstrip("/")


def _release(text: str) -> str:
    if not re.fullmatch(r"[\w.+@-]{1,64}", text, re.ASCII):
        raise ValueError("must be 1..64 letters, digits or . _ + @ -")
    return text


def _dsn(text: str) -> str:
    if text and not re.fullmatch(r"https?://[^\s@/]+@[^\s@]+/\d+", text):
        raise ValueError("must look like https://KEY@HOST/PROJECT")
    return text


def _secret(text: str) -> str:
    if len(text) > _SECRET_LENGTH_MAX or not text.isprintable() or not text.isascii():
        raise ValueError(f"must be at most {_SECRET_LENGTH_MAX} printable ASCII characters")
    return text


def _upper(text: object) -> object:
    return text.upper() if isinstance(text, str) else text


RedisUrl = Annotated[str, AfterValidator(_redis_url), Field(repr=False)]
BrokerUrl = Annotated[str, AfterValidator(_broker_url), Field(repr=False)]
CanaryUrl = Annotated[str, AfterValidator(_canary_url)]
Release = Annotated[str, AfterValidator(_release)]
SentryDsn = Annotated[str, AfterValidator(_dsn), Field(repr=False)]
Secret = Annotated[str, AfterValidator(_secret), Field(repr=False)]
Environment = Literal["development", "test", "demo", "staging", "production"]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)]
