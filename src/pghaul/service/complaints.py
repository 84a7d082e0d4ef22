"""What pydantic and Typer complain of, in words of ours, which are translated; both know English only.

Matched by their sentences, as Typer keeps nothing else. One that is not known here is shown as it is: a test drives
every kind that a plan or an option can provoke.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pghaul.model.text import Text, say, saying

_KNOWN: tuple[tuple[str, Text], ...] = (
    (r"Input should be greater than or equal to (?P<least>\S+)", saying("at least {least} is needed")),
    (r"Input should be greater than (?P<least>\S+)", saying("more than {least} is needed")),
    (r"Input should be less than or equal to (?P<most>\S+)", saying("at most {most} is possible")),
    (r"Input should be less than (?P<most>\S+)", saying("less than {most} is needed")),
    (r"Input should be a valid integer\b.*", say("a whole number is needed")),
    (r"Input should be a valid number\b.*", say("a number is needed")),
    (r"Input should be a finite number", say("a number is needed")),
    (r"Input should be a valid boolean\b.*", say("true or false is needed")),
    (r"Input should be a valid string\b.*", say("text is needed")),
    (r"Input should be a valid (?:list|tuple|set)\b.*", say("a list is needed")),
    (r"Input should be (?:a valid dictionary|an object)\b.*", say("a table of keys is needed")),
    (r"Input is not a valid path\b.*", say("a path is needed")),
    (r"Input should be (?P<choices>'.+')", saying("one of {choices} is needed")),
    (r"(?P<value>'.*') is not one of (?P<choices>.+?)\.?", saying("{value} is none of {choices}")),
    (r"String should have at least (?P<n>\d+) characters?", saying("it has fewer than {n} characters")),
    (r"String should match pattern '(?P<pattern>.+)'", saying("it is not written as needed: {pattern}")),
    (r"List should have at least (?P<n>\d+) items?\b.*", saying("the list has fewer than {n} entries")),
    (r"Field required", say("it is missing")),
    (r"Extra inputs are not permitted", say("there is no such key")),
    (r"(?:file|path|dir) (?P<path>'.*') does not exist\.?", saying("{path} does not exist")),
    (r"(?:file|path|dir) (?P<path>'.*') is a file\.?", saying("{path} is a file, not a folder")),
    (r"(?:file|path|dir) (?P<path>'.*') is a directory\.?", saying("{path} is a folder, not a file")),
    (r"(?:file|path|dir) (?P<path>'.*') is not (?:readable|writable)\.?", saying("{path} cannot be opened")),
)
KNOWN = tuple((re.compile(pattern, re.DOTALL), words) for pattern, words in _KNOWN)
RAISED = "Value error, "  # what pydantic puts before the words of a validator


def complaint(words: str) -> str:
    """A sentence of theirs in ours."""
    if isinstance(words, Text):
        return words
    words = words.removeprefix(RAISED)
    for pattern, ours in KNOWN:
        if found := pattern.fullmatch(words):
            return ours.format(**found.groupdict())
    return words


def problem(found: Mapping[str, Any]) -> str:
    """One of `ValidationError.errors()`: in the words of the validator that refused it, or in ours."""
    refused = found.get("ctx", {}).get("error")
    if isinstance(refused, ValueError) and refused.args and isinstance(refused.args[0], Text):
        return refused.args[0]
    return complaint(str(found["msg"]))
