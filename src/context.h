/* What the opaque handles of sumi.h hold that need a context to answer. */
#ifndef SUMI_CONTEXT_H
#define SUMI_CONTEXT_H

#include "models/models.h"

struct sumi_context {
    sumi_runtime runtime;
    sumi_error error;
};

#endif
