"""A convolution followed by a ReLU and a batch norm, and the same function without the batch norm."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvReLUBN(nn.Module):
    """y = BN(ReLU(Conv(x))), without padding; (N, in_chan, h, w) → (N, out_chan, h − f + 1, w − f + 1).

    State-dict names `conv` and `bn`.

    Source: course 000, Q1.
    """

    def __init__(self, in_chan: int, out_chan: int, f: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_chan, out_chan, f)
        self.bn = nn.BatchNorm2d(out_chan)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_chan, h, w) → (N, out_chan, h − f + 1, w − f + 1)."""
        y: Tensor = self.bn(torch.relu(self.conv(x)))
        return y


class ConvReLUSignBias(nn.Module):
    """y = S ⊙ ReLU(Conv(x)) ⊕ B with a sign S_c ∈ {−1, +1} and a number B_c for each channel.

    State-dict names `conv`, `S` and `B`. In the course S is a plain attribute, which is not part of the state dict, so
    a network loaded from one computes a different function; here S is a buffer.

    Source: course 000, Q1.
    """

    S: Tensor

    def __init__(self, in_chan: int, out_chan: int, f: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_chan, out_chan, f)
        self.register_buffer("S", torch.ones(out_chan))
        self.B = nn.Parameter(torch.zeros(out_chan))

    def init_from_conv_relu_bn(self, init_from: ConvReLUBN) -> None:
        """Take over the function of a `ConvReLUBN` in eval mode.

        s ReLU(u) = sign(s) ReLU(|s| u) with s = γ/√(σ² + ε): S = sign γ, |s| is absorbed by the convolution, and
        B = β − s μ. Where γ = 0, the sign does not matter and is +1.
        """
        bn = init_from.bn
        running_mean, running_var = bn.running_mean, bn.running_var
        if running_mean is None or running_var is None:
            raise ValueError("the batch norm has no running statistics, and therefore no eval mode of its own")
        with torch.no_grad():
            scale = bn.weight / torch.sqrt(running_var + bn.eps)
            self.S.copy_(torch.where(bn.weight < 0, -1.0, 1.0))
            self.conv.weight.copy_(init_from.conv.weight * scale.abs().reshape(-1, 1, 1, 1))
            if self.conv.bias is not None and init_from.conv.bias is not None:
                self.conv.bias.copy_(init_from.conv.bias * scale.abs())
            self.B.copy_(bn.bias - scale * running_mean)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_chan, h, w) → (N, out_chan, h − f + 1, w − f + 1)."""
        y: Tensor = self.S.reshape(1, -1, 1, 1) * torch.relu(self.conv(x)) + self.B.reshape(1, -1, 1, 1)
        return y
