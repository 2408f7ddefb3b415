"""How plays are told: what failed in its own words, and the verdict again at the end."""

import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.plugins.callback.default import CallbackModule as Default

from ansible import constants

DOCUMENTATION = """
name: verdict
type: stdout
short_description: Ansible's default, with failures in their own words and the verdict at the end
description:
  - What a failed task says is printed as text. With -v it is printed as Ansible's default does.
  - What was said last, or what set_stats was given as C(verdict), is the end of the output.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
"""

#: Of what a program printed before it failed.
LINES_MAX = 8


class CallbackModule(Default):
    """Prints what happens."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "verdict"

    def __init__(self) -> None:
        """Begin with nothing said."""
        super().__init__()
        self._began_s = time.monotonic()
        #: The task that failed last, and what it said of each host; tries are told once.
        self._failed: tuple[str, list[tuple[str, str]]] = ("", [])
        self._tried = ""

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:  # noqa: FBT001, FBT002 - Ansible's
        """Print what it says."""
        if self._display.verbosity:
            super().v2_runner_on_failed(result, ignore_errors)
        if "results" in result.result and result.task.loop:
            # Each of them was told.
            return
        self._tell_failure(result, self.host_label(result))
        if ignore_errors:
            self._print("...ignored", constants.COLOR_SKIP)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        """Print what it says."""
        if self._display.verbosity:
            super().v2_runner_item_on_failed(result)
        of = f"{self.host_label(result)}, {self._get_item_label(result.result)}"
        self._tell_failure(result, of)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Print why."""
        if self._display.verbosity:
            super().v2_runner_on_unreachable(result)
        self._tell_failure(result, self.host_label(result), "UNREACHABLE: ")

    def v2_runner_retry(self, result: Any) -> None:
        """Print the first of many tries."""
        if self._display.verbosity:
            super().v2_runner_retry(result)
        elif self._tried != result.task._uuid:
            self._tried = result.task._uuid
            self._tell(result, f"waiting: [{self.host_label(result)}]", constants.COLOR_DEBUG)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Print the table of hosts, and below it the verdict."""
        super().v2_playbook_on_stats(stats)
        seconds = int(time.monotonic() - self._began_s)
        took = f"{seconds // 60} min {seconds % 60} s"
        failed = stats.failures or stats.dark
        told = list(self._last_words()) if failed else verdict_of(stats.custom)
        color = constants.COLOR_ERROR if failed else constants.COLOR_OK
        for text in told:
            self._print(text, color)
        if told:
            self._print(f"({took})", color)

    def _last_words(self) -> Iterator[str]:
        """Yield what the last task that failed said, each thing once, after the hosts it is of."""
        of: dict[str, list[str]] = {}
        for host, text in self._failed[1]:
            of.setdefault(text, []).append(host)
        for text, hosts in of.items():
            is_named = text.startswith("Refused") or any(host in text for host in hosts)
            yield text if is_named else f"{', '.join(hosts)}: {text}"

    def _tell_failure(self, result: Any, of: str, how: str = "") -> None:
        said = self._failed[1] if self._failed[0] == result.task._uuid else []
        text = how + reason_of(result.result)
        self._failed = (result.task._uuid, [*said, (of, text)])
        if not self._display.verbosity:
            self._handle_warnings(result.result)
            shown = "the same" if text in [it for _, it in said] else text
            self._tell(result, f"fatal: [{of}]: {shown}", constants.COLOR_ERROR)

    def _tell(self, result: Any, text: str, color: str) -> None:
        if self._last_task_banner != result.task._uuid:
            self._print_task_banner(result.task)
        self._print(text, color)

    def _print(self, text: str, color: str) -> None:
        """Print it, in a terminal without cutting words in two."""
        for line in text.splitlines():
            folded = textwrap.wrap(
                line, self._display.columns, break_long_words=False, break_on_hyphens=False
            )
            lines = folded if sys.stdout.isatty() else [line]
            self._display.display("\n".join(lines), color=color)


def reason_of(result: Mapping[str, Any]) -> str:
    """Return why a task failed, in its own words."""
    if result.get("censored"):
        return "what it says is hidden, as it may hold secrets"
    text = (
        str(result.get("msg") or "").removeprefix("Task failed: ").removeprefix("Action failed: ")
    )
    return "\n".join(text.splitlines() + list(_output(result, text))) or "it does not say why"


def _output(result: Mapping[str, Any], text: str) -> Iterator[str]:
    """Yield the last lines of what a program printed, unless that was said."""
    for stream in ("stderr", "stdout"):
        printed = str(result.get(stream) or "").strip()
        if "rc" in result and printed and printed not in text:
            yield from printed.splitlines()[-LINES_MAX:]
            return


def verdict_of(stats: Mapping[str, Any]) -> list[str]:
    """Return the lines that set_stats was given as ``verdict``, none where it was not."""
    lines = stats.get("_run", {}).get("verdict", [])
    return [str(line) for line in lines]
