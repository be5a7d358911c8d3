/* libFuzzer's entry for the decoders of pictures: the header, the whole picture, and a part of it made smaller. */
#include <string.h>

#include "core/alloc.h"
#include "io/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const int channels[] = {1, 3, 4};
    pk_image_work work;
    pk_image_info info;
    pk_image image;
    memset(&work, 0, sizeof work);
    if (pk_image_probe("input", data, (int64_t)size, 1 << 20, &info) == PK_OK)
        for (int i = 0; i < 3; i++) {
            const pk_image_options o = {1 << 20, channels[i], {9, 9, 9}};
            const pk_image_region part = {info.h / 3, info.w / 4, info.h - info.h / 3, info.w - info.w / 4, 8, 8};
            unsigned sum = 0;
            if (pk_image_decode("input", data, (int64_t)size, &info, &o, i == 1 ? &part : NULL, &work, &image) == PK_OK)
                for (int64_t k = 0; k < image.h * image.w * image.channels; k++) sum += image.pixels[k];
            (void)sum;
        }
    pk_image_work_free(&work);
    return 0;
}
