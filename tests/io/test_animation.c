/*
 * Moving pictures: what is written is read back by a small reader of GIF and of APNG's chunks that
 * is written here a second time; greys and APNG are exact, colours near.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/temp_folder.h"
#include "io/io.h"

enum { H = 61, W = 83, FRAMES = 4, PIXELS = H * W };

/* Noise, so that codes grow to their longest and are cleared, then a flat frame. */
static uint8_t *make_frames(int channels, const uint8_t *frames[FRAMES])
{
    size_t one = (size_t)PIXELS * (size_t)channels;
    uint8_t *pixels = malloc(FRAMES * one);
    uint32_t state = 7;
    for (size_t i = 0; i < FRAMES * one; i++) {
        state = state * 1664525u + 1013904223u;
        pixels[i] = i >= (FRAMES - 1) * one ? 200 : (uint8_t)(state >> 24);
    }
    for (int f = 0; f < FRAMES; f++)
        frames[f] = pixels + (size_t)f * one;
    return pixels;
}

static uint8_t *read_file(const char *path, size_t *size)
{
    uint8_t *data;
    assert_int_equal(sumi_file_read(path, 1 << 24, &data, size, NULL), SUMI_OK);
    return data;
}

/* ---- GIF ------------------------------------------------------------------------------------- */

/* Joins the blocks of data at *at. */
static uint8_t *join_blocks(const uint8_t *data, size_t *at, size_t *size)
{
    uint8_t *out = malloc(1 << 20);
    *size = 0;
    while (data[*at] > 0) {
        memcpy(out + *size, data + *at + 1, data[*at]);
        *size += data[*at];
        *at += 1u + data[*at];
    }
    ++*at;
    return out;
}

/* The decoder as the format describes it: sequences are spelled out from their last pixel back. */
static void unpack(const uint8_t *data, size_t size, uint8_t *out, size_t pixels)
{
    static uint16_t before[4096];
    static uint8_t last[4096];
    uint32_t bits = 0;
    int count = 0, width = 9, next = 258, previous = -1;
    size_t at = 0, made = 0;
    for (;;) {
        for (; count < width; count += 8) {
            assert_true(at < size);
            bits |= (uint32_t)data[at++] << count;
        }
        int code = (int)(bits & ((1u << width) - 1));
        bits >>= width;
        count -= width;
        if (code == 257)
            break;
        if (code == 256) {
            width = 9;
            next = 258;
            previous = -1;
            continue;
        }
        assert_true(code < next || (code == next && previous >= 0));
        uint8_t text[4096];
        int length = 0, c = code == next ? previous : code;
        for (; c >= 258; c = before[c])
            text[length++] = last[c];
        text[length++] = (uint8_t)c;
        for (int k = length - 1; k >= 0; k--)
            out[made++] = text[k];
        if (code == next)
            out[made++] = (uint8_t)c;
        if (previous >= 0 && next < 4096) {
            before[next] = (uint16_t)previous;
            last[next++] = (uint8_t)c;
            if (next == 1 << width && width < 12)
                width++;
        }
        previous = code;
        assert_true(made <= pixels);
    }
    assert_int_equal(made, pixels);
}

/* Largest distance of a channel from the frames that were written. */
static int check_gif(const char *path, int channels, const uint8_t *const *frames)
{
    size_t size, at = 13 + 768, frame_size;
    uint8_t *data = read_file(path, &size), pixels[PIXELS];
    const uint8_t *palette = data + 13;
    int frame = 0, worst = 0;
    assert_memory_equal(data, "GIF89a", 6);
    assert_true(data[6] == W && data[7] == 0 && data[8] == H && data[10] == 0xf7);
    while (data[at] != 0x3b) {
        if (data[at] == 0x21) {
            if (data[at + 1] == 0xf9) /* 50 ms, the last one 2 s */
                assert_int_equal(data[at + 4] | data[at + 5] << 8, frame == FRAMES - 1 ? 200 : 5);
            at += 2;
            uint8_t *text = join_blocks(data, &at, &frame_size);
            free(text);
            continue;
        }
        assert_true(data[at] == 0x2c && data[at + 10] == 8 && frame < FRAMES);
        at += 11;
        uint8_t *packed = join_blocks(data, &at, &frame_size);
        unpack(packed, frame_size, pixels, PIXELS);
        free(packed);
        for (int i = 0; i < PIXELS * channels; i++) {
            int off = palette[3 * pixels[i / channels] + i % channels] - frames[frame][i];
            worst = abs(off) > worst ? abs(off) : worst;
        }
        frame++;
    }
    assert_true(frame == FRAMES && at + 1 == size);
    free(data);
    return worst;
}

