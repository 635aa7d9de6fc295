"""A training run in a file, so that it can be cut short at any moment and go on bit for bit.

Public: `save_checkpoint`, `load_checkpoint`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import backend
from .saving import CheckpointError, load, save


def save_checkpoint(path: Any, **parts: Any) -> None:
    """Write all that a run needs to go on, whole or not at all: each part's state, and the random stream's.

    Parameters
    ----------
    path
        A file, as for `mg.save`.
    **parts
        What has `state_dict` and `load_state_dict`: model, optimizer, scheduler, loader, history, early stopping.

    Examples
    --------
    >>> from minigrad import nn, training
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "run.npz")
    >>> training.save_checkpoint(path, model=nn.Linear(2, 1), history=training.History())
    >>> training.load_checkpoint(path, model=nn.Linear(2, 1), history=training.History())
    """
    states = {name: part.state_dict() for name, part in parts.items()}
    save({"parts": states, "random": backend.get_rng_state()}, path)


def load_checkpoint(path: Any, **parts: Any) -> None:
    """Put every part, and the random stream, where `save_checkpoint` found them: the run goes on bit for bit.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    CheckpointError
        Where the file is damaged, or its parts have other names, shapes or dtypes. Nothing has been changed then.
    """
    state = load(path)
    before = {name: part.state_dict() for name, part in parts.items()}
    name = ""
    try:
        check_keys("checkpoint", state, ("parts", "random"))
        check_keys("checkpoint", state["parts"], parts)
        for name, part in parts.items():
            part.load_state_dict(state["parts"][name])
        backend.set_rng_state(state["random"])
    except Exception as error:
        for name_, part in parts.items():
            part.load_state_dict(before[name_])
        raise CheckpointError(f"{path}: {name}: {error}") from error


def check_keys(name: str, state_dict: Any, wanted: Iterable[str]) -> None:
    """Raise ValueError unless it is a dict with just these keys."""
    if not isinstance(state_dict, dict) or {*state_dict} != {*wanted}:
        found = [*state_dict] if isinstance(state_dict, dict) else type(state_dict).__name__
        raise ValueError(f"{name}: wanted a state_dict with the keys {[*wanted]}, got {found}")
