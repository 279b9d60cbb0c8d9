// The golden runner: runs a bundle's goldens on the machine that it is on.
//
//   facts                              prints what the runtime and the CPU have
//   run PROGRAM ORDER RESULT THREADS   as exporter/prove/wire.py describes it
//   bench PROGRAM THREADS CHUNK DEPTH PROMPTS GENERATIONS   likewise
//
// It uses only ExecuTorch's STL-free core and the C library, so that one source links with the libraries of PyPI's
// wheel and, through shims for bionic's C library (compile with GEMCUT_BIONIC), with an app's own libexecutorch.so.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "memory.h"
#include "program.h"
#include "report.h"

#ifndef GEMCUT_RUNTIME_VERSION
#define GEMCUT_RUNTIME_VERSION ""
#endif

#ifdef GEMCUT_BIONIC
// On aarch64 bionic keeps the stack guard at tpidr_el0 + 0x28. glibc puts the executable's thread-local block at
// tpidr_el0 + 16, so that a padded variable there reserves the slot.
extern "C" {
__attribute__((used, aligned(16))) __thread char gemcut_guard_slot[256] = {0};
}
#endif

namespace gemcut {
namespace {

struct Order {
  int32_t goldens, chunk, context, stop_count;
  const int32_t *stops;
};

struct Golden {
  int32_t prompt, count, first, rows, width, most;
  const int32_t *ids, *top;
};

// The order's integers, read from front to back.
struct Reader {
  const int32_t *at, *end;

  const int32_t *take(int64_t count) {
    if (count < 0 || count > end - at) fail(kNoCode, "the order is truncated");
    const int32_t *found = at;
    at += count;
    return found;
  }
  int32_t integer() { return *take(1); }
};

struct Spent {
  double load, prefill, decode;
  int64_t tokens, steps;
  double *each;  // seconds of each step
  size_t room;
} spent;

FILE *result;
Order order;

void put(const void *values, size_t count) {
  if (fwrite(values, 4, count, result) != count) fail(kNoCode, "the result can't be written: the disk is full");
}

Reader read_order(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) fail(kNoCode, "the order %s can't be opened", path);
  fseek(file, 0, SEEK_END);
  const long size = ftell(file);
  rewind(file);
  if (size < 8 || size % 4) fail(kNoCode, "the order is truncated");
  char *data = static_cast<char *>(allocate(size));
  if (fread(data, 1, size, file) != static_cast<size_t>(size)) fail(kNoCode, "the order can't be read");
  fclose(file);
  if (memcmp(data, "GCORDER1", 8)) fail(kNoCode, "%s is not an order", path);
  return {reinterpret_cast<const int32_t *>(data + 8), reinterpret_cast<const int32_t *>(data + size)};
}

Golden read_golden(Reader &reader) {
  Golden golden;
  golden.prompt = reader.integer();
  golden.count = reader.integer();
  golden.first = reader.integer();
  golden.rows = reader.integer();
  golden.width = reader.integer();
  golden.most = reader.integer();
  golden.ids = reader.take(golden.count);
  if (golden.rows < 1 || golden.width < 1 || golden.first < 0 || golden.prompt < 1 || golden.prompt > golden.count ||
      int64_t{golden.first} + golden.rows >= golden.count || golden.most < 0) {
    fail(kNoCode, "the order holds a golden of %d ids with rows %d to %lld", golden.count, golden.first,
         static_cast<long long>(golden.first) + golden.rows);
  }
  golden.top = reader.take(int64_t{golden.rows} * golden.width);
  if (golden.count - 1 > order.context || int64_t{golden.prompt} + golden.most > order.context) {
    fail(kNoCode, "a golden needs more than the %d positions of the program's cache", order.context);
  }
  return golden;
}

// Feeds the ids from one position up to a later one.
Logits prefill(const int32_t *ids, int32_t from, int32_t to) {
  const double before = now();
  Logits logits = {nullptr, 0};
  for (int32_t at = from; at < to; at += order.chunk) {
    logits = forward(ids + at, to - at < order.chunk ? to - at : order.chunk, at);
  }
  spent.prefill += now() - before;
  spent.tokens += to - from;
  return logits;
}

Logits step(int32_t token, int32_t position) {
  const double before = now();
  const Logits logits = forward(&token, 1, position);
  const double seconds = now() - before;
  spent.decode += seconds;
  if (static_cast<size_t>(spent.steps) == spent.room) {
    spent.room = spent.room ? 2 * spent.room : 1024;
    spent.each = static_cast<double *>(realloc(spent.each, spent.room * sizeof(double)));
    if (!spent.each) fail(kNoCode, "no memory for the times");
  }
  spent.each[spent.steps++] = seconds;
  return logits;
}

// The first of the largest; a not-a-number counts as the largest, as in numpy.argmax.
int32_t likeliest(const Logits &logits) {
  size_t best = 0;
  for (size_t i = 0; i < logits.count; i++) {
    if (isnan(logits.values[i])) return static_cast<int32_t>(i);
    if (logits.values[i] > logits.values[best]) best = i;
  }
  return static_cast<int32_t>(best);
}

// log(sum(exp(logits))) in float64; not-a-number if any logit is.
double log_partition(const Logits &logits) {
  const double highest = logits.values[likeliest(logits)];
  double sum = 0;
  for (size_t i = 0; i < logits.count; i++) sum += exp(logits.values[i] - highest);
  return highest + log(sum);
}

bool is_stop(int32_t token) {
  for (int32_t i = 0; i < order.stop_count; i++) {
    if (order.stops[i] == token) return true;
  }
  return false;
}

// A greedy reply that is being made.
struct Reply {
  int32_t *ids;
  int32_t count, most;

