"""PeLK and ConvNeXt as PyTorch users write them, for timing: nn.Modules in float32, NCHW. Peripheral kernels are expanded
to dense ones in every forward."""
import torch
import torch.nn.functional as F
from torch import nn


def sharing_grid(k, radius):
    half, left, ring = [1] * radius, (k - 1) // 2 - radius, 2
    while left > 0:
        half.append(min(ring, left))
        left -= half[-1]
        ring *= 2
    return half[::-1] + [1] + half


class LayerNorm2d(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Peripheral(nn.Module):
    def __init__(self, c, k, radius):
        super().__init__()
        grid = sharing_grid(k, radius)
        self.register_buffer("times", torch.tensor(grid))
        self.k, self.weight = k, nn.Parameter(torch.randn(c, 1, len(grid), len(grid)) * 0.02)

    def forward(self, x):
        w = self.weight.repeat_interleave(self.times, 2).repeat_interleave(self.times, 3)
        return F.conv2d(x, w, padding=self.k // 2, groups=x.shape[1])


class Mixer(nn.Module):
    def __init__(self, c, k, radius):
        super().__init__()
        self.g = c * 3 // 8
        self.large, self.large_bn = Peripheral(self.g, k, radius), nn.BatchNorm2d(self.g)
        self.small = nn.Conv2d(self.g, self.g, 5, padding=2, groups=self.g, bias=False)
        self.small_bn = nn.BatchNorm2d(self.g)

    def forward(self, x):
        first, rest = x[:, : self.g], x[:, self.g :]
        return torch.cat([self.large_bn(self.large(first)) + self.small_bn(self.small(first)), rest], 1)


class Block(nn.Module):
    def __init__(self, c, mixer):
        super().__init__()
        self.mixer, self.norm = mixer, nn.LayerNorm(c, eps=1e-6)
        self.fc1, self.fc2 = nn.Linear(c, 4 * c), nn.Linear(4 * c, c)
        self.gamma = nn.Parameter(torch.full((c,), 1e-6))

    def forward(self, x):
        y = self.norm(self.mixer(x).permute(0, 2, 3, 1))
        y = self.gamma * self.fc2(F.gelu(self.fc1(y)))
        return x + y.permute(0, 3, 1, 2)


class Network(nn.Module):
    def __init__(self, channels, classes, stem, depths, dims, mixer):
        super().__init__()
        parts = [nn.Conv2d(channels, dims[0], stem, stem), LayerNorm2d(dims[0], eps=1e-6)]
        for s, depth in enumerate(depths):
            if s > 0:
                parts += [LayerNorm2d(dims[s - 1], eps=1e-6), nn.Conv2d(dims[s - 1], dims[s], 2, 2)]
            parts += [Block(dims[s], mixer(dims[s], s)) for _ in range(depth)]
        self.body = nn.Sequential(*parts)
        self.norm, self.fc = nn.LayerNorm(dims[-1], eps=1e-6), nn.Linear(dims[-1], classes)

    def forward(self, x):
        return self.fc(self.norm(self.body(x).mean((2, 3))))


def make(name):
    def peripheral(kernels):
        return lambda c, s: Mixer(c, kernels[s], 2)

    def dense(c, _s):
        return nn.Conv2d(c, c, 7, padding=3, groups=c)

    if name == "pelk_nano":
        return Network(1, 10, 2, [2, 3, 2], [32, 64, 128], peripheral([31, 15, 7]))
    if name == "pelk_tiny":
        return Network(3, 1000, 4, [3, 3, 9, 3], [124, 249, 499, 998], peripheral([51, 49, 47, 13]))
    if name == "convnext_tiny":
        return Network(3, 1000, 4, [3, 3, 9, 3], [96, 192, 384, 768], dense)
    raise SystemExit("no network is called " + name)
