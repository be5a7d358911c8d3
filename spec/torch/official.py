"""The baselines under the names that their authors' files have, small, with random weights: written from the papers and
from lists of names. Saves what torch.save would have released, and what the networks make of an image.

    python3 official.py DIR
"""
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

DEPTHS, DIMS, CLASSES = [1, 1, 2, 1], [16, 24, 32, 40], 7


class LayerNorm2d(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def conv_bn(cin, cout, k, stride=1, groups=1, relu=False, pad=None):
    kh, kw = k if isinstance(k, tuple) else (k, k)
    unit = nn.Sequential()
    padding = (kh // 2, kw // 2) if pad is None else pad
    unit.add_module("conv", nn.Conv2d(cin, cout, (kh, kw), stride, padding, groups=groups, bias=False))
    unit.add_module("bn", nn.BatchNorm2d(cout))
    if relu:
        unit.add_module("nonlinear", nn.ReLU())
    return unit


class LargeKernel(nn.Module):
    """lkb_origin or the two stripes, and small_conv, each with its batch norm, summed."""

    def __init__(self, c, k, small, decomposed):
        super().__init__()
        if decomposed:
            self.LoRA1 = conv_bn(c, c, (k, small), groups=c)
            self.LoRA2 = conv_bn(c, c, (small, k), groups=c)
        else:
            self.lkb_origin = conv_bn(c, c, k, groups=c)
        if 0 < small < k:
            self.small_conv = conv_bn(c, c, small, groups=c)

    def forward(self, x):
        return sum(branch(x) for branch in self.children())


class CNBlock(nn.Module):
    def __init__(self, c, mixer):
        super().__init__()
        if isinstance(mixer, nn.Conv2d):
            self.dwconv = mixer
        else:
            self.large_kernel = mixer
        self.norm = nn.LayerNorm(c, eps=1e-6)
        self.pwconv1, self.pwconv2 = nn.Linear(c, 4 * c), nn.Linear(4 * c, c)
        self.gamma = nn.Parameter(torch.ones(c))

    def forward(self, x):
        y = (self.dwconv if hasattr(self, "dwconv") else self.large_kernel)(x).permute(0, 2, 3, 1)
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(self.norm(y))))
        return x + y.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """ConvNeXt's tree, which SLaK's is built on."""

    def __init__(self, mixer, dims):
        super().__init__()
        self.downsample_layers = nn.ModuleList([nn.Sequential(nn.Conv2d(3, dims[0], 4, 4), LayerNorm2d(dims[0], eps=1e-6))])
        for a, b in zip(dims, dims[1:]):
            self.downsample_layers.append(nn.Sequential(LayerNorm2d(a, eps=1e-6), nn.Conv2d(a, b, 2, 2)))
        self.stages = nn.ModuleList(
            nn.Sequential(*[CNBlock(dims[s], mixer(dims[s], s)) for _ in range(n)]) for s, n in enumerate(DEPTHS))
        self.norm, self.head = nn.LayerNorm(dims[-1], eps=1e-6), nn.Linear(dims[-1], CLASSES)

    def forward(self, x):
        for down, stage in zip(self.downsample_layers, self.stages):
            x = stage(down(x))
        return self.head(self.norm(x.mean((2, 3))))


class RepLKBlock(nn.Module):
    def __init__(self, c, k, small):
        super().__init__()
        self.prelkb_bn, self.pw1 = nn.BatchNorm2d(c), conv_bn(c, c, 1, relu=True)
        self.large_kernel, self.pw2 = LargeKernel(c, k, small, False), conv_bn(c, c, 1)

    def forward(self, x):
        return x + self.pw2(F.relu(self.large_kernel(self.pw1(self.prelkb_bn(x)))))


