"""The types allowed at a path of the config, found by walking the models.

Used to read an environment variable by the type of its path, and to list the keys known there.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from cmc_notify.settings.base import SinkSettings, holds_secret, settings_class
from cmc_notify.settings.document import Path

_ABSENT = object()


class ConfigTypes:
    """The types of one config: of its root model, the installed sink types, and the tree that names them."""

    def __init__(
        self, root: type[BaseModel], sink_types: Mapping[str, type[SinkSettings]], tree: Any
    ) -> None:
        self._root = root
        self._sink_types = sink_types
        self._tree = tree

    def at(self, path: Path) -> tuple[Any, ...]:
        """Return the types allowed at ``path``; empty if none is."""
        found: tuple[Any, ...] = (self._root,)
        for depth, key in enumerate(path, start=1):
            steps = (inner for annotation in found for inner in _step(annotation, key))
            found = tuple(self._dispatched(annotation, path[:depth]) for annotation in steps)
        return found

    def keys(self, path: Path) -> tuple[str, ...]:
        """Return the keys that a mapping at ``path`` knows, sorted; empty if any or no key is allowed."""
        return tuple(
            sorted({key for annotation in self.at(path) if is_model(annotation) for key in _keys(annotation)})
        )

    def collects(self, path: Path) -> bool:
        """Return True if a list or a mapping is allowed at ``path``."""
        return any(
            is_model(annotation)
            or get_origin(annotation) in (dict, list, tuple, set, frozenset, Mapping, Sequence)
            for annotation in self.at(path)
        )

    def nullable(self, path: Path) -> bool:
        """Return True if ``null`` is allowed at ``path`` and can't be a secret's text."""
        found = self.at(path)
        return NoneType in found and SecretStr not in found

    def _dispatched(self, annotation: Any, path: Path) -> Any:
        """Replace the general sink type by the class for its ``type`` and ``preset``."""
        if annotation is not SinkSettings:
            return annotation
        written = value_at(self._tree, path)
        named = value_at(written, ("type",))
        found = self._sink_types.get(named) if isinstance(named, str) else None
        return settings_class(found, written) if found else annotation


def value_at(tree: Any, path: Path) -> Any:
    """Return the value at ``path`` of a tree, or None."""
    for key in path:
        tree = child(tree, key)
        if tree is _ABSENT:
            return None
    return tree


def has(tree: Any, key: str | int) -> bool:
    """Return True if a mapping or list has something under ``key``."""
    return child(tree, key) is not _ABSENT


def child(tree: Any, key: str | int) -> Any:
    """Return the value of a mapping or list under ``key``, or a unique marker."""
    if isinstance(tree, dict):
        return tree.get(key, _ABSENT)
    if isinstance(tree, list) and isinstance(key, int) and 0 <= key < len(tree):
        return tree[key]
    return _ABSENT


def is_model(annotation: Any) -> bool:
    """Return True for the type of a mapping with fixed keys."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def secret_key(model: type[BaseModel], name: str, field: FieldInfo) -> str | None:
    """Return the ``…_file`` key of a field, or None if it has none."""
    file_key = f"{field.alias or name}_file"
    return file_key if holds_secret(field.annotation) and file_key not in model.model_fields else None


def _keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield field.alias or name
        if file_key := secret_key(model, name, field):
            yield file_key


def _step(annotation: Any, key: str | int) -> Iterable[Any]:
    if is_model(annotation):
        for name, field in annotation.model_fields.items():
            if key == (field.alias or name):
                return _members(field.annotation)
            if key == secret_key(annotation, name, field):
                return (str,)
        return ()
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    if origin in (dict, Mapping):
        return _members(arguments[1])
    if origin in (list, tuple, set, frozenset, Sequence) and isinstance(key, int):
        return _members(arguments[0])
    return ()


def _members(annotation: Any) -> Iterator[Any]:
    """Yield the alternatives of a union, without their annotations."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for inner in get_args(annotation):
            yield from _members(inner)
    else:
        yield annotation
