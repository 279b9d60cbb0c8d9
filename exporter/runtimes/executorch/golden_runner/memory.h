// This process's memory, in bytes, as Linux tells it in proc(5). exporter/util/process_memory.py does the same in Python.
// Uses only the C library, as all files of the golden runner.
#pragma once

#include <stdint.h>

namespace gemcut {

// What a program adds to the process's memory from mark_memory() on.
struct MemoryUse {
  int64_t before;  // resident at that moment
  int64_t peak;    // the most that was resident since, less what was before; -1 if it can't be read
  int64_t own;     // the most that no file backed when it was looked at, less what was before; -1 likewise
  int64_t mapped;  // the most that was mapped of files without code when it was looked at, less what was before; likewise
};

// Begins: what is resident now is what was before. The kernel's mark of the peak is put back, where that is allowed.
void mark_memory();

// Looks at own and mapped memory, of which the kernel keeps no mark. Takes milliseconds.
void look_at_memory();

// What was added so far, with a last look.
MemoryUse memory_use();

// Prints "memory_before": ..., and so on, for an object; null for what can't be read.
void print_memory(const MemoryUse &use);

}  // namespace gemcut