class ConvFFN(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.preffn_bn, self.pw1, self.pw2 = nn.BatchNorm2d(c), conv_bn(c, 4 * c, 1), conv_bn(4 * c, c, 1)

    def forward(self, x):
        return x + self.pw2(F.gelu(self.pw1(self.preffn_bn(x))))


class Stage(nn.Module):
    def __init__(self, blocks):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


class RepLKNet(nn.Module):
    def __init__(self, kernels):
        super().__init__()
        c = DIMS[0]
        self.stem = nn.ModuleList([conv_bn(3, c, 3, 2, relu=True), conv_bn(c, c, 3, groups=c, relu=True),
                                   conv_bn(c, c, 1, relu=True), conv_bn(c, c, 3, 2, groups=c, relu=True)])
        self.stages, self.transitions = nn.ModuleList(), nn.ModuleList()
        for s, n in enumerate(DEPTHS):
            blocks = []
            for _ in range(n):
                blocks += [RepLKBlock(DIMS[s], kernels[s], 5), ConvFFN(DIMS[s])]
            self.stages.append(Stage(blocks))
            if s + 1 < len(DIMS):
                a, b = DIMS[s], DIMS[s + 1]
                self.transitions.append(nn.Sequential(conv_bn(a, b, 1, relu=True), conv_bn(b, b, 3, 2, groups=b, relu=True)))
        self.norm, self.head = nn.BatchNorm2d(DIMS[-1]), nn.Linear(DIMS[-1], CLASSES)

    def forward(self, x):
        for unit in self.stem:
            x = unit(x)
        for s, stage in enumerate(self.stages):
            x = stage(x)
            if s < len(self.transitions):
                x = self.transitions[s](x)
        return self.head(self.norm(x).mean((2, 3)))


class InceptionConv(nn.Module):
    def __init__(self, c):
        super().__init__()
        g = c // 8
        self.dwconv_hw = nn.Conv2d(g, g, 3, padding=1, groups=g)
        self.dwconv_w = nn.Conv2d(g, g, (1, 11), padding=(0, 5), groups=g)
        self.dwconv_h = nn.Conv2d(g, g, (11, 1), padding=(5, 0), groups=g)
        self.sizes = (c - 3 * g, g, g, g)

    def forward(self, x):
        i, hw, w, h = torch.split(x, self.sizes, 1)
        return torch.cat([i, self.dwconv_hw(hw), self.dwconv_w(w), self.dwconv_h(h)], 1)


class ConvMlp(nn.Module):
    def __init__(self, c, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(c, hidden, 1), nn.Conv2d(hidden, c, 1)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class MetaNeXtBlock(nn.Module):
    def __init__(self, c, ratio):
        super().__init__()
        self.token_mixer, self.norm, self.mlp = InceptionConv(c), nn.BatchNorm2d(c), ConvMlp(c, ratio * c)
        self.gamma = nn.Parameter(torch.ones(c))

    def forward(self, x):
        return x + self.gamma.reshape(1, -1, 1, 1) * self.mlp(self.norm(self.token_mixer(x)))


class MlpHead(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.fc1, self.norm, self.fc2 = nn.Linear(c, 3 * c), nn.LayerNorm(3 * c, eps=1e-6), nn.Linear(3 * c, CLASSES)

    def forward(self, x):
        return self.fc2(self.norm(F.gelu(self.fc1(x.mean((2, 3))))))


class InceptionNeXt(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, DIMS[0], 4, 4), nn.BatchNorm2d(DIMS[0]))
        self.stages = nn.ModuleList()
        for s, n in enumerate(DEPTHS):
            stage = nn.Module()
            if s > 0:
                stage.downsample = nn.Sequential(nn.BatchNorm2d(DIMS[s - 1]), nn.Conv2d(DIMS[s - 1], DIMS[s], 2, 2))
            stage.blocks = nn.Sequential(*[MetaNeXtBlock(DIMS[s], 3 if s == 3 else 4) for _ in range(n)])
            self.stages.append(stage)
        self.head = MlpHead(DIMS[-1])

    def forward(self, x):
        x = self.stem(x)
        for stage in self.stages:
            x = stage.blocks(stage.downsample(x) if hasattr(stage, "downsample") else x)
        return self.head(x)


def draw(net):
    """Weights and statistics large enough that every part matters."""
    with torch.no_grad():
        for name, t in list(net.named_parameters()) + list(net.named_buffers()):
            if name.endswith("running_var") or name.endswith("gamma"):
                t.uniform_(0.5, 1.5)
            elif t.is_floating_point():
                spread = 0.3 if t.dim() == 1 else (2 / t[0].numel()) ** 0.5
                t.normal_(1.0 if t.dim() == 1 and name.endswith("weight") else 0.0, spread)
    return net.eval()


def main(d):
    torch.manual_seed(3)
    kernels = [13, 11, 9, 7]
    nets = {
        "convnext": ConvNeXt(lambda c, s: nn.Conv2d(c, c, 7, padding=3, groups=c), DIMS),
        "slak": ConvNeXt(lambda c, s: LargeKernel(c, kernels[s], 5, True), [int(1.3 * c) for c in DIMS]),
        "slak_dense": ConvNeXt(lambda c, s: LargeKernel(c, kernels[s], 5, False), [int(1.3 * c) for c in DIMS]),
        "replknet": RepLKNet(kernels),
        "inception_next": InceptionNeXt(),
    }
    x = torch.randn(2, 3, 64, 96)
    out = {"x": x.permute(0, 2, 3, 1).numpy()}
    for name, net in nets.items():
        draw(net)
        state = net.state_dict()
        torch.save({"model": state, "epoch": 299} if name != "replknet" else state, "%s/%s.pth" % (d, name))
        torch.save({"state_dict": {"module.backbone." + k: v for k, v in state.items()}}, "%s/%s_wrapped.pth" % (d, name))
        with torch.no_grad():
            out[name] = net(x).numpy()
    torch.save({k: v.half() if v.is_floating_point() else v for k, v in nets["convnext"].state_dict().items()},
               d + "/convnext_half.pth")
    np.savez(d + "/expected.npz", **out)


main(sys.argv[1])
