"""YAML files that people write: what is wrong with one is said with its name and line."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Hashable
from pathlib import Path
from typing import Any, get_type_hints

import yaml


def read_yaml(path: str | Path) -> Any:
    """What a YAML file holds: plain values, lists and tables; nothing of it is executed.

    Args:
        path: text in UTF-8.

    Raises:
        ValueError: it is no text in UTF-8 or no YAML; a key is there twice, of which YAML would
            silently take the last. The message names the file and, where it is known, the line.
        OSError: it cannot be read.

    Examples:
        >>> from pathlib import Path
        >>> from lrsa_geo.train import read_yaml
        >>> _ = Path("mine.yaml").write_text("data: {path: mine.h5}")
        >>> read_yaml("mine.yaml")
        {'data': {'path': 'mine.h5'}}
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        return yaml.load(text, _Loader)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is no text in UTF-8 ({error}); save it as such") from error
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        line = f"line {mark.line + 1}: " if mark else ""
        hint = "; indent by spaces, never tabs" if mark and "\t" in _line(text, mark.line) else ""
        raise ValueError(f"{path}: {line}no valid YAML ({problem or error}){hint}") from error


def check_config_file(path: str | Path, config: type) -> None:
    """Refuse a file that is no YAML, or has keys that a configuration has not.

    Args:
        path: YAML file.
        config: dataclass of dataclasses, whose values the file may have.

    Raises:
        ValueError: it cannot be read; a key is not known, or there twice; a group is no group.
    """
    values = read_yaml(path)
    if values is None:
        raise ValueError(f"{path}: is empty, expected values such as 'data: {{path: mine.h5}}'")
    _check_keys(path, "", values, config)


def _check_keys(path: str | Path, group: str, values: Any, config: type) -> None:
    if not isinstance(values, dict):
        raise ValueError(
            f"{path}: {group.rstrip('.') or 'the whole'} is {str(values)[:60]!r}, expected"
            f" {', '.join(f.name for f in dataclasses.fields(config))}, each with a value"
        )
    types = get_type_hints(config)
    for key, value in values.items():
        if key not in types:
            near = difflib.get_close_matches(str(key), types, 1, 0.5)
            raise ValueError(
                f"{path}: there is no value '{group}{key}'"
                + (f"; did you mean '{group}{near[0]}'?" if near else f", but {', '.join(types)}")
            )
        if dataclasses.is_dataclass(types[key]) and value is not None:
            _check_keys(path, f"{group}{key}.", value, types[key])


def _line(text: str, number: int) -> str:
    lines = text.splitlines()
    return lines[number] if number < len(lines) else ""


class _Loader(yaml.SafeLoader):
    """YAML in which a key may be there once only; of two, YAML silently takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if keys.count(key.value) > 1 and key.value != "<<":
                raise yaml.constructor.ConstructorError(
                    problem=f"'{key.value}' is there twice", problem_mark=key.start_mark
                )
        return super().construct_mapping(node, deep)
