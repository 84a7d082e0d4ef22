"""`pghaul report`: what a run did and how it is proven, for who has to answer for it: text, data, or one page."""

from __future__ import annotations

import io
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pghaul.cli import exit_codes, options, render
from pghaul.cli.words import language
from pghaul.model.errors import UsageError
from pghaul.model.text import say, saying
from pghaul.service.migration import MigrationService

if TYPE_CHECKING:
    from pghaul.service.report.contents import Report


class Form(StrEnum):
    TEXT = "text"
    JSON = "json"
    HTML = "html"


ENDINGS = {".html": Form.HTML, ".htm": Form.HTML, ".json": Form.JSON}
NOT_OURS = {".pdf", ".doc", ".docx", ".xls", ".xlsx", ".csv"}  # text under such a name would not open
WRITTEN = saying("The report is in {path}")
NO_BROWSER = saying("No browser was found to open it. The report is in {path}")

ReportId = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's id, or a verification's.", autocompletion=options.complete_run)
]
AsForm = Annotated[Form | None, typer.Option("--format", help="As what; else what the file's name says, else text.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Into a file that only you may read.")
]
Open = Annotated[bool, typer.Option("--open", help="Show the page in a browser.")]


def report(
    run_id: ReportId,
    form: AsForm = None,
    output: Output = None,
    browse: Open = False,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
) -> int:
    """What a run did and how it is proven, for a manager or an auditor: as text, JSON, or one HTML page."""
    form = _form(form, output, as_json=as_json, browse=browse)
    found = MigrationService().report(run_id)
    made = _made(found, form, verbose=verbose, aside=output is not None)
    if output is None and not browse:
        _tell(made, form)
        return exit_codes.DONE
    import webbrowser  # noqa: PLC0415 -- what only a report needs is loaded for a report only

    from pghaul.service.report import place  # noqa: PLC0415

    path = output or place.aside(f"pghaul-{found.id}.{form.value}")
    place.write(path, made)
    shown = not browse or webbrowser.open(path.resolve().as_uri())
    render.line(Console(stderr=True), (WRITTEN if shown else NO_BROWSER).format(path=str(path)))
    return exit_codes.DONE


def _form(form: Form | None, output: Path | None, *, as_json: bool, browse: bool) -> Form:
    """What was said outright, else what the file's name says."""
    if as_json and form not in {None, Form.JSON}:
        raise UsageError(
            say("--json and --format {form} contradict each other", form=str(form)),
            advice=say("leave one of them out"),
            code=1081,
        )
    if form is None and not as_json and output and output.suffix.lower() in NOT_OURS:
        raise UsageError(
            say("a report is text, JSON or an HTML page"),
            where=str(output),
            advice=say("write it to a file .html, and let a browser print that as PDF"),
            code=1082,
        )
    named = ENDINGS.get(output.suffix.lower()) if output else None
    return form or (Form.JSON if as_json else named or (Form.HTML if browse else Form.TEXT))


def _tell(made: str, form: Form) -> None:
    """A page and data are UTF-8, whatever the terminal is; text is what the terminal can show."""
    if form is Form.TEXT:
        known = sys.stdout.encoding or "utf-8"
        sys.stdout.write(made.encode(known, "replace").decode(known))
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(made.encode("utf-8", "backslashreplace"))


def _made(found: Report, form: Form, *, verbose: bool, aside: bool) -> str:
    """The report in this form; on a terminal in colours."""
    from pghaul.service.report.data import as_data  # noqa: PLC0415

    data = as_data(found)
    if form is Form.JSON:
        return render.as_json(data) + "\n"
    if form is Form.HTML:
        from pghaul.service.report.page import html  # noqa: PLC0415 -- jinja2

        return html(found, data, language())
    from pghaul.cli import report_text  # noqa: PLC0415

    out, here = io.StringIO(), render.page()
    colours = here.is_terminal and not aside
    console = Console(
        file=out, highlight=False, width=here.width if colours else render.PAGE, force_terminal=colours or None
    )
    report_text.show(console, found, data, verbose=verbose)
    return out.getvalue()
