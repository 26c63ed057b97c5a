/*
 * What the tests of this layer share: a device, and skipping where there is none.
 */
#ifndef SUMI_OPENCL_TEST_H
#define SUMI_OPENCL_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "models/models.h"
#include "opencl/opencl.h"

/* What ctest takes for "not run here": see SKIP_RETURN_CODE. */
enum { SKIPPED = 77 };

/* True where there is a device that can be used; else says why not, and what to install. */
static inline bool test_has_device(void)
{
    sumi_device_facts facts[8];
    sumi_error err = {""};
    int count = sumi_opencl_backend()->list(facts, 8, &err);
    for (int i = 0; i < count && i < 8; i++)
        if (facts[i].usable)
            return true;
    printf("skipped: %s; ./dev setup installs PoCL, which runs OpenCL on a CPU\n",
           count > 0 ? "no device of OpenCL can be used" : err.text);
    return false;
}

/* A runtime on the first device, or the CPU's. */
static inline sumi_runtime test_runtime(bool on_device)
{
    sumi_runtime runtime;
    sumi_error err = {""};
    const sumi_device_config config = {.threads = 2};
    const sumi_backend *backend = on_device ? sumi_opencl_backend() : sumi_backend_at(0);
    if (sumi_runtime_init_device(&runtime, backend, &config, &err) != SUMI_OK)
        fail_msg("%s", err.text);
    return runtime;
}

static inline void test_ok(sumi_status status, const sumi_error *err)
{
    if (status != SUMI_OK)
        fail_msg("%s: %s", sumi_status_name(status), err->text);
}

#endif
