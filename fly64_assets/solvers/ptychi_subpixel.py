"""Sub-pixel positions in pty-chi's LSQML: the object moves under a probe that stays on its grid.

Belongs here: how a pty-chi 2.2.0 task cuts patches out of the object and puts updates back. Does
not belong here: options and the course of the iteration (``ptychi_engines.py``), other solvers.
torch is imported only inside functions.

pty-chi's own LSQML cuts patches at whole pixels and shifts the probe instead. On a finite grid that
is another forward model than the one the project's data follow (`Measurement`): a probe that fills
its frame wraps around, and probe times object holds frequencies beyond the grid's, which fold back
differently. From 10,000 photons an exposure on, that difference and not the noise limits what is
reconstructed (``docs/ptychi.md``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fly64_assets.ptychography.forward import shift_factors

if TYPE_CHECKING:
    import torch

    from fly64_assets.solvers.interface import Measurement

PADDING_PX = 4
"""Context on each side of a patch, so that what its Fourier shift wraps around is cut off."""


def move_object(reconstructor: Any, measurement: Measurement) -> None:
    """Let a task's patches lie at the sub-pixel positions of ``measurement``.

    Args:
        reconstructor: of a single-slice LSQML task with fixed positions, on the device that it
            computes on, whose object lies on the measurement's canvas.
        measurement: positions, patch size and canvas.
    """
    windows = _Windows(measurement, reconstructor.forward_model.object.tensor.data.device)
    model = reconstructor.forward_model
    latest: dict[str, torch.Tensor] = {}  # pty-chi hands positions on where indices are wanted

    def extract(indices: torch.Tensor) -> torch.Tensor:
        latest["indices"] = indices
        return windows.cut(model.object.data[0], indices)[:, None]

    def place(_: torch.Tensor, patches: torch.Tensor, **__: Any) -> torch.Tensor:
        return windows.put(patches, latest["indices"])

    def extract_update(image: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        # It only serves to find the step size, which a shift of half a pixel hardly changes.
        return windows.cut(image, latest["indices"], whole_pixels=True)

    model.extract_object_patches = extract
    model.place_object_patches_on_probe_grid = place
    model.extract_probe_grid_patches = extract_update
    model.shift_unique_probes = lambda _, probes, **__: probes
    reconstructor.adjoint_shift_probe_update_direction = lambda _, update, **__: update


class _Windows:
    """Patches of N px at sub-pixel positions of a canvas, and the adjoint of cutting them.

    Each is a Fourier shift, by at most half a pixel, of a window that is `PADDING_PX` larger on
    each side; beyond the canvas its edge is repeated.
    """

    def __init__(self, measurement: Measurement, device: torch.device) -> None:
        import torch

        self._canvas, size = tuple(measurement.canvas_shape), measurement.patch_size
        self._inner = slice(PADDING_PX, PADDING_PX + size)
        corners = measurement.positions_px - size / 2
        whole = np.rint(corners).astype(np.int64)
        steps = np.arange(-PADDING_PX, size + PADDING_PX)
        self._lines, self._factors = [], []
        for axis, length in enumerate(self._canvas):
            lines = np.clip(whole[:, axis, None] + steps, 0, length - 1)
            factors = shift_factors(corners[:, axis] - whole[:, axis], len(steps))
            self._lines.append(torch.from_numpy(lines).to(device))
            self._factors.append(torch.from_numpy(factors).to(device))

    def cut(
        self, image: torch.Tensor, indices: torch.Tensor, *, whole_pixels: bool = False
    ) -> torch.Tensor:
        """(b, N, N) complex64 of an (H, W) image; at the nearest whole pixels if asked."""
        import torch

        windows = image.reshape(-1)[self._pixels(indices)]
        if not whole_pixels:
            windows = torch.fft.ifft2(torch.fft.fft2(windows) * self._shift(indices))
        return windows[:, self._inner, self._inner]

    def put(self, patches: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """(H, W) complex64: the adjoint of `cut`, the sum of all patches at their places."""
        import torch

        windows = torch.nn.functional.pad(patches, [PADDING_PX] * 4)
        windows = torch.fft.ifft2(torch.fft.fft2(windows) * self._shift(indices).conj())
        height, width = self._canvas
        image = torch.zeros(height * width, dtype=windows.dtype, device=windows.device)
        image.index_add_(0, self._pixels(indices).reshape(-1), windows.reshape(-1))
        return image.reshape(height, width)

    def _pixels(self, indices: torch.Tensor) -> torch.Tensor:
        rows, columns = (lines[indices] for lines in self._lines)
        return rows[:, :, None] * self._canvas[1] + columns[:, None, :]

    def _shift(self, indices: torch.Tensor) -> torch.Tensor:
        rows, columns = (factors[indices] for factors in self._factors)
        return rows[:, :, None] * columns[:, None, :]
