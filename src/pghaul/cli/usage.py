"""Typer's complaints about words, as errors of ours: with a code, an advice, and in the reader's language."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pghaul.model.errors import UsageError
from pghaul.model.text import Text, say, saying
from pghaul.service.complaints import complaint

SEE = saying("{path} --help")
DID_YOU_MEAN = saying("did you mean {possible}? {see}")
NEEDS_A_VALUE = say("it needs a value")
TAKES_NO_VALUE = say("it takes no value")

# Of Typer's sentences, where its exception keeps no more than them.
NO_COMMAND = re.compile(r"No such command '(?P<name>[^']*)'\.?(?: Did you mean (?P<possible>.*)\?)?", re.DOTALL)
EXTRA = re.compile(r"Got unexpected extra arguments?(?:\(s\))? \((?P<words>.*)\)", re.DOTALL)
VALUE = re.compile(r"Option '(?P<option>.+?)' (?P<which>requires|does not take) .*", re.DOTALL)


def as_ours(exc: BaseException) -> UsageError | None:
    """What Typer raised; None where it had nothing to say but the help, which has been shown."""
    words = getattr(exc, "message", None) or str(exc)
    context = getattr(exc, "ctx", None)
    if type(exc).__name__ == "NoArgsIsHelpError" or not (words or hasattr(exc, "param")):
        return None
    see = SEE.format(path=str(getattr(context, "command_path", "pghaul")))
    if (name := getattr(exc, "option_name", None)) and hasattr(exc, "possibilities"):
        return _no_option(str(name), exc.possibilities or (), see)
    if found := _by_its_sentence(words, see):
        return found
    place = _place(exc)
    if type(exc).__name__ == "MissingParameter":
        return UsageError(say("{what} is missing", what=place), advice=see, code=1067)
    return _wrong_value(place, complaint(words), see)


def _by_its_sentence(words: str, see: Text) -> UsageError | None:
    if found := NO_COMMAND.fullmatch(words):
        near = (found["possible"] or "").replace("'", "").replace("one of: ", "")
        advice = DID_YOU_MEAN.format(possible=near, see=see) if near else see
        return UsageError(say("there is no command {command}", command=found["name"]), advice=advice, code=1066)
    if found := EXTRA.fullmatch(words):
        return UsageError(say("too many words: {words}", words=found["words"]), advice=see, code=1069)
    if found := VALUE.fullmatch(words):
        what = NEEDS_A_VALUE if found["which"] == "requires" else TAKES_NO_VALUE
        return _wrong_value(found["option"], what, see)
    return None


def _no_option(name: str, possible: Iterable[str], see: Text) -> UsageError:
    near = ", ".join(sorted(possible))
    advice = DID_YOU_MEAN.format(possible=near, see=see) if near else see
    return UsageError(say("there is no option {option}", option=name), advice=advice, code=1065)


def _wrong_value(place: str, what: str, see: Text) -> UsageError:
    return UsageError(say("{option}: {problem}", option=place or "pghaul", problem=what), advice=see, code=1068)


def _place(exc: BaseException) -> str:
    """The option or argument as it is written."""
    hint = getattr(exc, "param_hint", None)
    if hint is None and (parameter := getattr(exc, "param", None)) is not None:
        hint = parameter.get_error_hint(getattr(exc, "ctx", None)) if _takes_context(parameter) else None
        hint = hint or parameter.get_error_hint()
    return str(hint or "").replace("'", "")


def _takes_context(parameter: object) -> bool:
    """Click's own parameters are asked with their context, those of newer Typers without."""
    code = getattr(getattr(type(parameter), "get_error_hint", None), "__code__", None)
    return code is not None and code.co_argcount > 1
