"""The measurements run; what they say is for people to judge."""

import re

import pytest

from bench.__main__ import main


@pytest.mark.parametrize(
    ("part", "figure"),
    [
        ("memory", r"open conversation, three 300-byte messages +[\d,]+ B"),
        ("tick", r"collect, 10,000 open +[\d,]+ µs"),
        pytest.param("webhooks", r"failed requests +0\b", marks=pytest.mark.slow),
        pytest.param("overhead", r"answers, one to each burst +40\b", marks=pytest.mark.slow),
    ],
)
def test_quick_measurement_prints_its_figure(
    capsys: pytest.CaptureFixture[str], part: str, figure: str
) -> None:
    main(["--quick", part])

    assert re.search(figure, capsys.readouterr().out)
