"""docs/reference/errors.md, made from the code: each error and finding with its number, its sentence, and what to do.

A number means the same for ever. So the page is also the memory: a number that is gone from the code is kept on it as
retired and may not come back, and a sentence that has become another is refused, unless `--reworded` says that it
means the same. A page that is deleted forgets.

    python -m tools.errors [--check | --reworded]
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pghaul.model import errors
from pghaul.model.errors import PghaulError
from pghaul.model.finding import ERRORS, Kind, Severity
from tools.words import SOURCE, Module, modules

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "errors.md"
CLASSES: dict[str, type[PghaulError]] = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, PghaulError)
}
BY_FAMILY = {kind.family: kind for kind in CLASSES.values()}
# What has no sentence of its own: it says again what a driver or another error has said. By file and function.
AGAIN = {
    "engine/insert.py:_conflict": "the server's words",
    "model/finding.py:of_error": "an error as a finding",
    "postgres/session.py:_guarded": "the server's words",
    "postgres/session.py:_refusal": "the driver's words",
    "postgres/sqlstate.py:translate": "the driver's words",
    "target/restore.py:calling": "what pg_dump or pg_restore said, while the server was away",
}
ROW = re.compile(r"^\| PGH-(\d{4})(?: \((\w+)\))? \| (.*?) \|", re.MULTILINE)
QUOTED, NUMBER = re.compile(r"\{(\w+)!r\}"), re.compile(r"\{(\w+):[^}]*\}")
RETIRED = "## Retired"
RETIRED_HEAD = (
    "They meant something in an earlier version, and never mean anything else.\n\n| code | it said |\n|---|---|\n"
)
HEAD = """# Errors

Every error and every finding of `pghaul plan` has a code that means the same in every version. It stands behind the
message in brackets. This page is made from the code by `python -m tools.errors`; words in braces are filled in. What a
server or a driver says is shown in its own words, under its class's own code and with its SQLSTATE. A warning or a note
does not stop a run.

