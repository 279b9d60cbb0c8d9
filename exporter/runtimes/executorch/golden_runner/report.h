// What the golden runner says: one JSON object on stdout, and how it ends. Only the C library, as in all of its files.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace gemcut {

// The error code where it isn't ExecuTorch that refused (executorch/runtime/core/error.h has its own).
constexpr int kNoCode = 0;

// Prints {"error": ..., "code": ...} and ends the process with 1, the unfinished result removed. The text ends with
// what ExecuTorch's log said last; operators that it named as missing come first.
[[noreturn]] __attribute__((format(printf, 2, 3))) void fail(int code, const char *format, ...);

// Removes this file where the runner fails.
void remove_on_failure(const char *path);

// A string as JSON has it, quotes included. Bytes that aren't printable ASCII are escaped one by one.
void print_json(const char *text);

// The features of the CPU that runs this, as Linux names them in /proc/cpuinfo: "a", "b". On arm64 from the auxiliary
// vector, which qemu fills in by its -cpu, while /proc/cpuinfo is the host's there.
void print_features();

// Bytes of memory that the process held at most, or -1 (VmHWM in proc(5)).
int64_t peak_memory();

// Seconds since some moment.
double now();

// malloc that fails with a message, aligned for every vector instruction. Zeroed.
void *allocate(size_t bytes);

}  // namespace gemcut
