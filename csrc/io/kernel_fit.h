/* Depthwise kernels and position maps of another size, when the kernel or the image changes (fine-tuning at 384 what
 * was trained at 224; a 51x51 model begun from a 31x31 one).
 *
 * A shared kernel is a dense one that is constant on rectangles, so it is expanded, made larger or smaller, and
 * projected on the new grid: each new weight is the mean of the dense kernel over its rectangle, the nearest kernel of
 * that grid in the square sense, and one that keeps the sum of all taps. All of it is linear and separable: one small
 * matrix an axis.
 *   PK_RESIZE_PAD    the kernel stays what it is, centre on centre: new taps are 0, those outside are cut off. What
 *                    the network computes stays the same (exactly for dense kernels; shared ones where bands
 *                    coincide), which is how the literature fine-tunes at larger images: there, kernels keep pixels.
 *   PK_RESIZE_SCALE  the kernel is stretched with the image: linear interpolation, weights over the area ratio, so
 *                    that the sum stays; maps are interpolated without it. */
#ifndef PK_IO_KERNEL_FIT_H
#define PK_IO_KERNEL_FIT_H

#include "core/schema.h"
#include "core/tensor.h"

typedef enum pk_resize { PK_RESIZE_OFF, PK_RESIZE_PAD, PK_RESIZE_SCALE } pk_resize;
#define PK_RESIZE_CHOICES "off|pad|scale"

/* given: float32 {..., a, b}; *out: contiguous {..., the bands of the new rows, of the new columns}. Each axis: its
 * bands before and after (all ones of a dense kernel). kernel: its sum is kept (not a map). */
pk_status pk_kernel_resize(const pk_tensor *given, const pk_ints from[2], const pk_ints to[2], pk_resize how,
                           bool kernel, pk_tensor **out);

/* n bands of size 1. PK_EINVAL: n is more than a list holds. */
pk_status pk_bands_of_one(int64_t n, pk_ints *out);

#endif
