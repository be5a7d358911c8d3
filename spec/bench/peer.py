"""PyTorch's side of `make bench`: peer.py CASE inference|training THREADS prints the median milliseconds of the better
memory layout. The networks are the reference of spec/torch in float32, peripheral kernels as the dense kernels that they
expand to (what PyTorch offers)."""
import os
import statistics
import sys
import time

import torch
import torch.nn.functional as F

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "torch"))
import networks  # noqa: E402

case, mode, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
training = mode == "training"
torch.set_num_threads(threads)
torch.manual_seed(0)


def depthwise(k, layout):
    x = torch.randn(1, 96, 56, 56).contiguous(memory_format=layout)
    w = torch.randn(96, 1, k, k).contiguous(memory_format=layout)
    if not training:
        return lambda: F.conv2d(x, w, padding=k // 2, groups=96)
    x.requires_grad_()
    w.requires_grad_()
    g = torch.randn(1, 96, 56, 56).contiguous(memory_format=layout)
    return lambda: F.conv2d(x, w, padding=k // 2, groups=96).backward(g)


def linear(_layout):
    x, w, b = torch.randn(3136, 124), torch.randn(496, 124), torch.randn(496)
    if not training:
        return lambda: F.linear(x, w, b)
    for t in (x, w, b):
        t.requires_grad_()
    g = torch.randn(3136, 496)
    return lambda: F.linear(x, w, b).backward(g)


def network(name, layout):
    shape = {"pelk_nano": (128, 1, 28, 28)}.get(name, (2 if training else 1, 3, 224, 224))
    model = networks.make(name).to(memory_format=layout)
    x = torch.randn(shape).contiguous(memory_format=layout)
    if not training:
        model.eval()
        return lambda: model(x)
    y = torch.arange(shape[0]) % 10
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step():
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def make(layout):
    if case.startswith("dense "):
        return depthwise(int(case.split()[1].split("x")[0]), layout)
    return linear(layout) if case == "linear" else network(case, layout)


def median(f):
    f()
    times, began = [], time.perf_counter()
    while len(times) < 3 or (len(times) < 50 and time.perf_counter() - began < 1):
        t = time.perf_counter()
        f()
        times.append(time.perf_counter() - t)
    return statistics.median(times) * 1e3


best = None
with torch.set_grad_enabled(training):
    for memory_layout in (torch.contiguous_format, torch.channels_last):
        if case == "linear" and best is not None:
            break
        ms = median(make(memory_layout))
        best = ms if best is None else min(best, ms)
print("%.4f" % best)
