/* ZIP: a table of edits to a good archive, ZIP64 both ways, truncation, flipped bits. */
#include "io/io_test.h"
#include "io/zip.h"

static const uint8_t local_mark[4] = "PK\3\4", directory_mark[4] = "PK\1\2", end_mark[4] = "PK\5\6",
                     end64_mark[4] = "PK\6\6", locator_mark[4] = "PK\6\7",
                     descriptor_mark[4] = "PK\7\10";

/* A small archive of sumi's own writing: two entries. */
static blob own_archive(temp_folder *temp, uint64_t classic_max)
{
    static const sumi_zip_entry entries[] = {{"a/one", (const uint8_t *)"first", 5},
                                             {"a/two", (const uint8_t *)"", 0},
                                             {"a/b", (const uint8_t *)"third!", 6}};
    const char *path = temp_path(temp, "a.zip");
    sumi_file *file;
    blob out = {0};
    assert_int_equal(sumi_file_begin(path, &file, NULL), SUMI_OK);
    assert_int_equal(sumi_zip_write(file, entries, 3, classic_max, NULL), SUMI_OK);
    assert_int_equal(sumi_file_commit(file, NULL), SUMI_OK);
    assert_int_equal(sumi_file_read(path, 1 << 20, &out.data, &out.size, NULL), SUMI_OK);
    return out;
}

static void expect_own(const blob *b)
{
    sumi_zip zip;
    sumi_error err = {""};
    if (sumi_zip_parse("f", b->data, b->size, &zip, &err) != SUMI_OK)
        fail_msg("%s", err.text);
    assert_int_equal(zip.count, 3);
    const sumi_zip_entry *one = sumi_zip_find(&zip, "a/one"), *two = sumi_zip_find(&zip, "a/two");
    const sumi_zip_entry *three = sumi_zip_find(&zip, "a/b");
    assert_true(one && two && three && !sumi_zip_find(&zip, "a/") && !sumi_zip_find(&zip, ""));
    assert_int_equal(one->size, 5);
    assert_memory_equal(one->data, "first", 5);
    assert_int_equal(two->size, 0);
    assert_memory_equal(three->data, "third!", 6);
    for (size_t i = 0; i < zip.count; i++)
        assert_int_equal((size_t)(zip.entries[i].data - b->data) % 64, 0);
    sumi_zip_free(&zip);
}

static void test_round_trip(void **state)
{
    /* With a limit of 0 every size and offset goes to ZIP64 fields, with 6 only some do. */
    static const uint64_t limits[] = {SUMI_ZIP_CLASSIC_MAX, 0, 1, 6, 100};
    for (int i = 0; i < 5; i++) {
        blob b = own_archive(*state, limits[i]);
        expect_own(&b);
        blob_free(&b);
    }
}

/* A size that the field's mark for "see ZIP64" would be taken for is written there. */
static void test_size_at_the_limit(void **state)
{
    for (int more = 0; more < 2; more++) {
        blob b = own_archive(*state, 5 + (uint64_t)more);
        assert_int_equal(sumi_get32(b.data + 18), more ? 5 : 0xFFFFFFFF);
        assert_int_equal(sumi_get32(b.data + 22), more ? 5 : 0xFFFFFFFF);
        blob_free(&b);
    }
}

static void test_name_limit(void **state)
{
    temp_folder *temp = *state;
    char name[1026];
    memset(name, 'n', 1025);
    name[1025] = 0;
    sumi_zip_entry entry = {name, (const uint8_t *)"", 0};
    sumi_file *file;
    sumi_error err = {""};
    assert_int_equal(sumi_file_begin(temp_path(temp, "a.zip"), &file, NULL), SUMI_OK);
    expect_error("long", sumi_zip_write(file, &entry, 1, SUMI_ZIP_CLASSIC_MAX, &err), &err,
                 SUMI_EINVAL, "an entry's name has more than 1024 bytes");
    sumi_file_abort(file);
    name[1024] = '\0'; /* the longest */
    blob b = {0};
    sumi_zip zip;
    assert_int_equal(sumi_file_begin(temp_path(temp, "b.zip"), &file, NULL), SUMI_OK);
    assert_int_equal(sumi_zip_write(file, &entry, 1, SUMI_ZIP_CLASSIC_MAX, NULL), SUMI_OK);
    assert_int_equal(sumi_file_commit(file, NULL), SUMI_OK);
    assert_int_equal(sumi_file_read(temp_path(temp, "b.zip"), 1 << 20, &b.data, &b.size, NULL),
                     SUMI_OK);
    assert_int_equal(sumi_zip_parse("f", b.data, b.size, &zip, NULL), SUMI_OK);
    assert_non_null(sumi_zip_find(&zip, name));
    sumi_zip_free(&zip);
    blob_free(&b);
}

