"""Weights and inputs by a formula that Lua computes too (spec/torch/formula.lua), so that no file has to hold them: element
i of a tensor is a hash of its name and i, scaled by what the tensor is."""
import numpy as np
import torch

ALL = 0xFFFFFFFFFFFFFFFF


def uniform(name, n):
    """n numbers in [0, 1), multiples of 2^-24: FNV-1a of the name, then splitmix64 of the place."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) & ALL
    with np.errstate(over="ignore"):
        x = np.uint64(h) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(40)).astype(np.float64) * 2.0**-24


def values(name, shape):
    """What the parameter, buffer or input `name` of that shape (PyTorch's) holds, as float32."""
    u = uniform(name, int(np.prod(shape)))
    if name.endswith(("running_var", "gamma")) or (name.endswith("weight") and len(shape) == 1):
        v = 0.5 + u
    elif name.endswith("weight"):
        v = (2 * u - 1) * np.sqrt(3 / np.prod(shape[1:]))
    elif name == "x":
        v = (2 * u - 1) * 1.75
    else:
        v = (2 * u - 1) * 0.25
    return torch.from_numpy(v.astype(np.float32).reshape(shape))


def dot(name, t):
    """The product of t with a fixed pattern, over the root of its size: a number that every element of t moves."""
    pattern = 2 * uniform(name + ".pattern", t.numel()) - 1
    return float(np.dot(pattern, t.detach().double().reshape(-1).numpy()) / np.sqrt(t.numel()))
