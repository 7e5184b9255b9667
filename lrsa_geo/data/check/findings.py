"""Findings: each kind of fault once, with a count, a few examples, what follows and what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Level = Literal["error", "warning", "note"]
_LEVELS: tuple[Level, ...] = ("error", "warning", "note")
_EXAMPLES = 3


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        name: what it is called.
        level: "error": training on it gives nonsense or a wrong figure; "warning": worth a look;
            "note": it is read right, and good to know.
        advice: what follows and what to do; ``{value}`` is the largest value of its cases.
    """

    name: str
    level: Level
    advice: str


@dataclass(frozen=True)
class Finding:
    """One kind of fault and where it is.

    Attributes:
        kind: of fault.
        count: graphs, files or fields that have it.
        examples: up to three of them, a sentence each.
        advice: what follows and what to do.
    """

    kind: Kind
    count: int
    examples: tuple[str, ...]
    advice: str

    @property
    def serious(self) -> bool:
        """Whether training on it gives nonsense or a wrong figure."""
        return self.kind.level == "error"

    def __str__(self) -> str:
        more = self.count - len(self.examples)
        lines = [f"{self.kind.level}: {self.kind.name} ({self.count:,})"]
        lines += [f"    {example}" for example in self.examples]
        lines += [f"    and {more:,} more"] * (more > 0)
        return "\n".join([*lines, f"    -> {self.advice}"])


@dataclass
class _Cases:
    count: int = 0
    examples: list[str] = field(default_factory=list)
    value: float = 0.0


@dataclass
class Findings:
    """Gathers cases by kind; examples are kept for the first few alone."""

    cases: dict[Kind, _Cases] = field(default_factory=dict)

    def add(self, kind: Kind, where: str, what: str, value: float = 0.0) -> None:
        """Note a case of a kind at a place."""
        cases = self.cases.setdefault(kind, _Cases())
        cases.count += 1
        cases.value = max(cases.value, value)
        if len(cases.examples) < _EXAMPLES:
            cases.examples.append(f"{where}: {what}")

    def listed(self) -> list[Finding]:
        """The findings, errors first."""
        return [
            Finding(
                kind,
                cases.count,
                tuple(cases.examples),
                kind.advice.format(value=f"{cases.value:.1g}"),
            )
            for level in _LEVELS
            for kind, cases in self.cases.items()
            if kind.level == level
        ]