  bool ended() const { return count >= most || (count > 0 && is_stop(ids[count - 1])); }
};

float logprob(const Logits &logits, int32_t id, double total) {
  if (id < 0 || static_cast<size_t>(id) >= logits.count) {
    fail(kNoCode, "the program gives %zu logits; the goldens name token %d", logits.count, id);
  }
  return static_cast<float>(logits.values[id] - total);
}

constexpr int32_t kHere = -1;

// Feeds the scored sequence and writes its rows.
//
// The reply starts with the whole prompt in chunks, as a user's would; the scored sequence with as much of it as comes
// before its first row. What both have in common is computed once, and the program's memory saved there. If they have
// all of the prompt in common, this is the greedy reply too, step for step, for as long as the likeliest token is the
// one that is fed next; ``reply`` grows with it, and the memory is saved where they part.
//
// Returns how many positions the saved memory holds, 0 for none, or kHere if the reply continues from here.
int32_t forced(const Golden &golden, Reply &reply) {
  float *logprobs = static_cast<float *>(allocate(sizeof(float) * golden.rows * golden.width));
  float *targets = static_cast<float *>(allocate(sizeof(float) * golden.rows));
  int32_t *top1 = static_cast<int32_t *>(allocate(sizeof(int32_t) * golden.rows));
  bool same = golden.first + 1 == golden.prompt;
  const int32_t both = golden.first + 1 < golden.prompt ? golden.first + 1 : golden.prompt - 1;
  const int32_t common = same ? 0 : both / order.chunk * order.chunk;
  int32_t kept = 0;
  Logits logits = {nullptr, 0};
  if (common) {
    logits = prefill(golden.ids, 0, common);
    kept = save() ? common : 0;
  }
  if (common <= golden.first) logits = prefill(golden.ids, common, golden.first + 1);
  for (int32_t row = 0; row < golden.rows; row++) {
    const int32_t at = golden.first + row;
    if (row) logits = step(golden.ids[at], at);
    const double total = log_partition(logits);
    const int32_t *top = golden.top + static_cast<size_t>(row) * golden.width;
    float *to = logprobs + static_cast<size_t>(row) * golden.width;
    for (int32_t i = 0; i < golden.width; i++) to[i] = logprob(logits, top[i], total);
    targets[row] = logprob(logits, golden.ids[at + 1], total);
    top1[row] = likeliest(logits);
    if (!same || reply.ended()) continue;
    reply.ids[reply.count++] = top1[row];
    same = reply.ended() || top1[row] == golden.ids[at + 1];
    if (!same && save()) kept = at + 1;
  }
  put(logprobs, static_cast<size_t>(golden.rows) * golden.width);
  put(targets, golden.rows);
  put(top1, golden.rows);
  free(logprobs);
  free(targets);
  free(top1);
  return same ? kHere : kept;
}

// Completes a reply whose last token has not been fed yet.
void complete(const Golden &golden, Reply &reply) {
  while (!reply.ended()) {
    const int32_t at = golden.prompt + reply.count - 1;
    reply.ids[reply.count] = likeliest(step(reply.ids[reply.count - 1], at));
    reply.count++;
  }
}

void run_golden(const Golden &golden) {
  Reply reply = {static_cast<int32_t *>(allocate(sizeof(int32_t) * (golden.most + 1))), 0, golden.most};
  const int32_t kept = forced(golden, reply);
  if (kept > 0) restore();
  if (kept >= 0 && kept < golden.prompt) {
    reply.count = 0;
    if (!reply.ended()) reply.ids[reply.count++] = likeliest(prefill(golden.ids, kept, golden.prompt));
  }
  complete(golden, reply);
  put(&reply.count, 1);
  put(reply.ids, reply.count);
  free(reply.ids);
}

void print_times() {
  printf("{\"load\": %.6f, \"prefill\": %.6f, \"decode\": %.6f, \"tokens\": %lld, \"steps\": %lld, ", spent.load,
         spent.prefill, spent.decode, static_cast<long long>(spent.tokens), static_cast<long long>(spent.steps));
  print_memory(memory_use());
  printf(", \"step_seconds\": [");
  for (int64_t i = 0; i < spent.steps; i++) printf("%s%.6f", i ? ", " : "", spent.each[i]);
  printf("]}\n");
}

void run(const char *program, const char *order_path, const char *result_path, int threads) {
  Reader reader = read_order(order_path);
  order.goldens = reader.integer();
  order.chunk = reader.integer();
  order.context = reader.integer();
  order.stop_count = reader.integer();
  order.stops = reader.take(order.stop_count);
  if (order.goldens < 1 || order.chunk < 1 || order.context < 1) fail(kNoCode, "the order has nothing to run");
  if (order.chunk > order.context) order.chunk = order.context;

  mark_memory();
  const double before = now();
  load(program, threads);
  look_at_memory();
  spent.load = now() - before;

  result = fopen(result_path, "wb");
  if (!result) fail(kNoCode, "the result %s can't be written", result_path);
  remove_on_failure(result_path);
  put("GCRESULT", 2);
  put(&order.goldens, 1);
  for (int32_t i = 0; i < order.goldens; i++) run_golden(read_golden(reader));
  if (reader.at != reader.end) fail(kNoCode, "the order is longer than its goldens");
  if (fclose(result)) fail(kNoCode, "the result can't be written: the disk is full");
  print_times();
}

void print_facts() {
  printf("{\"version\": ");
  print_json(GEMCUT_RUNTIME_VERSION);
  printf(", \"kernels\": [");
  print_kernels();
  printf("], \"backends\": [");
  print_backends();
  printf("], \"features\": [");
  print_features();
  printf("]}\n");
}

}  // namespace
}  // namespace gemcut

int main(int argc, char **argv) {
#ifdef GEMCUT_BIONIC
  gemcut_guard_slot[255] = 0;
#endif
  if (argc == 2 && !strcmp(argv[1], "facts")) {
    gemcut::print_facts();
  } else if (argc == 6 && !strcmp(argv[1], "run")) {
    gemcut::run(argv[2], argv[3], argv[4], atoi(argv[5]));
  } else if (argc == 8 && !strcmp(argv[1], "bench")) {
    gemcut::bench(argv[2], atoi(argv[3]), atoi(argv[4]), atoi(argv[5]), argv[6], argv[7]);
  } else {
    fprintf(stderr, "usage: %s facts | run PROGRAM ORDER RESULT THREADS | bench PROGRAM THREADS CHUNK DEPTH PROMPTS "
            "GENERATIONS\n", argv[0]);
    return 2;
  }
  // Not by return: what a library destroys at the end isn't part of the proof.
  fflush(stdout);
  _exit(0);
}
