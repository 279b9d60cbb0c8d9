// A bundle's program in ExecuTorch's runtime, fed as ExecuTorch's LLM runners feed it.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace gemcut {

struct Logits {
  const float *values;  // the program's own memory, until its next call
  size_t count;
};

// Maps the program and loads its method forward(tokens int64 [1, n], position int64 [1]); one for each process.
// threads: of the runtime's pool. Returns whether it could be set: a library may hide its pool, or have none.
bool load(const char *path, int threads);

// Feeds ids from that position on; returns the logits of the last.
Logits forward(const int32_t *ids, size_t count, int64_t position);

// Keeps a copy of the memory that the program's caches and tensors lie in, so that another continuation can start from
// here: restore() then makes forward() give exactly the numbers that it would have given now. The copy isn't part of
// the process's own memory, so that the peak stays what it is without one. Returns false if that memory is too large,
// or the system has no room for it.
bool save();
void restore();

// Prints what the runtime has registered: "a", "b".
void print_kernels();
void print_backends();

}  // namespace gemcut
