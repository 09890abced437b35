"""Total variation of a complex object: the step that LSQML takes after each epoch.

Belongs here: the proximal step and how a pty-chi 2.2.0 task is made to take it. Does not belong
here: how strong it is (``ptychi_engines.py``). torch is imported only inside functions.

pty-chi's own step takes the square root of the sum of squared *complex* gradients, which is no
magnitude: an edge in phase is pushed in amplitude. This one uses the modulus (``docs/ptychi.md``
has the scores of both). The algorithm is that of A. Chambolle, "An algorithm for total variation
minimization and applications", Journal of Mathematical Imaging and Vision 20, 89 (2004).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

ITERATIONS = 5
"""Of Chambolle's projection in one step; the steps of later epochs carry on from it."""
TIME_STEP = 0.125
"""Of the projection; it converges up to 1/4."""


def use_in(reconstructor: Any, weight: float) -> None:
    """Let a single-slice task take this step of ``weight`` where it would take pty-chi's."""
    of_object = reconstructor.parameter_group.object

    def constrain() -> None:
        of_object.set_data(smoothed(of_object.data[0], weight)[None])

    of_object.constrain_total_variation = constrain


def smoothed(image: torch.Tensor, weight: float) -> torch.Tensor:
    """About ``argmin_u sum abs(u - image)**2 / 2 + weight * total variation of u``.

    The total variation is the sum over pixels of ``sqrt(abs(d_y u)**2 + abs(d_x u)**2)``, with
    forward differences that are 0 at the far edges.

    Args:
        image: (H, W) complex.
        weight: positive.
    """
    import torch

    dual = torch.zeros((2, *image.shape), dtype=image.dtype, device=image.device)
    for _ in range(ITERATIONS):
        step = TIME_STEP * _gradient(_divergence(dual) - image / weight)
        magnitude = torch.linalg.vector_norm(step, dim=0)
        dual = (dual + step) / (1 + magnitude)
    return image - weight * _divergence(dual)


def _gradient(image: torch.Tensor) -> torch.Tensor:
    """(2, H, W) forward differences along y and x, 0 at the far edges."""
    import torch

    result = torch.zeros((2, *image.shape), dtype=image.dtype, device=image.device)
    result[0, :-1] = image[1:] - image[:-1]
    result[1, :, :-1] = image[:, 1:] - image[:, :-1]
    return result


def _divergence(field: torch.Tensor) -> torch.Tensor:
    """(H, W): minus the adjoint of `_gradient`."""
    import torch

    result = torch.zeros_like(field[0])
    result[:-1] += field[0, :-1]
    result[1:] -= field[0, :-1]
    result[:, :-1] += field[1, :, :-1]
    result[:, 1:] -= field[1, :, :-1]
    return result
