"""The networks of a GAN in PyTorch, both dense and DCGAN."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class DCGANGenerator(nn.Module):
    """The network of `generative.dcgan_generator`: z (N, latent_dim, 1, 1) → (N, image_channels, 28, 28) on (−1, 1).

    State-dict names `gen.{k}.0` (transposed convolution) and `gen.{k}.1` (batch norm), k = 0, 1, 2, and `gen.3.0`.

    Source: Radford, Metz, Chintala, 2015.
    """

    def __init__(self, latent_dim: int = 64, width: int = 64, image_channels: int = 1) -> None:
        super().__init__()
        blocks, channels = [], latent_dim
        for factor, kernel, stride in ((4, 3, 2), (2, 4, 1), (1, 3, 2)):
            convolution = nn.ConvTranspose2d(channels, factor * width, kernel, stride)
            blocks.append(nn.Sequential(convolution, nn.BatchNorm2d(factor * width), nn.ReLU()))
            channels = factor * width
        last = nn.Sequential(nn.ConvTranspose2d(channels, image_channels, 4, 2), nn.Tanh())
        self.gen = nn.Sequential(*blocks, last)

    def forward(self, z: Tensor) -> Tensor:
        """Images of latents."""
        x: Tensor = self.gen(z)
        return x


class DCGANDiscriminator(nn.Module):
    """The network of `mathdnn_jax.generative.dcgan_discriminator`: (N, image_channels, 28, 28) → logits (N, 1, 1, 1).

    State-dict names `disc.0.0`, `disc.1.0`, `disc.2.0` (convolutions), `disc.1.1` (batch norm).

    Source: Radford, Metz, Chintala, 2015.
    """

    def __init__(self, width: int = 64, image_channels: int = 1) -> None:
        super().__init__()
        self.disc = nn.Sequential(
            nn.Sequential(nn.Conv2d(image_channels, width, 4, 2), nn.LeakyReLU(0.2)),
            nn.Sequential(nn.Conv2d(width, 2 * width, 4, 2), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2)),
            nn.Sequential(nn.Conv2d(2 * width, 1, 4, 2)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images."""
        logits: Tensor = self.disc(x)
        return logits


class DenseGenerator(nn.Module):
    """The network of `generative.dense_generator` with two hidden layers: z (N, latent_dim) → (N, size) on (0, 1).

    State-dict names `gen.{k}.0` (linear) and `gen.{k}.1` (batch norm), k = 0, 1, and `gen.2.0`.
    """

    def __init__(self, latent_dim: int = 64, hidden: Sequence[int] = (256, 512), size: int = 784) -> None:
        super().__init__()
        first, second = hidden
        self.gen = nn.Sequential(
            nn.Sequential(nn.Linear(latent_dim, first), nn.BatchNorm1d(first), nn.LeakyReLU(0.2)),
            nn.Sequential(nn.Linear(first, second), nn.BatchNorm1d(second), nn.LeakyReLU(0.2)),
            nn.Sequential(nn.Linear(second, size), nn.Sigmoid()),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Images of latents."""
        x: Tensor = self.gen(z)
        return x


class DenseDiscriminator(nn.Module):
    """The network of `mathdnn_jax.generative.dense_discriminator` with two hidden layers: (N, size) → logits (N, 1).

    State-dict names `disc.{k}.0`, k = 0, 1, 2.
    """

    def __init__(self, size: int = 784, hidden: Sequence[int] = (512, 256)) -> None:
        super().__init__()
        first, second = hidden
        self.disc = nn.Sequential(
            nn.Sequential(nn.Linear(size, first), nn.LeakyReLU(0.2)),
            nn.Sequential(nn.Linear(first, second), nn.LeakyReLU(0.2)),
            nn.Sequential(nn.Linear(second, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images."""
        logits: Tensor = self.disc(x)
        return logits
