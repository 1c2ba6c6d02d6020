"""Right ports: the conventions of PyTorch's side and of JAX's are the same."""

from __future__ import annotations

from benchmarks.conventions.cnn import Cnn
from benchmarks.conventions.transformer import Transformer
from benchmarks.conventions.unet import Unet

RIGHT: dict[str, Cnn | Unet | Transformer] = {
    "CNN": Cnn(),
    "CNN, tanh GELU and ReLU": Cnn(first="relu", third="gelu_tanh"),
    "CNN, ε 0.001": Cnn(eps=1e-3),
    "CNN, reflected, padding not counted": Cnn(mode="reflect", counted=False),
    "CNN, circular, maximum": Cnn(mode="circular", pool="max"),
    "CNN, quick GELU and SiLU": Cnn(first="quick_gelu", last="silu"),
    "CNN, Mish and ELU, wide": Cnn(first="mish", second="elu", width=16),
    "CNN, tanh, without the third": Cnn(second="tanh", third="none"),
    "U-Net": Unet(),
    "U-Net, ReLU, two groups": Unet(act="relu", groups=2),
    "U-Net, ε 1e-6, one group": Unet(eps=1e-6, groups=1),
    "U-Net, corners aligned": Unet(up="align_corners"),
    "U-Net, nearest, GELU": Unet(down="nearest", act="gelu"),
    "U-Net, a group a channel, wide": Unet(groups=16, width=16),
    "transformer": Transformer(),
    "transformer, post-norm": Transformer(norm="post"),
    "transformer, tanh GELU, first position": Transformer(act="gelu_tanh", pool="first"),
    "transformer, no mask, ε 1e-6": Transformer(causal=False, eps=1e-6),
    "transformer, quick GELU, 8 heads": Transformer(act="quick_gelu", heads=8, width=32),
    "transformer, post-norm, SiLU, 1 head": Transformer(norm="post", act="silu", heads=1),
}
IN_BFLOAT16 = ("CNN", "CNN, reflected, padding not counted", "U-Net", "transformer", "transformer, post-norm")
"""Those that are certified with weights in bfloat16 too."""
