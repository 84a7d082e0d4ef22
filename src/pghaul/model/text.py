"""Words that a person will read: English now, and the template with its values, for any other language later.

Whatever raises, finds or tells something says it as a `Text`, which *is* the English string. A face that speaks another
language looks the template up and fills the values in again; so an error of a worker, or an event of a run of last
month, is read in the reader's language, not in that of the process that met it. Nothing below a face translates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

Value: TypeAlias = "str | int | float"  # a str may be a Text itself, which is translated too
Lookup: TypeAlias = Callable[[str], str]  # an English template to that of another language


class Text(str):
    """English, made of `template` by str.format with `values`. Without braces, template and text are the same."""

    __slots__ = ("template", "values")
    template: str
    values: Mapping[str, Value]

    def __new__(cls, template: str, values: Mapping[str, Value]) -> Text:
        self = super().__new__(cls, template.format(**values))
        self.template, self.values = template, dict(values)
        return self

    def __reduce__(self) -> tuple[object, ...]:
        """A worker's words keep their template on their way to the runner."""
        return (Text, (self.template, self.values))

    def format(self, *args: object, **values: Value) -> Text:  # type: ignore[override]
        """A constant's placeholders take their values. Positions are not supported: translations reorder."""
        if args:
            raise TypeError("placeholders of a Text have names")
        return Text(self.template, {**self.values, **values})

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema  # noqa: PLC0415 -- asked for by pydantic only

        return core_schema.no_info_plain_validator_function(
            revive, serialization=core_schema.plain_serializer_function_ser_schema(storable, when_used="json")
        )


class Template(Text):
    """A constant whose placeholders wait for their values; its own str is the template."""

    __slots__ = ()

    def __new__(cls, template: str, values: Mapping[str, Value] = {}) -> Template:  # noqa: ARG004
        self = str.__new__(cls, template)
        self.template, self.values = template, {}
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return (Template, (self.template,))


def say(template: str, /, **values: Value) -> Text:
    """Words for a person. `template` is a literal (it is collected for the catalogues), values have names.

    >>> say("{n} tables", n=3)
    '3 tables'
    """
    return Text(template, values)


def saying(template: str, /) -> Template:
    """A constant: words with placeholders, to be filled by `.format(name=value)` where they are said."""
    return Template(template)


def joined(separator: str, parts: Iterable[str]) -> Text:
    """Texts in a row, each of which is still translated by itself."""
    listed = list(parts)
    names = [f"part{i}" for i in range(len(listed))]
    glue = separator.replace("{", "{{").replace("}", "}}")
    return Text(glue.join("{" + n + "}" for n in names), dict(zip(names, listed, strict=True)))


def listed(names: Iterable[object], most: int = 10) -> str:
    """Names in a row: the first of them, and how many more there are."""
    known = [str(n) for n in names]
    first = ", ".join(known[:most])
    return first if len(known) <= most else say("{names} and {n} more", names=first, n=len(known) - most)


def words_of(exc: BaseException) -> str:
    """What was said with an exception that is none of ours: a Text keeps its template."""
    return exc.args[0] if exc.args and isinstance(exc.args[0], Text) else str(exc)


def told_in(lookup: Lookup, words: str) -> str:
    """`words` in the language of `lookup`; what is no Text is somebody's data, and stays as it is."""
    if not isinstance(words, Text):
        return words
    values = {k: told_in(lookup, v) if isinstance(v, str) else v for k, v in words.values.items()}
    if isinstance(words, Template):
        return lookup(words.template)
    try:
        return lookup(words.template).format(**values)
    except (KeyError, IndexError, ValueError):  # a catalogue with a mistake must not hide what happened
        return words.template.format(**values)


def storable(words: str) -> Any:
    """Plain JSON: a string as itself, a Text with its template and values."""
    if not isinstance(words, Text):
        return str(words)
    return {
        "say": words.template,
        "with": {k: storable(v) if isinstance(v, str) else v for k, v in words.values.items()},
    }


def revive(stored: Any) -> str:
    """What `storable` made, as words again; ValueError for what it cannot have made."""
    if isinstance(stored, str):
        return stored
    try:
        values = {k: revive(v) if isinstance(v, str | dict) else v for k, v in stored["with"].items()}
        return Text(stored["say"], values)
    except (TypeError, KeyError, AttributeError, IndexError) as exc:
        raise ValueError("neither words nor a template with its values") from exc
