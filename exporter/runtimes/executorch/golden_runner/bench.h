// Measures speed and memory of a program: what exporter/bench/one_run.py does on the exporting machine.
#pragma once

#include <stdint.h>

namespace gemcut {

// chunk: tokens of one call at most. depth: tokens in the cache before a generation. prompts, generations: lengths, as
// "128,512", or "-" for none. Prints one object as exporter/prove/wire.py has it. The process must have loaded no program
// before.
void bench(const char *program, int threads, int32_t chunk, int32_t depth, const char *prompts,
           const char *generations);

}  // namespace gemcut
