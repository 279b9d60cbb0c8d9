// What the golden runner prints: one JSON object on stdout; and how it ends. Uses only the C library, as all its files.
#pragma once

#include <stddef.h>

namespace gemcut {

// The error code if it isn't ExecuTorch that refused (executorch/runtime/core/error.h has ExecuTorch's codes).
constexpr int kNoCode = 0;

// Removes the unfinished result, prints {"error": ..., "code": ...} and ends the process with 1. The text ends with
// what ExecuTorch's log said last; operators that it named as missing come first.
[[noreturn]] __attribute__((format(printf, 2, 3))) void fail(int code, const char *format, ...);

// Removes this file if the runner fails.
void remove_on_failure(const char *path);

// Prints a JSON string, quotes included. Bytes that aren't printable ASCII are escaped one by one.
void print_json(const char *text);

// Prints the features of the CPU that runs this, as Linux names them in /proc/cpuinfo: "a", "b". On arm64 they come
// from the auxiliary vector, which qemu fills in by its -cpu, while /proc/cpuinfo is the host's there.
void print_features();

// Seconds since some moment.
double now();

// malloc that fails with a message, aligned for every vector instruction. Zeroed.
void *allocate(size_t bytes);

}  // namespace gemcut
