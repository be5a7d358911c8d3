"""Pictures and what Pillow makes of them: oracle.py FOLDER [photographs ...] writes files and oracle.safetensors."""
import json
import struct
import sys

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

folder = sys.argv[1]
tensors = {}


def keep(name, image):
    a = np.asarray(image)
    tensors[name] = a[:, :, None] if a.ndim == 2 else a


def photograph(h, w, seed):
    """Noise whose spectrum falls as 1/f, as that of photographs does, and edges."""
    rng = np.random.default_rng(seed)
    fy, fx = np.fft.fftfreq(h)[:, None], np.fft.fftfreq(w)[None]
    fall = 1 / np.maximum(np.hypot(fy, fx), 1 / max(h, w))
    out = np.empty((h, w, 3))
    for c in range(3):
        v = np.fft.ifft2(np.fft.fft2(rng.standard_normal((h, w))) * fall).real
        out[:, :, c] = 128 + 45 * v / v.std()
    out[h // 4:h // 2, w // 3:w // 2] = (250, 30, 90)
    out[:, w // 5] = 5
    return Image.fromarray(np.clip(out, 0, 255).astype(np.uint8))


def rgb(image):
    image = ImageOps.exif_transpose(image)
    if image.mode in ("LA", "PA", "RGBA", "P"):
        image = image.convert("RGBA")
        under = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(under, image).convert("RGB")
    return image.convert("RGB")


def save(name, image, **options):
    path = f"{folder}/{name}"
    image.save(path, **options)
    keep("file." + name, rgb(Image.open(path)))


# ---- files of all kinds ----
base = photograph(67, 101, 1)
alpha = Image.fromarray(np.tile(np.linspace(0, 255, 101).astype(np.uint8), (67, 1)))
save("rgb420.jpg", base, quality=90)
save("rgb444.jpg", base, quality=95, subsampling=0)
save("progressive.jpg", base, quality=90, progressive=True)
save("grey.jpg", base.convert("L"), quality=90)
save("cmyk.jpg", base.convert("CMYK"), quality=95)
for o in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = o
    save(f"exif{o}.jpg", base, quality=95, subsampling=0, exif=exif)
    save(f"exif{o}.png", base, exif=exif)
save("rgb.png", base)
save("grey.png", base.convert("L"))
save("bit.png", base.convert("1"))
save("palette.png", base.quantize(200))
save("palette16.png", base.quantize(14), bits=4)
rgba = base.copy()
rgba.putalpha(alpha)
save("rgba.png", rgba)
la = base.convert("L")
la.putalpha(alpha)
save("la.png", la)
save("transparent.png", base.quantize(60), transparency=3)
deep = (np.asarray(base.convert("L")).astype(np.uint16) * 257)
Image.fromarray(deep).save(f"{folder}/deep.png")
keep("file.deep.png", base.convert("L").convert("RGB"))
keep("grey_of_rgb.png", base.convert("L"))
keep("alpha_of_rgba.png", rgba)

# ---- resizing ----
filters = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC}
photos = [photograph(375, 500, 2)] + [ImageOps.exif_transpose(Image.open(p)).convert("RGB").crop((0, 0, 800, 600))
                                  for p in sys.argv[2:]]
for i, photo in enumerate(photos):
    path = f"{folder}/photo{i}.png"
    photo.save(path)
    for name, f in filters.items():
        for w, h in ((224, 224), (97, 61), (640, 480), (32, 300)):
            keep(f"resize.{i}.{name}.{h}.{w}", photo.resize((w, h), f))
        keep(f"grey.{i}.{name}.64.64", photo.convert("L").resize((64, 64), f))

# ---- the changes of rand_augment ----
small = photograph(61, 83, 3)
keep("augment.in", small)
keep("augment.in1", small.convert("L"))
fill = (124, 116, 104)


def affine(f, *m):
    return lambda im: im.transform(im.size, Image.AFFINE, m, resample=f, fillcolor=fill if im.mode == "RGB" else fill[0])


def add(im, n):
    lut = [min(255, i + n) if i < 128 else i for i in range(256)]
    return im.point(lut * len(im.getbands()))


changes = {
    "auto_contrast 0": ImageOps.autocontrast,
    "equalize 0": ImageOps.equalize,
    "invert 0": ImageOps.invert,
    "solarize_add 99": lambda im: add(im, 99),
}
for v in (0, 1, 4, 8):
    changes[f"posterize {v}"] = lambda im, v=v: ImageOps.posterize(im, v) if v < 8 else im
for v in (26, 256):
    changes[f"solarize {v}"] = lambda im, v=v: ImageOps.solarize(im, v)
for v in (0.1, 0.19, 1.0, 1.81):
    for name, kind in (("color", "Color"), ("contrast", "Contrast"), ("brightness", "Brightness"),
                       ("sharpness", "Sharpness")):
        changes[f"{name} {v}"] = lambda im, v=v, kind=kind: getattr(ImageEnhance, kind)(im).enhance(v)
for name, f in filters.items():
    for v in (-27.0, 13.5):
        changes[f"rotate {v} {name}"] = lambda im, v=v, f=f: im.rotate(
            v, resample=f, fillcolor=fill if im.mode == "RGB" else fill[0])
    for v in (-0.27, 0.1):
        changes[f"shear_x {v} {name}"] = affine(f, 1, v, 0, 0, 1, 0)
        changes[f"shear_y {v} {name}"] = affine(f, 1, 0, 0, v, 1, 0)
        changes[f"translate_x {v} {name}"] = affine(f, 1, 0, v * small.width, 0, 1, 0)
        changes[f"translate_y {v} {name}"] = affine(f, 1, 0, 0, 0, 1, v * small.height)
for name, change in changes.items():
    keep(f"augment3 {name}", change(small))
    keep(f"augment1 {name}", change(small.convert("L")))

# ---- all of it as safetensors ----
header, offset = {}, 0
for name, a in tensors.items():
    header[name] = {"dtype": "U8", "shape": list(a.shape), "data_offsets": [offset, offset + a.size]}
    offset += a.size
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
with open(f"{folder}/oracle.safetensors", "wb") as out:
    out.write(struct.pack("<Q", len(text)) + text)
    for a in tensors.values():
        out.write(np.ascontiguousarray(a).astype(np.uint8).tobytes())
