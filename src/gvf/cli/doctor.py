"""Command `doctor`, which reports what works on this machine and how to fix what does not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gvf.cli.diagnosis import Finding

_MARKS = {"ok": ("ok", "green"), "absent": ("--", "yellow"), "problem": ("!!", "red")}


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print all findings as JSON.")
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """Check versions, devices, backends, weights, data and disk space of this machine, without network access.

    `ok`: works. `--`: missing, and only needed for the purpose in its line. `!!`: missing or broken, and gvf does not work
    without it. The exit code is 1 if there is any `!!`, else 0.
    """
    from gvf.cli.diagnosis import diagnose

    findings = diagnose()
    problems = [finding for finding in findings if finding.state == "problem"]
    if as_json:
        click.echo(json.dumps({"works": not problems, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        _show(findings)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        click.echo(
            f"\n{count}: {', '.join(one.name for one in problems)}."
            if problems
            else "\nEverything that is required works."
        )
    context.exit(1 if problems else 0)


def _show(findings: Sequence[Finding]) -> None:
    width = max(len(finding.name) for finding in findings)
    section = ""
    for finding in findings:
        if finding.section != section:
            section = finding.section
            click.secho(f"{section}", bold=True)
        mark, color = _MARKS[finding.state]
        advice = f". {finding.advice}" if finding.advice else ""
        click.echo(f"  {click.style(mark, fg=color)} {finding.name:<{width}}  {finding.detail}{advice}")
