"""A summary by folder of what pytest did, read from its JUnit report."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from xml.etree import ElementTree as ET

from rich.table import Table

OUTCOMES = ("passed", "failed", "skipped")


def read(report: Path) -> tuple[dict[str, Counter[str]], dict[str, Counter[str]], dict[str, float]]:
    """Counts by folder and outcome, skip reasons by folder, seconds by folder."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    reasons: dict[str, Counter[str]] = defaultdict(Counter)
    seconds: dict[str, float] = defaultdict(float)
    for case in ET.parse(report).iter("testcase"):  # noqa: S314
        parts = case.get("classname", "").split(".")
        folder = parts[1] if len(parts) > 1 and parts[0] == "tests" else parts[0]
        seconds[folder] += float(case.get("time", 0))
        skipped = case.find("skipped")
        if skipped is not None:
            counts[folder]["skipped"] += 1
            reasons[folder][skipped.get("message", "no reason given")] += 1
        elif case.find("failure") is not None or case.find("error") is not None:
            counts[folder]["failed"] += 1
        else:
            counts[folder]["passed"] += 1
    return counts, reasons, seconds


def table(report: Path) -> Table:
    """One row a folder; the reasons of its skips below its counts."""
    counts, reasons, seconds = read(report)
    view = Table("tests", *OUTCOMES, "seconds", "skipped because", title="Summary by folder", title_justify="left")
    for folder in sorted(counts):
        why = "\n".join(f"{count} x {reason}" for reason, count in reasons[folder].most_common())
        view.add_row(folder, *(str(counts[folder][name]) for name in OUTCOMES), f"{seconds[folder]:.0f}", why)
    return view
