"""The processes of a training: the first one decides, the others follow."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import lightning

FOLLOW = "LRSA_GEO_RUN"  # the run folder, for the processes that Lightning starts

Made = TypeVar("Made")


class Processes:
    """What happens once, and who does it.

    Lightning starts the processes of a machine itself, by running the command again when the first
    one comes to ``fit``; until then there is one. ``torchrun`` and SLURM start all of them at once:
    they talk from the beginning.

    Args:
        trainer: not yet fitting.

    Raises:
        ValueError: Lightning would start processes on several machines, and cannot tell them of the
            run folder.
    """

    def __init__(self, trainer: lightning.Trainer) -> None:
        self.trainer = trainer
        self.first = trainer.is_global_zero
        self._told = not self.first and FOLLOW in os.environ
        if trainer.world_size == 1 or self._told:
            return
        environment = getattr(trainer.strategy, "cluster_environment", None)
        if environment is not None and environment.creates_processes_externally:
            trainer.strategy.setup_environment()
        elif not self.first or trainer.num_nodes > 1:
            raise ValueError("start a training on several machines with torchrun or SLURM")

    def in_turn(self, make: Callable[[], Made]) -> Made:
        """``make()`` in the first process, then in the others, which find it made.

        Raises:
            RuntimeError: in the others, if it failed in the first.
        """
        if self.first:
            return self._tell(make)
        self._listen()
        return make()

    def first_alone(self, act: Callable[[], object]) -> None:
        """``act()`` in the first process, while the others wait.

        Raises:
            RuntimeError: in the others, if it failed in the first.
        """
        if self.first:
            self._tell(act)
        else:
            self._listen()

    def folder(self, claim: Callable[[], Path]) -> Path:
        """The folder that the first process claims, in all of them."""
        if not self.first:
            return Path(str(os.environ[FOLLOW] if self._told else self._listen()))
        folder = self._tell(claim, say=str)
        os.environ[FOLLOW] = str(folder)
        return folder

    def _tell(
        self, make: Callable[[], Made], say: Callable[[Made], str | None] = lambda _: None
    ) -> Made:
        try:
            made = make()
        except BaseException as error:
            self.trainer.strategy.broadcast((None, str(error) or type(error).__name__))
            raise
        self.trainer.strategy.broadcast((say(made), None))
        return made

    def _listen(self) -> str | None:
        if self._told:
            return None
        said, error = self.trainer.strategy.broadcast((None, None))
        if error is not None:
            raise RuntimeError(f"the first process stopped: {error}")
        return said


def followed_folder() -> Path | None:
    """The run folder, in a process that Lightning started; None in the one that a user started."""
    rank = int(os.environ.get("LOCAL_RANK", 0))
    return Path(os.environ[FOLLOW]) if rank and FOLLOW in os.environ else None
