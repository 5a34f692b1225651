/*
 * Minimal Darwin <mach-o/loader.h> for tests: only what sample programs and unexec/runtime use. Names, values and
 * layouts are those of the macOS 11 SDK (xnu EXTERNAL_HEADERS/mach-o/loader.h).
 */
#pragma once
#include <stdint.h>

struct mach_header_64 {
    uint32_t magic, cputype, cpusubtype, filetype, ncmds, sizeofcmds, flags, reserved;
};
struct load_command {
    uint32_t cmd, cmdsize;
};
