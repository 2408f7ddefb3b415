"""The businesses whose customers write: their accounts, as an operator would hand them over."""

from pathlib import Path

from tests.stack.accounts import BusinessNumber, accounts_toml

#: One tells a person of a text in doubt, the other sends it once more. Models take their time.
SALON = BusinessNumber("salon", "100001", {"timeout_ms": 5_000}, {"timeout_ms": 10_000})
RESENDING = BusinessNumber(
    "resending", "100006", {"ambiguous": "resend", "timeout_ms": 5_000}, {"timeout_ms": 10_000}
)
BUSINESSES = (SALON, RESENDING)
#: Of accounts that send a part in doubt once more.
RESENDS = frozenset({RESENDING.account_id})

_PROMPT = "# Invented salon\n\nHaircut: 30 EUR. Open 9:00-18:00.\n"


def write_accounts(directory: Path, outside_url: str) -> tuple[Path, Path]:
    """Write the accounts and their prompts; return the file and the directory."""
    prompts = directory / "prompts"
    prompts.mkdir(parents=True, exist_ok=True)
    (prompts / "salon.md").write_text(_PROMPT)
    accounts = directory / "accounts.toml"
    accounts.write_text(
        accounts_toml(outside_url, prompt_file="prompts/salon.md", numbers=BUSINESSES)
    )
    return accounts, prompts
