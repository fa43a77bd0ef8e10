// What there is of the C library: memory, and giving up. There are no files, no processes, no environment.
#pragma once

#include <stddef.h>

// From the call's own memory, zeroed. Nothing is given back before the call ends, and then all of it is.
void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *block, size_t size);
void free(void *block);

// Ends the call.
_Noreturn void abort(void);