/* An edit: at the n-th occurrence of mark, plus offset, `size` bytes become `value`
 * (little-endian), or, where cut is set, that many bytes go away first. */
typedef struct {
    const char *label;
    const uint8_t *mark;
    int n, offset, size;
    uint64_t value;
    int cut;
    sumi_status status;
    const char *message;
} edit;

static void run_edit(const blob *good, const edit *e)
{
    uint8_t bytes[8];
    sumi_zip zip;
    sumi_error err = {""};
    blob b = blob_copy(good->data, good->size);
    size_t at = (size_t)((long)blob_find(&b, e->mark, 4, e->n) + e->offset);
    sumi_put(bytes, e->value, e->size);
    blob_splice(&b, at, (size_t)(e->cut ? e->cut : e->size), bytes, (size_t)e->size);
    expect_error(e->label, sumi_zip_parse("f", b.data, b.size, &zip, &err), &err, e->status,
                 e->message);
    blob_free(&b);
}

#define WHOLE "f: not a whole ZIP archive: "
#define ONE "f: entry \"a/one\": "

static const edit own_edits[] = {
    {"end mark", end_mark, 0, 0, 1, 'Q', 0, SUMI_EFORMAT,
     WHOLE "its last 22 bytes are no end record (is it cut off?)"},
    {"comment", end_mark, 0, 20, 2, 5, 0, SUMI_EFORMAT, WHOLE "a comment of a wrong length"},
    {"disk", end_mark, 0, 4, 2, 1, 0, SUMI_EFORMAT, WHOLE "it is a part of several"},
    {"directory disk", end_mark, 0, 6, 2, 1, 0, SUMI_EFORMAT, WHOLE "it is a part of several"},
    {"disk count", end_mark, 0, 8, 2, 2, 0, SUMI_EFORMAT, WHOLE "it is a part of several"},
    {"count", end_mark, 0, 8, 4, 0x00020002, 0, SUMI_EFORMAT, WHOLE "its two end records disagree"},
    {"directory size", end_mark, 0, 12, 4, 5, 0, SUMI_EFORMAT,
     WHOLE "its two end records disagree"},
    {"directory offset", end_mark, 0, 16, 4, 5, 0, SUMI_EFORMAT,
     WHOLE "its two end records disagree"},
    {"no locator, saturated", locator_mark, 0, 0, 1, 'Q', 0, SUMI_EFORMAT,
     WHOLE "its directory does not end where the end record begins"},
    {"locator offset", locator_mark, 0, 8, 8, 1, 0, SUMI_EFORMAT,
     WHOLE "its ZIP64 locator points elsewhere"},
    {"locator offset, huge", locator_mark, 0, 8, 8, UINT64_MAX, 0, SUMI_EFORMAT,
     WHOLE "its ZIP64 locator points elsewhere"},
    {"locator disk", locator_mark, 0, 4, 4, 1, 0, SUMI_EFORMAT,
     WHOLE "its ZIP64 locator points elsewhere"},
    {"locator disks", locator_mark, 0, 16, 4, 2, 0, SUMI_EFORMAT,
     WHOLE "its ZIP64 locator points elsewhere"},
    {"end64 mark", end64_mark, 0, 0, 1, 'Q', 0, SUMI_EFORMAT, WHOLE "a wrong ZIP64 end record"},
    {"end64 length", end64_mark, 0, 4, 8, 45, 0, SUMI_EFORMAT, WHOLE "a wrong ZIP64 end record"},
    {"end64 disk", end64_mark, 0, 16, 4, 1, 0, SUMI_EFORMAT, WHOLE "a wrong ZIP64 end record"},
    {"end64 counts", end64_mark, 0, 24, 8, 4, 0, SUMI_EFORMAT, WHOLE "a wrong ZIP64 end record"},
    {"directory mark", directory_mark, 1, 0, 1, 'Q', 0, SUMI_EFORMAT,
     WHOLE "its directory has fewer entries than it says"},
    {"record name length", directory_mark, 2, 28, 2, 60000, 0, SUMI_EFORMAT,
     WHOLE "its directory has fewer entries than it says"},
    {"record without a name", directory_mark, 2, 28, 2, 0, 0, SUMI_EFORMAT,
     WHOLE "an entry has no name"},
    {"record extra", directory_mark, 0, 30, 2, 3, 0, SUMI_EFORMAT, ONE "malformed extra fields"},
    {"record comment", directory_mark, 2, 32, 2, 3, 0, SUMI_EFORMAT,
     WHOLE "its directory has fewer entries than it says"},
    {"control character", directory_mark, 0, 46, 1, '\n', 0, SUMI_EFORMAT,
     WHOLE "an entry's name has control characters"},
    {"zero in a name", directory_mark, 0, 47, 1, 0, 0, SUMI_EFORMAT,
     WHOLE "an entry's name has control characters"},
    {"encrypted", directory_mark, 0, 8, 2, 0x801, 0, SUMI_EUNSUPPORTED, ONE "it is encrypted"},
    {"masked headers", directory_mark, 0, 8, 2, 0x2800, 0, SUMI_EUNSUPPORTED, ONE "unknown flags"},
    {"deflated", directory_mark, 0, 10, 2, 8, 0, SUMI_EUNSUPPORTED,
     ONE "it is compressed; only stored entries, as torch.save writes them, are read"},
    {"packed size", directory_mark, 0, 20, 4, 4, 0, SUMI_EFORMAT,
     ONE "it is stored, but its two sizes differ"},
    {"both sizes", directory_mark, 0, 20, 8, 0x0000000400000004, 0, SUMI_EFORMAT,
     ONE "its header and the directory disagree"},
    {"large sizes", directory_mark, 0, 20, 8, 0x7FFFFFFF7FFFFFFF, 0, SUMI_EFORMAT,
     ONE "its data does not fit the file"},
    {"saturated size without ZIP64", directory_mark, 0, 20, 8, UINT64_MAX, 0, SUMI_EFORMAT,
     ONE "malformed extra fields"},
    {"saturated offset without ZIP64", directory_mark, 0, 42, 4, 0xFFFFFFFF, 0, SUMI_EFORMAT,
     ONE "malformed extra fields"},
    {"offset", directory_mark, 0, 42, 4, 1, 0, SUMI_EFORMAT,
     ONE "there is no header where the directory says"},
    {"offset past the end", directory_mark, 0, 42, 4, 0x7FFFFFFF, 0, SUMI_EFORMAT,
     ONE "there is no header where the directory says"},
    {"another's offset", directory_mark, 0, 42, 4, 128, 0, SUMI_EFORMAT,
     ONE "its header and the directory disagree"},
    {"name", directory_mark, 0, 48, 1, 'x', 0, SUMI_EFORMAT,
     "f: entry \"a/xne\": its header and the directory disagree"},
    {"local name", local_mark, 0, 32, 1, 'x', 0, SUMI_EFORMAT,
     ONE "its header and the directory disagree"},
    {"local flags", local_mark, 0, 6, 2, 0x801, 0, SUMI_EFORMAT,
     ONE "its header and the directory disagree"},
    {"local method", local_mark, 0, 8, 2, 8, 0, SUMI_EFORMAT,
     ONE "its header and the directory disagree"},
    {"local CRC", local_mark, 0, 14, 4, 1, 0, SUMI_EFORMAT,
     ONE "its header and the directory disagree"},
    {"local sizes", local_mark, 0, 18, 8, 0x0000000400000004, 0, SUMI_EFORMAT,
     ONE "its header and the directory disagree"},
    {"local size of zero", local_mark, 0, 18, 8, 0, 0, SUMI_EFORMAT,
     ONE "its header and the directory disagree"},
    {"local extra length", local_mark, 0, 28, 2, 27, 0, SUMI_EFORMAT, ONE "malformed extra fields"},
    {"local extra, past the file", local_mark, 0, 28, 2, 60000, 0, SUMI_EFORMAT,
     ONE "its header does not fit the file"},
    {"local name length", local_mark, 0, 26, 2, 4, 0, SUMI_EFORMAT, ONE "malformed extra fields"},
    {"data", local_mark, 0, 64, 1, 'F', 0, SUMI_EFORMAT,
     ONE "its data is damaged (CRC-32 differs)"},
    {"both CRCs", directory_mark, 0, 16, 4, 1, 0, SUMI_EFORMAT,
     ONE "its header and the directory disagree"},
    {"a byte in front", local_mark, 0, 1, 0, 0, 1, SUMI_EFORMAT,
     WHOLE "its ZIP64 locator points elsewhere"},
    {"a byte behind the directory", end64_mark, 0, 1, 0, 0, 1, SUMI_EFORMAT,
     WHOLE "its ZIP64 locator points elsewhere"},
};