static void test_gif(void **state)
{
    for (int channels = 1; channels <= 3; channels += 2) {
        const uint8_t *frames[FRAMES];
        uint8_t *pixels = make_frames(channels, frames);
        const sumi_animation animation = {H, W, channels, FRAMES, frames, 50, 2000};
        const char *path = temp_path(*state, "x.gif");
        char text[601];
        memset(text, 'c', 600);
        text[600] = '\0';
        assert_int_equal(sumi_gif_write(path, &animation, text, NULL), SUMI_OK);
        int worst = check_gif(path, channels, frames);
        /* Noise has every colour: 256 of them are far from some. */
        assert_true(channels == 1 ? worst == 0 : worst < 80);
        free(pixels);
    }
}

/* Few colours are kept apart, and flat pictures of any size are packed and read. */
static void test_gif_of_few_colours(void **state)
{
    static uint8_t pixels[FRAMES][PIXELS * 3];
    const uint8_t *frames[FRAMES];
    for (int f = 0; f < FRAMES; f++) {
        for (int i = 0; i < PIXELS; i++)
            memcpy(pixels[f] + 3 * i, i % 3 == f % 3 ? "\xff\0\0" : "\0\xff\xff", 3);
        frames[f] = pixels[f];
    }
    const sumi_animation animation = {H, W, 3, FRAMES, frames, 50, 2000};
    assert_int_equal(sumi_gif_write(temp_path(*state, "y.gif"), &animation, NULL, NULL), SUMI_OK);
    assert_int_equal(check_gif(temp_path(*state, "y.gif"), 3, frames), 0);
}

/* Codes grow longer, or are full, at any place of a picture, its end too; so do blocks. */
static void test_gif_of_any_length(void **state)
{
    enum { LONGEST = 4000 };
    static uint8_t noise[LONGEST], read[LONGEST];
    const uint8_t *frame = noise;
    const char *path = temp_path(*state, "l.gif");
    uint32_t random = 3;
    for (int i = 0; i < LONGEST; i++) {
        random = random * 1664525u + 1013904223u;
        noise[i] = (uint8_t)(random >> 24);
    }
    for (int width = 1; width <= LONGEST; width += width == 600 ? 3200 : 1) {
        const sumi_animation animation = {1, width, 1, 1, &frame, 50, 50};
        size_t size, packed_size, at = 13 + 768 + 19 + 8;
        assert_int_equal(sumi_gif_write(path, &animation, "", NULL), SUMI_OK);
        uint8_t *data = read_file(path, &size);
        assert_true(data[at] == 0x2c && data[at + 10] == 8);
        at += 11;
        uint8_t *packed = join_blocks(data, &at, &packed_size);
        unpack(packed, packed_size, read, (size_t)width);
        assert_memory_equal(read, noise, (size_t)width);
        assert_true(data[at] == 0x3b && at + 1 == size);
        free(packed);
        free(data);
    }
}

/* ---- APNG ------------------------------------------------------------------------------------ */

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* The first frame is what any reader of PNG sees; the others are counted in order. */
static void test_apng(void **state)
{
    for (int channels = 1; channels <= 3; channels += 2) {
        const uint8_t *frames[FRAMES];
        uint8_t *pixels = make_frames(channels, frames);
        const sumi_animation animation = {H, W, channels, FRAMES, frames, 50, 2000};
        const char *path = temp_path(*state, "x.png");
        sumi_image first;
        assert_int_equal(sumi_apng_write(path, &animation, "text", NULL), SUMI_OK);
        assert_int_equal(sumi_image_read(path, &first, NULL), SUMI_OK);
        assert_true(first.height == H && first.width == W && first.channels == channels);
        assert_memory_equal(first.pixels, frames[0], (size_t)PIXELS * (size_t)channels);
        sumi_image_free(&first);
        size_t size;
        uint8_t *data = read_file(path, &size);
        uint32_t sequence = 0, controls = 0;
        for (size_t at = 8; at < size; at += 12 + get_u32(data + at)) {
            const uint8_t *type = data + at + 4, *body = data + at + 8;
            if (memcmp(type, "acTL", 4) == 0)
                assert_true(get_u32(body) == FRAMES && get_u32(body + 4) == 0);
            if (memcmp(type, "fcTL", 4) == 0) {
                assert_true(get_u32(body + 4) == W && get_u32(body + 8) == H);
                assert_int_equal(body[20] << 8 | body[21], ++controls == FRAMES ? 2000 : 50);
            }
            if (memcmp(type, "fcTL", 4) == 0 || memcmp(type, "fdAT", 4) == 0)
                assert_int_equal(get_u32(body), sequence++);
        }
        assert_int_equal(controls, FRAMES);
        free(data);
        free(pixels);
    }
}

