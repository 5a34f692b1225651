/* The states of a thread in an LC_THREAD. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_THREAD_COMMAND 2048

/* Writes {flavor, count, state}... of a ucontext_t; returns bytes. Wrapped is x86_64 only: x86_THREAD_STATE. */
size_t write_thread_states(uint8_t *to, const void *ucontext, bool wrapped);