static void test_edits_of_own(void **state)
{
    blob good = own_archive(*state, SUMI_ZIP_CLASSIC_MAX);
    for (size_t i = 0; i < sizeof own_edits / sizeof own_edits[0]; i++)
        run_edit(&good, &own_edits[i]);
    blob_free(&good);
}

/* ZIP64 numbers in the directory, behind a record of 46 + 5 bytes and 4 of tag and length. */
static void test_edits_of_zip64(void **state)
{
    static const edit edits[] = {
        {"size", directory_mark, 0, 55, 8, 6, 0, SUMI_EFORMAT,
         ONE "it is stored, but its two sizes differ"},
        {"sizes, huge", directory_mark, 0, 55, 8, UINT64_MAX, 0, SUMI_EFORMAT,
         ONE "it is stored, but its two sizes differ"},
        {"offset", directory_mark, 0, 71, 8, UINT64_MAX, 0, SUMI_EFORMAT,
         ONE "there is no header where the directory says"},
        {"field too short", directory_mark, 0, 53, 2, 20, 0, SUMI_EFORMAT,
         ONE "malformed extra fields"},
        {"field too long", directory_mark, 0, 53, 2, 25, 0, SUMI_EFORMAT,
         ONE "malformed extra fields"},
        {"field missing", directory_mark, 0, 51, 2, 9, 0, SUMI_EFORMAT,
         ONE "malformed extra fields"},
        {"end64 offset", end64_mark, 0, 48, 8, UINT64_MAX - 4, 0, SUMI_EFORMAT,
         WHOLE "its directory does not end where the end record begins"},
        {"end64 size", end64_mark, 0, 40, 8, UINT64_MAX, 0, SUMI_EFORMAT,
         WHOLE "its directory does not end where the end record begins"},
        {"end64 sizes that wrap", end64_mark, 0, 40, 8, UINT64_MAX - 255, 0, SUMI_EFORMAT,
         WHOLE "its directory does not end where the end record begins"},
        {"locator gone", locator_mark, 0, 0, 1, 'Q', 0, SUMI_EFORMAT,
         WHOLE "its ZIP64 end record is missing"},
        {"local size", local_mark, 0, 39, 8, 6, 0, SUMI_EFORMAT,
         ONE "its header and the directory disagree"},
    };
    blob good = own_archive(*state, 0);
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++)
        run_edit(&good, &edits[i]);
    blob_free(&good);
}

