/* PNG and JPEG: sumi's use of libpng and libjpeg. */
#include "fuzz.h"
#include "io/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size);
    sumi_image image;
    sumi_error err;
    if (sumi_image_parse("f", copy, size, &image, &err) == SUMI_OK) {
        fuzz_check(image.height > 0 && image.width > 0, "a size");
        fuzz_check(image.channels == 1 || image.channels == 3, "one or three channels");
        fuzz_touch(image.pixels,
                   (size_t)image.height * (size_t)image.width * (size_t)image.channels);
        sumi_image_free(&image);
    }
    free(copy);
    return 0;
}
