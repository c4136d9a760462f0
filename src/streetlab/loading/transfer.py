"""Copy small tensors from the CPU to the images' device without waiting for the device."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor


def to_device_async(values: ArrayLike, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """The values on the device of `like`, in its type or `dtype`.

    `torch.tensor(..., device=...)` and a plain `.to(device)` wait until a GPU has done all that it was told before.
    """
    tensor = torch.as_tensor(np.asarray(values)).to(dtype or like.dtype)
    return tensor.to(like.device, non_blocking=True)
