"""The other side of spec/bench/data.lua, on one core: data.py make FOLDER writes JPEG; data.py time FOLDER prints
"library case pictures-a-second"."""
import glob
import math
import random
import sys
import time

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

COUNT = 48


def make(folder):
    for i in range(COUNT):
        rng = np.random.default_rng(i)
        fy, fx = np.fft.fftfreq(375)[:, None], np.fft.fftfreq(500)[None]
        fall = 1 / np.maximum(np.hypot(fy, fx), 1 / 500)
        planes = [np.fft.ifft2(np.fft.fft2(rng.standard_normal((375, 500))) * fall).real for _ in range(3)]
        picture = np.stack([128 + 45 * v / v.std() for v in planes], -1)
        Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(f"{folder}/{i:03}.jpg", quality=90)


def crop(image):
    w, h = image.size
    for _ in range(10):
        area = random.uniform(0.08, 1) * w * h
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        cw, ch = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < cw <= w and 0 < ch <= h:
            x, y = random.randint(0, w - cw), random.randint(0, h - ch)
            return image.resize((224, 224), Image.BICUBIC, box=(x, y, x + cw, y + ch))
    return image.resize((224, 224), Image.BICUBIC)


def sign(v):
    return v if random.random() > 0.5 else -v


def affine(image, *m):
    f = random.choice((Image.BILINEAR, Image.BICUBIC))
    return image.transform(image.size, Image.AFFINE, m, resample=f, fillcolor=(124, 116, 104))


def add(image):
    return image.point([min(255, i + 99) if i < 128 else i for i in range(256)] * 3)


CHANGES = [
    ImageOps.autocontrast, ImageOps.equalize, ImageOps.invert, add,
    lambda im: im.rotate(sign(27), resample=random.choice((Image.BILINEAR, Image.BICUBIC)), fillcolor=(124, 116, 104)),
    lambda im: ImageOps.posterize(im, 1), lambda im: ImageOps.solarize(im, 26),
    lambda im: ImageEnhance.Color(im).enhance(1 + sign(0.81)),
    lambda im: ImageEnhance.Contrast(im).enhance(1 + sign(0.81)),
    lambda im: ImageEnhance.Brightness(im).enhance(1 + sign(0.81)),
    lambda im: ImageEnhance.Sharpness(im).enhance(1 + sign(0.81)),
    lambda im: affine(im, 1, sign(0.27), 0, 0, 1, 0), lambda im: affine(im, 1, 0, 0, sign(0.27), 1, 0),
    lambda im: affine(im, 1, 0, sign(0.4) * im.width, 0, 1, 0),
    lambda im: affine(im, 1, 0, 0, 0, 1, sign(0.4) * im.height),
]


def augment(image):
    if random.random() < 0.5:
        image = ImageOps.mirror(image)
    for change in random.choices(CHANGES, k=2):
        if random.random() < 0.5:
            image = change(image)
    return image


def to_float(image):
    x = np.asarray(image, dtype=np.float32) / 255
    return (x - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])


def load(path):
    image = Image.open(path)
    return image.convert("RGB")


def measure(library, cases, paths):
    for i, case in enumerate(cases, 1):
        best = 0
        for _ in range(3):
            began = time.perf_counter()
            for path in paths:
                case(path)
            best = max(best, len(paths) / (time.perf_counter() - began))
        print(library, i, f"{best:.1f}", flush=True)


def main():
    if sys.argv[1] == "make":
        return make(sys.argv[2])
    paths = sorted(glob.glob(sys.argv[2] + "/*.jpg"))
    measure("pillow", [lambda p: np.asarray(load(p)), lambda p: np.asarray(crop(load(p))),
                       lambda p: np.asarray(augment(crop(load(p)))), lambda p: to_float(augment(crop(load(p))))], paths)
    try:
        import torch
        from torchvision import transforms as T
    except ImportError:
        print("skipped: python3-torchvision is not installed (rates of the data loader)")
        return None
    torch.set_num_threads(1)
    size = T.RandomResizedCrop(224, interpolation=T.InterpolationMode.BICUBIC)
    whole = T.Compose([size, T.RandomHorizontalFlip(), T.RandAugment(2, 9)])
    finish = T.Compose([whole, T.ToTensor(), T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
                        T.RandomErasing(0.25, value="random")])
    measure("torchvision", [lambda p: np.asarray(load(p)), lambda p: size(load(p)), lambda p: whole(load(p)),
                            lambda p: finish(load(p))], paths)
    return None


main()
