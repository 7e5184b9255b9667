"""Layers by name, by class or by factory: one convention for mixers and convolutions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn


def accepted(kind: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the given arguments that a class or factory names in its signature."""
    names = inspect.signature(kind).parameters
    if any(p.kind is p.VAR_KEYWORD for p in names.values()) and not inspect.isclass(kind):
        return dict(given)  # a factory that takes whatever there is
    return {name: value for name, value in given.items() if name in names}


def build(
    kind: Callable[..., nn.Module],
    given: Mapping[str, Any],
    what: str,
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Call a class or factory with those of the given arguments that it names.

    Args:
        kind: class or factory.
        given: what a model knows, such as ``{"channels": 64, "heads": 4}``.
        what: the model's argument, for messages.
        options: arguments that it must take; they win.

    Raises:
        ValueError: it needs something else, or does not take an option.
    """
    options = options or {}
    unknown = sorted(set(options) - set(accepted(kind, options)))
    if unknown:
        raise ValueError(
            f"`{what}_options` names {', '.join(unknown)}, which {_name(kind)} does not take; it"
            f" takes {', '.join(inspect.signature(kind).parameters)}"
        )
    try:
        return kind(**{**accepted(kind, given), **options})
    except TypeError as error:
        raise ValueError(
            f"`{what}` is '{_name(kind)}', which needs more than {', '.join(given)} ({error}); give"
            " a factory or an instance that knows the rest"
        ) from error


def _name(kind: Callable[..., Any]) -> str:
    return getattr(kind, "__name__", repr(kind))
