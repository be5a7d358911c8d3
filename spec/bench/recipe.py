"""PyTorch's side of recipe.lua: recipe.py FOLDER trains the model of job.json from initial.safetensors on the pictures
x1.npy, x2.npy ... in their order and writes result.json: top1 in percent on xt.npy, seconds of training."""
import json
import os
import sys
import time

import numpy as np

folder = sys.argv[1]
with open(folder + "/job.json") as f:
    job = json.load(f)
# Its OpenBLAS has threads of its own, which torch.set_num_threads does not know of.
os.environ.update({name: str(job["threads"]) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "BLIS_NUM_THREADS")})

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "torch"))
import family  # noqa: E402
from files import load  # noqa: E402

torch.set_num_threads(job["threads"])


def images(name):
    bytes_ = torch.from_numpy(np.load("%s/%s.npy" % (folder, name)))
    return bytes_.permute(0, 3, 1, 2)


def floats(x):
    return (x.float() / 255 - 0.2860) / 0.3530


def labels(name):
    return torch.from_numpy(np.load("%s/%s.npy" % (folder, name)).astype(np.int64)) - 1


model = family.build("Model", job["options"])
missing, unknown = model.load_state_dict(load(folder + "/initial.safetensors"), strict=False)
assert not unknown and all(n.endswith("num_batches_tracked") for n in missing), (missing, unknown)
plain = [p for n, p in model.named_parameters() if p.ndim < 2 or n.endswith("position")]
decayed = [p for n, p in model.named_parameters() if not (p.ndim < 2 or n.endswith("position"))]
optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": job["weight_decay"]},
                               {"params": plain, "weight_decay": 0.0}], lr=1e-3, eps=1e-8)
began, step = time.perf_counter(), 0
for epoch in range(job["epochs"]):
    x, y = images("x%d" % (epoch + 1)), labels("y%d" % (epoch + 1))
    model.train()
    for at in range(0, len(y), job["batch"]):
        for group in optimizer.param_groups:
            group["lr"] = job["rates"][step]
        step += 1
        optimizer.zero_grad()
        logits = model(floats(x[at:at + job["batch"]]))
        F.cross_entropy(logits, y[at:at + job["batch"]], label_smoothing=job["label_smoothing"]).backward()
        optimizer.step()
        if step % 50 == 0:
            print("\rPyTorch  step %d of %d" % (step, len(job["rates"])), end="", file=sys.stderr, flush=True)
print(file=sys.stderr)
seconds = time.perf_counter() - began
model.eval()
x, y = images("xt"), labels("yt")
with torch.no_grad():
    hits = sum(int((model(floats(x[at:at + 250])).argmax(1) == y[at:at + 250]).sum()) for at in range(0, len(y), 250))
with open(folder + "/result.json", "w") as f:
    json.dump({"top1": 100.0 * hits / len(y), "seconds": seconds}, f)
