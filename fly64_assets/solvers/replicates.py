"""Repeated trainings of a network: their seeds, and the names of the arrays that they leave."""

from __future__ import annotations

TRAINING = 7
"""What a seed sequence of [grouping seed, this, training] is for."""


def training_seed(seed: int, training: int) -> int:
    """Seed of one of several trainings, from 1: the first is the study's own.

    Args:
        seed: the grouping seed.
        training: its number.
    """
    import numpy as np

    if training == 1:
        return seed
    return int(np.random.SeedSequence([seed, TRAINING, training]).generate_state(1)[0])


def array_name(split: str, training: int) -> str:
    """Key of the object that a further training made of a split: ``test_2``."""
    return f"{split}_{training}"
