/* What third-party programs (--foreign) need besides, where Darwin and Linux differ in layouts or names. */
#include "shims.h"

const struct shim foreign_shims[] = {{0, 0}};