/* PyTorch leaves CRC and sizes out of local headers and puts them behind the data. */
static void test_edits_of_torch(void **state)
{
    (void)state;
#define PICKLE "f: entry \"views/data.pkl\": "
    static const edit edits[] = {
        {"descriptor mark", descriptor_mark, 0, 0, 1, 'Q', 0, SUMI_EFORMAT,
         PICKLE "its descriptor and the directory disagree"},
        {"descriptor CRC", descriptor_mark, 0, 4, 4, 1, 0, SUMI_EFORMAT,
         PICKLE "its descriptor and the directory disagree"},
        {"descriptor size", descriptor_mark, 0, 8, 4, 1, 0, SUMI_EFORMAT,
         PICKLE "its descriptor and the directory disagree"},
        {"local CRC", local_mark, 0, 14, 4, 1, 0, SUMI_EFORMAT,
         PICKLE "its header and the directory disagree"},
        {"local size", local_mark, 0, 18, 4, 1, 0, SUMI_EFORMAT,
         PICKLE "its header and the directory disagree"},
    };
    blob good = fixture("views.pth");
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++)
        run_edit(&good, &edits[i]);
    /* The same descriptor with 64-bit sizes, as ZIP64 entries have it, fits as well. */
    sumi_zip zip;
    uint8_t wide[16];
    size_t at = blob_find(&good, descriptor_mark, 4, 0);
    assert_int_equal(sumi_zip_parse("f", good.data, good.size, &zip, NULL), SUMI_OK);
    sumi_zip_free(&zip);
    sumi_put(wide, sumi_get32(good.data + at + 8), 8);
    sumi_put(wide + 8, sumi_get32(good.data + at + 8), 8);
    blob_splice(&good, at + 8, 8, wide, 16);
    size_t end64 = blob_find(&good, end64_mark, 4, 0), end = good.size - 22;
    sumi_put(good.data + end64 + 48, sumi_get64(good.data + end64 + 48) + 8, 8);
    sumi_put(good.data + end + 16, sumi_get32(good.data + end + 16) + 8, 4);
    sumi_put(good.data + end - 12, end64, 8);
    size_t count = (size_t)sumi_get64(good.data + end64 + 24);
    for (size_t i = 1; i < count; i++) {
        uint8_t *offset = good.data + blob_find(&good, directory_mark, 4, (int)i) + 42;
        sumi_put(offset, sumi_get32(offset) + 8, 4);
    }
    sumi_error err = {""};
    expect_error("wide", sumi_zip_parse("f", good.data, good.size, &zip, &err), &err, SUMI_OK, "");
    sumi_zip_free(&zip);
    blob_free(&good);
}

