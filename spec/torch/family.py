"""The family of large-kernel ConvNets as PyTorch modules, written from the papers to hold pelk's results against: in the
plainest way (kernels are expanded, position maps are added tap by tap through a mask convolution) and with the state-dict
names that files have: timm's for ConvNeXt and InceptionNeXt, the official ones for RepLKNet, pelk's for PeLK and SLaK.

build(kind, options) makes a network ("Model") or a part of one, from the options that nn.Model and the layers have.
"""
import torch
import torch.nn.functional as F
from torch import nn


def at(value, stage):
    """Element `stage` of an option that is one value, a list of one, or a list of one a stage."""
    if not isinstance(value, list):
        return value
    return value[stage] if len(value) > 1 else value[0]


def grid_at(o, stage):
    """The explicit grid of a stage, if there is one."""
    grid = o["grid"] or None
    return at(grid, stage) if grid and not isinstance(grid[0], int) else grid


def depthwise(channels, kh, kw, bias, stride=1):
    return nn.Conv2d(channels, channels, (kh, kw), stride, (kh // 2, kw // 2), groups=channels, bias=bias)


class LayerNorm2d(nn.LayerNorm):
    """Over the channels of NCHW."""

    def __init__(self, channels):
        super().__init__(channels, eps=1e-6)

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def norm2d(kind, channels):
    return nn.BatchNorm2d(channels) if kind == "batch" else LayerNorm2d(channels)


# ---- token mixers ----


def sharing_grid(k, radius, base, rule):
    """PeLK, equation 2: 1 in the fine centre, then base^i outward, the last ring cut to what is left, or merged."""
    half, left, ring = [], (k - 1) // 2 - radius, base
    while left > 0:
        half.append(min(ring, left))
        left -= half[-1]
        ring *= base
    if rule == "merge" and len(half) > 1 and half[-1] < half[-2]:
        last = half.pop()
        half[-1] += last
    half = [1] * radius + half
    return half[::-1] + [1] + half


class Peripheral(nn.Module):
    """A kernel that is constant on the rectangles of the grid; h is added to its inputs (PeLK, equation 3)."""

    def __init__(self, channels, grid, mode, bias):
        super().__init__()
        self.times, self.mode, self.k = torch.tensor(grid), mode, sum(grid)
        self.weight = nn.Parameter(torch.zeros(channels, 1, len(grid), len(grid)))
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None

    def forward(self, x, h):
        w = self.weight.repeat_interleave(self.times, 2).repeat_interleave(self.times, 3)
        y = F.conv2d(x, w, self.bias, padding=self.k // 2, groups=x.shape[1])
        if h is None or self.mode == "off":
            return y
        wh = w * h.reshape(-1, 1, self.k, self.k)
        if self.mode == "all":
            return y + wh.sum((1, 2, 3)).reshape(1, -1, 1, 1)
        inside = torch.ones(1, x.shape[1], *x.shape[2:], dtype=x.dtype)  # taps in the image see h, the others do not
        return y + F.conv2d(inside, wh, padding=self.k // 2, groups=x.shape[1])


class ConvBN(nn.Module):
    def __init__(self, conv, channels):
        super().__init__()
        self.conv = conv
        if channels:
            self.bn = nn.BatchNorm2d(channels)

    def forward(self, x, *h):
        y = self.conv(x, *h)
        return self.bn(y) if hasattr(self, "bn") else y


class Partial(nn.Module):
    """The first channels go through parallel kernels, which are added; the rest pass."""

    def __init__(self, channels, o, stage, names=("large", "small")):
        super().__init__()
        self.g = int(at(o["partial"], stage) * channels + 1e-9)
        k, small, kind, reparam = at(o["kernel"], stage), at(o["small_kernel"], stage), at(o["mixer"], stage), o["reparam"]
        self.kind, self.names, g = kind, names, self.g
        bn = g if reparam else 0
        if kind == "peripheral":
            grid = grid_at(o, stage) or sharing_grid(k, at(o["radius"], stage), at(o["base"], stage), at(o["rule"], stage))
            k = sum(grid)
            setattr(self, names[0], ConvBN(Peripheral(g, grid, o["position_mode"], not reparam), bn))
        elif kind == "stripe":
            self.tall = ConvBN(depthwise(g, k, small, not reparam), bn)
            self.wide = ConvBN(depthwise(g, small, k, not reparam), bn)
        else:
            setattr(self, names[0], ConvBN(depthwise(g, k, k, not reparam), bn))
        if 0 < small < k:
            setattr(self, names[1], ConvBN(depthwise(g, small, small, not reparam), bn))

    def forward(self, x, h):
        first, rest = x[:, : self.g], x[:, self.g :]
        if self.kind == "stripe":
            y = self.tall(first) + self.wide(first)
        elif self.kind == "peripheral":
            y = getattr(self, self.names[0])(first, h)
        else:
            y = getattr(self, self.names[0])(first)
        if hasattr(self, self.names[1]):
            y = y + getattr(self, self.names[1])(first)
        return torch.cat([y, rest], 1)


class Inception(nn.Module):
    """InceptionNeXt, section 3.2: identity first, then 3x3, 1x11 and 11x1, each on an eighth."""

    def __init__(self, channels, o, stage=0):
        super().__init__()
        self.gc = gc = int(channels * at(o["partial"], stage) + 1e-9)
        k, small = at(o["kernel"], stage), at(o["small_kernel"], stage)
        self.dwconv_hw = depthwise(gc, small, small, True)
        self.dwconv_w = depthwise(gc, 1, k, True)
        self.dwconv_h = depthwise(gc, k, 1, True)

    def forward(self, x, h=None):
        gc = self.gc
        same, hw, w, tall = torch.split(x, (x.shape[1] - 3 * gc, gc, gc, gc), 1)
        return torch.cat([same, self.dwconv_hw(hw), self.dwconv_w(w), self.dwconv_h(tall)], 1)


class Plain(nn.Conv2d):
    """ConvNeXt's: one dense depthwise kernel with bias."""

    def __init__(self, channels, k):
        super().__init__(channels, channels, k, padding=k // 2, groups=channels)

    def forward(self, x, h=None):
        return super().forward(x)


def mixer(channels, o, stage, names=("large", "small")):
    kind = at(o["mixer"], stage)
    if kind == "inception":
        return Inception(channels, o, stage)
    whole = at(o["partial"], stage) == 1 and at(o["small_kernel"], stage) == 0
    if kind == "dense" and whole and not o["reparam"]:
        return Plain(channels, at(o["kernel"], stage))
    return Partial(channels, o, stage, names)


def position_map(owner, width, o, stage):
    """Make owner.position for peripheral mixers: one map, or one a channel."""
    owner.position = None
    if at(o["mixer"], stage) == "peripheral" and o["position_mode"] != "off":
        k = sum(grid_at(o, stage) or [at(o["kernel"], stage)])
        maps = 1 if o["position_shape"] == "map" else int(at(o["partial"], stage) * width + 1e-9)
        owner.position = nn.Parameter(torch.zeros(maps, k, k))


# ---- blocks ----


class Mlp(nn.Module):
    def __init__(self, channels, hidden, conv):
        super().__init__()
        layer = (lambda i, j: nn.Conv2d(i, j, 1)) if conv else nn.Linear
        self.conv, self.fc1, self.fc2 = conv, layer(channels, hidden), layer(hidden, channels)

    def forward(self, x):
        if self.conv:
            return self.fc2(F.gelu(self.fc1(x)))
        return self.fc2(F.gelu(self.fc1(x.permute(0, 2, 3, 1)))).permute(0, 3, 1, 2)


class Block(nn.Module):
    """ConvNeXt's: mixer, norm, MLP, layer scale, residual."""

    def __init__(self, channels, o, stage=0, own_position=False):
        super().__init__()
        if own_position:
            position_map(self, channels, o, stage)
        self.name = "token_mixer" if at(o["mixer"], stage) == "inception" else "conv_dw"
        setattr(self, self.name, mixer(channels, o, stage))
        self.norm = norm2d(o["norm"], channels)
        self.mlp = Mlp(channels, int(at(o["mlp_ratio"], stage) * channels + 1e-9), o["conv_mlp"])
        self.gamma = nn.Parameter(torch.zeros(channels)) if o["layer_scale"] > 0 else None

    def forward(self, x, h=None):
        y = self.mlp(self.norm(getattr(self, self.name)(x, h if h is not None else getattr(self, "position", None))))
        return x + (y if self.gamma is None else y * self.gamma.reshape(1, -1, 1, 1))


def pointwise_bn(i, j):
    return ConvBN(nn.Conv2d(i, j, 1, bias=False), j)


class ConvBNReLU(ConvBN):
    def forward(self, x):
        return F.relu(super().forward(x))


class RepLKBlock(nn.Module):
    """RepLKNet, figure 2: norm, 1x1, large kernel, 1x1, each convolution with batch norm, ReLU between."""

    def __init__(self, channels, o, stage=0, own_position=False):
        super().__init__()
        width = int(channels * o["dw_ratio"] + 1e-9)
        if own_position:
            position_map(self, width, o, stage)
        self.prelkb_bn = nn.BatchNorm2d(channels)
        self.pw1, self.pw2 = pointwise_bn(channels, width), pointwise_bn(width, channels)
        self.large_kernel = mixer(width, o, stage, ("lkb_origin", "small_conv"))

    def forward(self, x, h=None):
        y = F.relu(self.pw1(self.prelkb_bn(x)))
        y = F.relu(self.large_kernel(y, h if h is not None else getattr(self, "position", None)))
        return x + self.pw2(y)


class ConvFFN(nn.Module):
    def __init__(self, channels, hidden):
        super().__init__()
        self.preffn_bn = nn.BatchNorm2d(channels)
        self.pw1, self.pw2 = pointwise_bn(channels, hidden), pointwise_bn(hidden, channels)

    def forward(self, x, h=None):
        return x + self.pw2(F.gelu(self.pw1(self.preffn_bn(x))))


# ---- networks ----


class Stage(nn.Module):
    def __init__(self, before, channels, o, stage):
        super().__init__()
        depth = o["depths"][stage]
        width = channels * o["dw_ratio"] if o["block"] == "replknet" else channels
        position_map(self, width, o, stage)
        if o["block"] == "replknet":
            hidden = int(at(o["mlp_ratio"], stage) * channels + 1e-9)
            pairs = [[RepLKBlock(channels, o, stage), ConvFFN(channels, hidden)] for _ in range(depth)]
            self.blocks = nn.ModuleList(sum(pairs, []))
            return
        if before:
            self.downsample = nn.Sequential(norm2d(o["norm"], before), nn.Conv2d(before, channels, 2, 2))
        self.blocks = nn.ModuleList(Block(channels, o, stage) for _ in range(depth))

    def forward(self, x):
        if hasattr(self, "downsample"):
            x = self.downsample(x)
        for block in self.blocks:
            x = block(x, self.position)
        return x


class Head(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.norm, self.fc = nn.LayerNorm(channels, eps=1e-6), nn.Linear(channels, classes)

    def forward(self, x):
        return self.fc(self.norm(x.mean((2, 3))))


class MlpHead(nn.Module):
    """InceptionNeXt's: a hidden layer of three times the channels."""

    def __init__(self, channels, classes):
        super().__init__()
        self.fc1, self.norm = nn.Linear(channels, 3 * channels), nn.LayerNorm(3 * channels, eps=1e-6)
        self.fc2 = nn.Linear(3 * channels, classes)

    def forward(self, x):
        return self.fc2(self.norm(F.gelu(self.fc1(x.mean((2, 3))))))


class ConvNeXt(nn.Module):
    """ConvNeXt, SLaK, PeLK, InceptionNeXt."""

    def __init__(self, o):
        super().__init__()
        dims = [int(at(o["width"], s) * d + 1e-9) for s, d in enumerate(o["dims"])]
        self.stem = nn.Sequential(nn.Conv2d(o["in_channels"], dims[0], o["stem"], o["stem"]), norm2d(o["norm"], dims[0]))
        self.stages = nn.ModuleList(Stage(dims[s - 1] if s else 0, d, o, s) for s, d in enumerate(dims))
        self.head = (MlpHead if o["head"] == "mlp" else Head)(dims[-1], o["num_classes"])

    def features(self, x):
        maps = [self.stem(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps[1:]

    def forward(self, x):
        return self.head(self.features(x)[-1])


class RepLKNet(nn.Module):
    def __init__(self, o):
        super().__init__()
        dims = [int(at(o["width"], s) * d + 1e-9) for s, d in enumerate(o["dims"])]
        d, stem = dims[0], o["stem"]
        self.stem = nn.ModuleList([
            ConvBNReLU(nn.Conv2d(o["in_channels"], d, 3, 2 if stem > 1 else 1, 1, bias=False), d),
            ConvBNReLU(depthwise(d, 3, 3, False), d),
            ConvBNReLU(nn.Conv2d(d, d, 1, bias=False), d),
            ConvBNReLU(depthwise(d, 3, 3, False, 2 if stem > 2 else 1), d),
        ])
        self.stages = nn.ModuleList(Stage(0, d, o, s) for s, d in enumerate(dims))
        self.transitions = nn.ModuleList(
            nn.Sequential(ConvBNReLU(nn.Conv2d(a, b, 1, bias=False), b), ConvBNReLU(depthwise(b, 3, 3, False, 2), b))
            for a, b in zip(dims, dims[1:]))
        self.norm, self.head = nn.BatchNorm2d(dims[-1]), nn.Linear(dims[-1], o["num_classes"])

    def features(self, x):
        for layer in self.stem:
            x = layer(x)
        maps = []
        for s, stage in enumerate(self.stages):
            maps.append(stage(x if s == 0 else self.transitions[s - 1](maps[-1])))
        return maps

    def forward(self, x):
        return self.head(self.norm(self.features(x)[-1]).mean((2, 3)))


def build(kind, o):
    if kind == "Model":
        o = dict(o, kernel=o["kernels"], position_mode=o["position"])
        return (RepLKNet if o["block"] == "replknet" else ConvNeXt)(o)
    if kind == "Block":
        return Block(o["channels"], o, own_position=True)
    if kind == "RepLKBlock":
        return RepLKBlock(o["channels"], dict(o, dw_ratio=o["ratio"]), own_position=True)
    if kind == "ConvFFN":
        return ConvFFN(o["channels"], int(o["ratio"] * o["channels"] + 1e-9))
    if kind == "InceptionConv":
        return Inception(o["channels"], o)
    raise SystemExit("no module is called " + kind)
