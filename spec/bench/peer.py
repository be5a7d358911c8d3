"""PyTorch's side of `make bench`: peer.py CASE inference|training THREADS [cpu] prints the median milliseconds of the better
memory layout and the peak memory in MiB. CASE: "dense KxK", "convolution", "linear", or "network:FILE", FILE being JSON with
the spec and the input's size {N,H,W}. The networks are those of spec/torch/family.py in float32, peripheral kernels as the dense
kernels that they expand to (what PyTorch offers), without position embedding."""
import json
import os
import resource
import statistics
import sys
import time

# Its OpenBLAS has threads of its own, which torch.set_num_threads does not know of.
os.environ.update({name: sys.argv[3] for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "BLIS_NUM_THREADS")})

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "torch"))
import family  # noqa: E402

case, mode, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
training = mode == "training"
clock = time.process_time if sys.argv[4:] == ["cpu"] else time.perf_counter  # cpu: of the process, for one thread
torch.set_num_threads(threads)
torch.manual_seed(0)


def convolution(shape, weight, groups, layout):
    x = torch.randn(*shape).contiguous(memory_format=layout)
    w = torch.randn(*weight).contiguous(memory_format=layout)
    padding = weight[2] // 2
    if not training:
        return lambda: F.conv2d(x, w, padding=padding, groups=groups)
    x.requires_grad_()
    w.requires_grad_()
    g = torch.randn(*shape).contiguous(memory_format=layout)
    return lambda: F.conv2d(x, w, padding=padding, groups=groups).backward(g)


def depthwise(k, layout):
    return convolution((1, 96, 56, 56), (96, 1, k, k), 96, layout)


def linear(_layout):
    x, w, b = torch.randn(3136, 124), torch.randn(496, 124), torch.randn(496)
    if not training:
        return lambda: F.linear(x, w, b)
    for t in (x, w, b):
        t.requires_grad_()
    g = torch.randn(3136, 496)
    return lambda: F.linear(x, w, b).backward(g)


def network(file, layout):
    with open(file) as f:
        given = json.load(f)
    spec = dict(given["spec"], position="off")
    n, h, w = given["size"]
    model = family.build("Model", spec).to(memory_format=layout)
    x = torch.randn(n, spec["in_channels"], h, w).contiguous(memory_format=layout)
    if not training:
        model.eval()
        return lambda: model(x)
    y = torch.arange(n) % 10
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step():
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def make(layout):
    if case.startswith("dense "):
        return depthwise(int(case.split()[1].split("x")[0]), layout)
    if case == "convolution":
        return convolution((8, 64, 28, 28), (64, 64, 3, 3), 1, layout)
    return linear(layout) if case == "linear" else network(case.split(":", 1)[1], layout)


def median(f):
    f()
    times, began = [], clock()
    while len(times) < 3 or (len(times) < 50 and clock() - began < 1):
        t = clock()
        f()
        times.append(clock() - t)
        if clock() - began > 20:
            break
    return statistics.median(times) * 1e3


def measure(layout):
    """In a process of its own, so that the memory is this layout's."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with torch.set_grad_enabled(training):
            ms = median(make(layout))
        os.write(write, b"%.4f %.1f" % (ms, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    return tuple(float(v) for v in os.read(read, 100).split())


layouts = [torch.contiguous_format] if case == "linear" else [torch.contiguous_format, torch.channels_last]
print("%.4f %.1f" % min(measure(layout) for layout in layouts))
