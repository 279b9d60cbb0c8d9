#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "program.h"
#include "report.h"

namespace gemcut {
namespace {

constexpr size_t kMost = 32;  // lengths of one kind
constexpr int32_t kWarmSteps = 4, kLongest = 1 << 20;

struct Lengths {
  int32_t all[kMost];
  double seconds[kMost];
  size_t count;
};

Lengths read_lengths(const char *text, const char *what) {
  Lengths found = {};
  if (!strcmp(text, "-")) return found;
  for (const char *at = text;; at++) {
    char *end = nullptr;
    const long length = strtol(at, &end, 10);
    if (end == at || length < 1 || length > kLongest || found.count == kMost || (*end && *end != ',')) {
      fail(kNoCode, "%s are not up to %zu lengths: %s", what, kMost, text);
    }
    found.all[found.count++] = static_cast<int32_t>(length);
    at = end;
    if (!*at) return found;
  }
}

// Token ids spread over the vocabulary, the same each time: which ids they are doesn't affect the speed.
int32_t *ids_of(int32_t count, size_t vocabulary) {
  auto *ids = static_cast<int32_t *>(allocate(sizeof(int32_t) * (count + 1)));
  for (int32_t i = 0; i < count; i++) ids[i] = static_cast<int32_t>((int64_t{7919} * (i + 1) + 3) % vocabulary);
  return ids;
}

double prefill(const int32_t *ids, int32_t count, int32_t chunk) {
  const double before = now();
  for (int32_t at = 0; at < count; at += chunk) forward(ids + at, count - at < chunk ? count - at : chunk, at);
  return now() - before;
}

double decode(const int32_t *ids, int32_t steps, int32_t position) {
  const double before = now();
  for (int32_t i = 0; i < steps; i++) forward(ids + i, 1, position + i);
  return now() - before;
}

void print_seconds(const char *name, const Lengths &lengths) {
  printf("\"%s\": [", name);
  for (size_t i = 0; i < lengths.count; i++) printf("%s%.6f", i ? ", " : "", lengths.seconds[i]);
  printf("], ");
}

int32_t longest_of(const Lengths &lengths, int32_t least) {
  for (size_t i = 0; i < lengths.count; i++) least = lengths.all[i] > least ? lengths.all[i] : least;
  return least;
}

}  // namespace

void bench(const char *program, int threads, int32_t chunk, int32_t depth, const char *prompts,
           const char *generations) {
  Lengths before = read_lengths(prompts, "the prompts"), after = read_lengths(generations, "the generations");
  if (chunk < 1 || depth < 0 || !(before.count + after.count)) fail(kNoCode, "there is nothing to measure");
  mark_memory();
  const double began = now();
  const bool set = load(program, threads);
  const double loaded = now() - began;
  look_at_memory();

  const int32_t first = 0;
  const size_t vocabulary = forward(&first, 1, 0).count;
  const int32_t *ids = ids_of(longest_of(before, longest_of(after, depth)), vocabulary);
  // A run that isn't counted comes first, to warm up; it also fills the cache up to the depth.
  const int32_t warm = before.count && before.all[0] > depth ? before.all[0] : depth;
  prefill(ids, warm, chunk);
  int32_t steps = kWarmSteps;
  for (size_t i = 0; i < after.count; i++) steps = after.all[i] < steps ? after.all[i] : steps;
  if (after.count) decode(ids, steps, depth);

  for (size_t i = 0; i < before.count; i++) before.seconds[i] = prefill(ids, before.all[i], chunk);
  for (size_t i = 0; i < after.count; i++) after.seconds[i] = decode(ids, after.all[i], depth);
  const MemoryUse use = memory_use();

  printf("{\"load\": %.6f, ", loaded);
  print_seconds("prefill", before);
  print_seconds("decode", after);
  print_memory(use);
  printf(", \"threads\": %d}\n", set ? threads : 0);
}

}  // namespace gemcut
