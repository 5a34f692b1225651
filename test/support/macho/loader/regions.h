/* Memory of this process that a core is to hold. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct region { uint64_t start, end; int protection; uint64_t fileoff; };

struct regions { struct region *list; size_t count; };

/* All readable regions of /proc/self/maps, in order of their addresses. */
struct regions all_regions(void);
/* What of them differs from the program's file and from zeros: the pages that were written to. */
struct regions modified_regions(struct regions);
