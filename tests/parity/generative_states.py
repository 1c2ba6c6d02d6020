"""Small PyTorch twins of the generative models, all their numbers random, running statistics too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

State = dict[str, np.ndarray]

CONFIGS: dict[str, dict[str, Any]] = {
    "vae": {"dim": 12, "hidden": 7, "latent_dim": 3, "prior": "trainable"},
    "autoencoder": {"widths": [12, 8, 5, 3]},
    "gan-generator": {"latent_dim": 3, "hidden": [6, 5], "size": 12},
    "gan-discriminator": {"size": 12, "hidden": [6, 5]},
    "dcgan-generator": {"latent_dim": 5, "width": 3, "image_channels": 2},
    "dcgan-discriminator": {"width": 3, "image_channels": 2},
    "lenet": {"classes": 4},
}


def twin(model: str, seed: int = 0, config: dict[str, Any] | None = None) -> Any:
    """The PyTorch module, in train mode as modules are made."""
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    from parity.models import find_model

    module = find_model(model).twin(**(config or CONFIGS[model]))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if not tensor.is_floating_point():
                tensor.fill_(7)
            elif name.endswith("running_var"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            else:
                fan_in = max(1, tensor[0].numel()) if tensor.ndim > 1 else 4
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / fan_in**0.5)
    return module


def state_of(module: Any) -> State:
    """Its state dict as NumPy arrays of their own."""
    return {name: tensor.detach().numpy().copy() for name, tensor in module.state_dict().items()}