The exit status is 2 for codes below 2000, 130 for 4000, and 1 for all others; 3 means that data differ.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One place that makes an error or a finding."""

    place: str
    home: str  # file:function
    kind: str  # the class of the error
    code: int | None
    sentences: tuple[str, ...]
    advices: tuple[str, ...]
    severity: str = ""


def collect(root: Path = SOURCE) -> Iterator[Made]:
    """All of them, in the order of files and lines."""
    for module in modules(root):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and (kind := _kind(node)):
                yield _made(module, node, kind)


def _kind(call: ast.Call) -> str | None:
    """The class of the error; of a finding that of what it would be raised as; None for any other call."""
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    if name in CLASSES:
        return name
    words = {k.arg: k.value for k in call.keywords}
    if name != "Finding" or "kind" not in words:  # that of a tree has a problem, and no number
        return None
    told = words["kind"]
    of = told.attr if isinstance(told, ast.Attribute) else ""
    return ERRORS[Kind[of]].__name__ if of in Kind.__members__ else "Finding"


def _made(module: Module, call: ast.Call, kind: str) -> Made:
    words = {k.arg: k.value for k in call.keywords}
    message = words.get("what") or words.get("message") or (call.args[0] if call.args else None)
    number, degree = words.get("code"), words.get("severity")
    return Made(
        place=module.place(call),
        home=f"{module.path.relative_to(module.root).as_posix()}:{module.home(call)}",
        kind=kind,
        code=number.value if isinstance(number, ast.Constant) and isinstance(number.value, int) else None,
        sentences=module.templates(message),
        advices=module.templates(words.get("advice")),
        severity=Severity[degree.attr].value
        if isinstance(degree, ast.Attribute) and degree.attr in Severity.__members__
        else "",
    )


def problems(made: Sequence[Made], page: str = "") -> list[str]:
    """What is wrong with the numbers, among themselves and against a page that was made before."""
    by_code = _by_code(made)
    wrong = [complaint for m in made if (complaint := _complaint(m))]
    for code, same in sorted(by_code.items()):
        said = {s for m in same for s in m.sentences}
        if len(said) > 1:
            wrong.append(f"{code} has several sentences: {sorted(said)}, at {', '.join(m.place for m in same)}")
    for sentence, codes in _by_sentence(made).items():
        if len(codes) > 1:
            wrong.append(f"one sentence has several numbers {sorted(codes)}: {sentence}")
    back = by_code.keys() & _retired(page).keys()
    return wrong + [f"{code} was retired and may not mean anything else" for code in sorted(back)]


def _complaint(made: Made) -> str | None:
    if made.code is None:
        return None if made.home in AGAIN else f"{made.place}: {made.kind} without a number"
    if not made.sentences:
        return f"{made.place}: {made.code} does not say a template"
    kind = CLASSES.get(made.kind)
    if kind is not None and not kind.family < made.code < kind.family + 100:
        return f"{made.place}: {made.code} is not of {made.kind}, whose numbers begin at {kind.family}"
    return None


def reworded(made: Sequence[Made], page: str) -> list[str]:
    """Numbers whose sentence is another than on the page."""
    old, new = _on_page(page), _rows(made)
    return [
        f"PGH-{code} was “{old[code]}”, is “{new[code].sentence}”: give it another number, or say --reworded"
        for code in sorted(old.keys() & new.keys())
        if old[code] != new[code].sentence
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    sentence: str
    advice: str
    severity: str


def _rows(made: Sequence[Made]) -> dict[int, _Row]:
    rows = {}
    for code, same in _by_code(made).items():
        sentences = [s for m in same for s in m.sentences]
        severities = {m.severity for m in same} - {Severity.ERROR.value}
        rows[code] = _Row(
            sentence=_cell(sentences[0] if sentences else ""),
            advice=_cell(" · ".join(dict.fromkeys(a for m in same for a in m.advices))),
            severity=severities.pop() if len(severities) == 1 and "" not in severities else "",
        )
    return rows


def page(made: Sequence[Made], old: str = "") -> str:
    """The whole page; `old` is what it was, for what is gone."""
    rows = _rows(made)
    sections = [_section(kind, rows) for family, kind in sorted(BY_FAMILY.items()) if kind is not PghaulError]
    gone = _retired(old) | {c: s for c, s in _on_page(old).items() if c not in rows}
    return "\n".join([HEAD, *sections, *([_gone(gone)] if gone else [])])


def _section(kind: type[PghaulError], rows: Mapping[int, _Row]) -> str:
    head = f"## {kind.family}: {kind.title}\n\n`{kind.__name__}`. Where nothing else is said: {_cell(kind.counsel)}.\n"
    mine = sorted(code for code in rows if code // 100 * 100 == kind.family)
    lines = [
        f"| PGH-{c}{f' ({rows[c].severity})' if rows[c].severity else ''} | {rows[c].sentence} | {rows[c].advice} |\n"
        for c in mine
    ]
    table = "\n| code | it says | what to do |\n|---|---|---|\n" + "".join(lines) if lines else ""
    return head + table


def _gone(gone: Mapping[int, str]) -> str:
    lines = (f"| PGH-{code} | {sentence} |\n" for code, sentence in sorted(gone.items()))
    return f"{RETIRED}\n\n{RETIRED_HEAD}{''.join(lines)}"


def _on_page(text: str) -> dict[int, str]:
    return {int(m[1]): m[3] for m in ROW.finditer(text.partition(RETIRED)[0])}


def _retired(text: str) -> dict[int, str]:
    return {int(m[1]): m[3] for m in ROW.finditer(text.partition(RETIRED)[2])}


def _by_code(made: Iterable[Made]) -> dict[int, list[Made]]:
    found: dict[int, list[Made]] = defaultdict(list)
    for each in made:
        if each.code is not None:
            found[each.code].append(each)
    return found


def _by_sentence(made: Iterable[Made]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = defaultdict(set)
    for each in made:
        for sentence in each.sentences if each.code is not None else ():
            found[sentence].add(each.code or 0)
    return found


def _cell(words: str) -> str:
    """As a reader wants it: quotes for {name!r}, and no width of a number."""
    plain = NUMBER.sub(r"{\1}", QUOTED.sub(r"'{\1}'", words)).replace("{{", "{").replace("}}", "}")
    return " ".join(plain.split()).replace("|", "\\|").replace("<", "&lt;")


def main() -> int:
    """Write the page anew, unless a number is wrong; with --check, only say what is."""
    made, old = list(collect()), PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    wrong = problems(made, old) + ([] if "--reworded" in sys.argv else reworded(made, old))
    new = page(made, old)
    if "--check" in sys.argv and new != old:
        wrong.append("docs/reference/errors.md is stale: python -m tools.errors")
    sys.stdout.write("".join(f"{line}\n" for line in wrong))
    if not wrong and "--check" not in sys.argv:
        PAGE.write_text(new, encoding="utf-8", newline="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