static void test_refusals(void **state)
{
    const uint8_t pixel = 0, *frame = &pixel;
    static const struct {
        int height, width, channels, count;
    } bad[] = {{1, 1, 1, 0},     {1, 1, 2, 1},     {0, 1, 1, 1},    {1, 0, 3, 1},
               {65536, 1, 1, 1}, {1, 65536, 1, 1}, {1, 1, 1, 10001}};
    char expected[128];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const sumi_animation animation = {
            bad[i].height, bad[i].width, bad[i].channels, bad[i].count, &frame, 50, 50};
        sumi_error err = {""};
        snprintf(expected, sizeof expected, "f: %d frames of %d x %d pixels and %d channels",
                 bad[i].count, bad[i].width, bad[i].height, bad[i].channels);
        assert_int_equal(sumi_gif_write("f", &animation, NULL, &err), SUMI_EINVAL);
        assert_string_equal(err.text, expected);
        assert_int_equal(sumi_apng_write("f", &animation, NULL, &err), SUMI_EINVAL);
        assert_string_equal(err.text, expected);
    }
    const sumi_animation good = {1, 1, 1, 1, &frame, 50, 50};
    (void)state;
    assert_int_equal(sumi_gif_write("/no/such/folder/a.gif", &good, NULL, NULL), SUMI_EIO);
    assert_int_equal(sumi_apng_write("/no/such/folder/a.png", &good, NULL, NULL), SUMI_EIO);
}

/* ---- Parameters ------------------------------------------------------------------------------ */

static void test_parameters(void **state)
{
    uint8_t pixel = 9;
    char *found = NULL;
    sumi_error err;
    const sumi_image image = {1, 1, 1, &pixel};
    const char *path = temp_path(*state, "p.png");
    assert_int_equal(sumi_png_write_with(path, &image, "comment", "{\"a\":1}", NULL), SUMI_OK);
    assert_int_equal(sumi_png_parameters(path, &found, NULL), SUMI_OK);
    assert_string_equal(found, "{\"a\":1}");
    free(found);
    assert_int_equal(sumi_png_write(path, &image, "comment", NULL), SUMI_OK);
    assert_int_equal(sumi_png_parameters(path, &found, &err), SUMI_EFORMAT);
    assert_non_null(strstr(err.text, "does not tell how it was sampled"));
    assert_int_equal(sumi_png_parameters("/no/such/file", &found, &err), SUMI_EIO);
    assert_int_equal(sumi_file_save(path, "GIF89a", 6, NULL), SUMI_OK);
    assert_int_equal(sumi_png_parameters(path, &found, &err), SUMI_EFORMAT);
    assert_non_null(strstr(err.text, "not a PNG picture"));
}

/* Of a chunk that is damaged, cut, or has another name or none nothing is taken. */
static void test_broken_parameters(void **state)
{
    uint8_t pixel = 9;
    size_t size, length;
    char *found = NULL;
    const sumi_image image = {1, 1, 1, &pixel};
    const char *path = temp_path(*state, "p.png");
    assert_int_equal(sumi_png_write_with(path, &image, NULL, "{}", NULL), SUMI_OK);
    uint8_t *data = read_file(path, &size);
    size_t at = 8;
    while (memcmp(data + at + 4, "tEXt", 4) != 0)
        at += 12 + get_u32(data + at);
    length = 12 + get_u32(data + at);
    assert_int_equal(length, 12 + 18); /* "sumi parameters", 0, "{}" */
    for (size_t i = 0; i < length; i++) {
        data[at + i] ^= 1;
        assert_int_equal(sumi_file_save(path, data, size, NULL), SUMI_OK);
        assert_int_equal(sumi_png_parameters(path, &found, NULL), SUMI_EFORMAT);
        data[at + i] ^= 1;
    }
    for (size_t cut = at; cut < at + length; cut++) {
        assert_int_equal(sumi_file_save(path, data, cut, NULL), SUMI_OK);
        assert_int_equal(sumi_png_parameters(path, &found, NULL), SUMI_EFORMAT);
    }
    assert_int_equal(sumi_file_save(path, data, at + length, NULL), SUMI_OK);
    assert_int_equal(sumi_png_parameters(path, &found, NULL), SUMI_OK);
    assert_string_equal(found, "{}");
    free(found);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gif),
        cmocka_unit_test(test_gif_of_few_colours),
        cmocka_unit_test(test_apng),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_broken_parameters),
        cmocka_unit_test(test_gif_of_any_length),
    };
    return cmocka_run_group_tests(tests, temp_setup, temp_teardown);
}
