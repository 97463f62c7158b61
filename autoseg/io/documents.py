"""Strict typed JSON: every document is one frozen dataclass, read whole or refused."""

import dataclasses
import difflib
import json
import stat
from math import isfinite
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from autoseg.core.errors import AutosegError, DamagedError, DocumentError
from autoseg.io import files

Document = TypeVar("Document")

_ADAPTERS: Final[dict[type[Any], TypeAdapter[Any]]] = {}

LARGEST_BYTES: Final = 64 * 2**20
"""Documents above this size are refused unread."""


def read(path: Path, kind: type[Document]) -> Document:
    """Read a document from a file.

    Parameters
    ----------
    path : Path
        JSON file.
    kind : type
        The dataclass that it must hold.

    Raises
    ------
    DocumentError
        If the file is missing, too large, no strict JSON, or not of this kind.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for without end
            raise DocumentError(f"{path}: is no regular file", rule="E-SET-46")
        if path.stat().st_size > LARGEST_BYTES:
            raise _broken(f"{path}: has {path.stat().st_size} bytes, allowed are {LARGEST_BYTES}")
        data = path.read_bytes()
    except OSError as error:
        raise _broken(f"{path}: cannot be read ({error.strerror})", "check the path") from error
    return parse(data, kind, str(path))


def read_stored(path: Path, kind: type[Document], *, rule: str = "E-RES-76") -> Document:
    """Read a document that autoseg wrote: whatever is wrong with it is damage.

    Parameters
    ----------
    path : Path
        JSON file.
    kind : type
        The dataclass that it must hold.
    rule : str
        What a damaged file of this sort breaks.

    Raises
    ------
    DamagedError
        As `read`, naming the file.
    """
    try:
        return read(path, kind)
    except DocumentError as error:
        raise DamagedError(
            str(error),
            rule=error.rule if error.rule.startswith("E-MODEL") else rule,
            hint="restore the file, or run the command that wrote it again",
        ) from error


def parse(data: bytes, kind: type[Document], where: str) -> Document:
    """Turn the bytes of a document into its dataclass; ``where`` names it in errors.

    Raises
    ------
    DocumentError
        If it is no strict JSON, has another schema version, or breaks the type at some key.
    """
    _check_version(parse_json(data, where), kind, where)
    try:
        document: Document = _adapter(kind).validate_json(data)
    except ValidationError as error:
        raise _first_problem(error, kind, where) from error
    return document


def encode(value: Any) -> bytes:
    """Turn a document into bytes: indented JSON with a final newline.

    Raises
    ------
    DocumentError
        If it holds a NaN or an infinity, which `parse` would refuse.
    """
    data = _adapter(type(value)).dump_json(value, indent=1) + b"\n"
    parse_json(data, type(value).__name__)
    return data


def to_json(value: Any) -> dict[str, object]:
    """Turn a document into plain JSON values."""
    plain: dict[str, object] = _adapter(type(value)).dump_python(value, mode="json")
    return plain


def write(path: Path, value: Any, *, durable: bool = True) -> None:
    """Write a document atomically; see `autoseg.io.files.write_atomically`."""
    files.write_atomically(path, encode(value), durable=durable)


def parse_json(data: bytes, where: str) -> object:
    """Parse JSON strictly: no duplicate keys, no NaN or infinity, bounded size and depth.

    Raises
    ------
    DocumentError
        With rule E-SET-46, naming ``where``.
    """

    def refuse_constant(name: str) -> NoReturn:
        raise DocumentError(f"{where}: holds {name}, which is no finite number", rule="E-SET-46")

    def finite(text: str) -> float:
        return float(text) if isfinite(float(text)) else refuse_constant(text[:20])

    def refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = sorted({key for key in keys if keys.count(key) > 1})
            raise _broken(f"{where}: keys {twice} occur twice", "keep one of them")
        return found

    if len(data) > LARGEST_BYTES:
        raise _broken(f"{where}: has {len(data)} bytes, allowed are {LARGEST_BYTES}")
    try:
        value: object = json.loads(
            data,
            object_pairs_hook=refuse_duplicates,
            parse_constant=refuse_constant,
            parse_float=finite,
        )
    except DocumentError:
        raise
    except (ValueError, RecursionError) as error:
        raise _no_json(error, where) from error
    return value


def _no_json(error: ValueError | RecursionError, where: str) -> DocumentError:
    if isinstance(error, json.JSONDecodeError):
        return DocumentError(
            f"{where}: is no JSON at line {error.lineno}, column {error.colno}: {error.msg}",
            rule="E-SET-46",
            hint="mend that line; a JSON checker shows the place",
        )
    if isinstance(error, UnicodeDecodeError):
        return DocumentError(f"{where}: is no UTF-8 text ({error})", rule="E-SET-46")
    if isinstance(error, RecursionError):
        return DocumentError(f"{where}: is nested too deeply", rule="E-SET-46")
    # Python converts no whole number of more than 4300 digits.
    return DocumentError(f"{where}: holds too long a number ({error})", rule="E-SET-46")


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def _check_version(raw: object, kind: type[Any], where: str) -> None:
    known = {f.name: f.default for f in dataclasses.fields(kind)}.get("schema_version")
    if known is None or not isinstance(raw, dict):
        return
    found = raw.get("schema_version", known)
    if found != known:
        raise DocumentError(
            f"{where}: has schema version {found!r}, this autoseg reads {known}",
            rule="E-MODEL-60",
            hint="use the version of autoseg that wrote it, or make it again",
        )


def _first_problem(error: ValidationError, kind: type[Any], where: str) -> DocumentError:
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"]) or "the document"
    cause = problem.get("ctx", {}).get("error")
    further = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if isinstance(cause, AutosegError):
        return DocumentError(
            f"{where}: {place}: {cause}{further}", rule=cause.rule, hint=cause.hint
        )
    if problem["type"] == "unexpected_keyword_argument":
        key = str(problem["loc"][-1])
        near = difflib.get_close_matches(key, sorted(_keys(kind, set())), n=1, cutoff=0.6)
        meant = f" (meant {near[0]!r}?)" if near else ""
        return _broken(
            f"{where}: {place}: the key {key!r}{meant} is not known{further}",
            "remove or correct that key",
        )
    return _broken(
        f"{where}: {place}: {problem['msg']}, found {str(problem['input'])[:60]!r}{further}",
        "correct that key, or make the document again",
    )


def _keys(kind: Any, seen: set[Any]) -> set[str]:
    """Return the keys of a document type and of everything nested in it."""
    if kind in seen:
        return set()
    seen.add(kind)
    inner = list(get_args(kind))
    keys = set()
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        fields = [field.name for field in dataclasses.fields(kind)]
        keys.update(fields)
        inner += [hints[name] for name in fields]
    return keys.union(*(_keys(each, seen) for each in inner))


def _broken(
    message: str, hint: str = "correct the file; a JSON checker shows the place"
) -> DocumentError:
    return DocumentError(message, rule="E-SET-46", hint=hint)