static void test_names_and_overlaps(void **state)
{
    sumi_zip zip;
    sumi_error err = {""};
    blob b = own_archive(*state, SUMI_ZIP_CLASSIC_MAX);
    /* Both copies of the second name become the first's. */
    memcpy(b.data + blob_find(&b, "a/two", 5, 0), "a/one", 5);
    memcpy(b.data + blob_find(&b, "a/two", 5, 0), "a/one", 5);
    expect_error("twice", sumi_zip_parse("f", b.data, b.size, &zip, &err), &err, SUMI_EFORMAT,
                 "f: two entries have the name \"a/one\"");
    blob_free(&b);
    b = own_archive(*state, SUMI_ZIP_CLASSIC_MAX);
    /* Two records for one entry. */
    size_t first = blob_find(&b, directory_mark, 4, 0),
           second = blob_find(&b, directory_mark, 4, 1);
    memcpy(b.data + second, b.data + first, 51);
    expect_error("overlap", sumi_zip_parse("f", b.data, b.size, &zip, &err), &err, SUMI_EFORMAT,
                 "f: entry \"a/one\": it overlaps another entry");
    blob_free(&b);
    b = own_archive(*state, SUMI_ZIP_CLASSIC_MAX);
    size_t end64 = blob_find(&b, end64_mark, 4, 0), end = b.size - 22;
    sumi_put(b.data + end64 + 24, 2, 8);
    sumi_put(b.data + end64 + 32, 2, 8);
    sumi_put(b.data + end + 8, 0x00020002, 4);
    expect_error("fewer", sumi_zip_parse("f", b.data, b.size, &zip, &err), &err, SUMI_EFORMAT,
                 WHOLE "its directory has more entries than it says");
    sumi_put(b.data + end64 + 24, 1000, 8);
    sumi_put(b.data + end64 + 32, 1000, 8);
    sumi_put(b.data + end + 8, 0x03E803E8, 4);
    expect_error("more", sumi_zip_parse("f", b.data, b.size, &zip, &err), &err, SUMI_EFORMAT,
                 "f: 1000 entries in a directory of 151 bytes");
    blob_free(&b);
}

static void test_every_truncation_is_refused(void **state)
{
    blob whole = own_archive(*state, 0);
    sumi_zip zip;
    for (size_t size = 0; size < whole.size; size++) {
        blob cut = blob_copy(whole.data, size);
        assert_int_equal(sumi_zip_parse("f", cut.data, cut.size, &zip, NULL), SUMI_EFORMAT);
        blob_free(&cut);
    }
    blob_free(&whole);
}

/* Whatever bit flips, what is accepted holds the bytes that were written. */
static void test_every_bit(void **state)
{
    static const uint64_t limits[] = {SUMI_ZIP_CLASSIC_MAX, 0};
    for (int k = 0; k < 2; k++) {
        blob b = own_archive(*state, limits[k]);
        size_t accepted = 0;
        for (size_t bit = 0; bit < b.size * 8; bit++) {
            sumi_zip zip;
            b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            if (sumi_zip_parse("f", b.data, b.size, &zip, NULL) == SUMI_OK) {
                sumi_zip_free(&zip);
                expect_own(&b);
                accepted++;
            }
            b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        /* Padding, dates, versions and attributes mean nothing. */
        assert_true(accepted < b.size * 8 / 2);
        blob_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_size_at_the_limit, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_name_limit, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_edits_of_own, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_edits_of_zip64, temp_setup, temp_teardown),
        cmocka_unit_test(test_edits_of_torch),
        cmocka_unit_test_setup_teardown(test_names_and_overlaps, temp_setup, temp_teardown),
        cmocka_unit_test_setup_teardown(test_every_truncation_is_refused, temp_setup,
                                        temp_teardown),
        cmocka_unit_test_setup_teardown(test_every_bit, temp_setup, temp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
