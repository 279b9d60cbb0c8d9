#include "program.h"

#include <executorch/extension/data_loader/mmap_data_loader.h>
#include <executorch/runtime/backend/interface.h>
#include <executorch/runtime/executor/method.h>
#include <executorch/runtime/executor/program.h>
#include <executorch/runtime/kernel/operator_registry.h>
#include <executorch/runtime/platform/runtime.h>

#include <new>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "report.h"

using executorch::aten::ScalarType;
using executorch::aten::Tensor;
using executorch::aten::TensorImpl;
using executorch::extension::MmapDataLoader;
using namespace executorch::runtime;

#ifdef GEMCUT_BIONIC
// libstdc++'s std::optional mangles unlike libc++'s. EValue's inline code names this one; nothing here calls it.
namespace executorch {
namespace runtime {
template <>
executorch::aten::ArrayRef<std::optional<executorch::aten::Tensor>>
BoxedEvalueList<std::optional<executorch::aten::Tensor>>::get() const {
  abort();
}
}  // namespace runtime
}  // namespace executorch
#endif

// executorch::extension::threadpool, by its symbols: the headers need the STL, and a library may have no pool.
extern "C" {
void *et_get_threadpool(void) __asm__("_ZN10executorch9extension10threadpool14get_threadpoolEv") __attribute__((weak));
bool et_reset_threadpool(void *, unsigned) __asm__(
    "_ZN10executorch9extension10threadpool10ThreadPool24_unsafe_reset_threadpoolEj") __attribute__((weak));
}

namespace gemcut {
namespace {

// Memory for as long as the process runs.
class Lasting final : public MemoryAllocator {
 public:
  Lasting() : MemoryAllocator(0, nullptr) {}
  void *allocate(size_t bytes, size_t alignment) override {
    void *found = nullptr;
    return posix_memalign(&found, alignment < 64 ? 64 : alignment, bytes ? bytes : 1) ? nullptr : found;
  }
  void reset() override {}
};

// Memory until the runtime resets it, which it does after each kernel.
class Passing final : public MemoryAllocator {
 public:
  Passing() : MemoryAllocator(0, nullptr) {}
  void *allocate(size_t bytes, size_t alignment) override {
    // The link to the block before it lies ahead of each block, in one alignment's room.
    const size_t room = alignment < 64 ? 64 : alignment;
    void *block = nullptr;
    if (bytes > SIZE_MAX - room || posix_memalign(&block, room, room + bytes)) return nullptr;
    *static_cast<void **>(block) = last_;
    last_ = block;
    return static_cast<char *>(block) + room;
  }
  void reset() override {
    while (last_) {
      void *before = *static_cast<void **>(last_);
      free(last_);
      last_ = before;
    }
  }

 private:
  void *last_ = nullptr;
};

// What is made once lies here and is never destroyed: the process ends with _exit.
template <class T>
T *keep(T &&value) {
  alignas(T) static char room[sizeof(T)];
  return new (room) T(static_cast<T &&>(value));
}

constexpr size_t kMostSaved = size_t{256} << 20;  // bytes: more is a burden for a small machine's memory

Method *method;
size_t vocabulary;
Span<uint8_t> *planned_spans;  // where the memory plan of the method lies, its mutable buffers included
size_t planned_count;
int saved = -1;  // the file descriptor of the copy

void check(Error error, const char *what) {
  if (error != Error::Ok) fail(static_cast<int>(error), "%s: error 0x%x", what, static_cast<int>(error));
}

bool set_threads(int threads) {
  void *pool = et_get_threadpool ? et_get_threadpool() : nullptr;
  if (!pool || !et_reset_threadpool || threads < 1) return false;
  if (!et_reset_threadpool(pool, threads)) fail(kNoCode, "the runtime can't use %d threads", threads);
  return true;
}

MemoryManager *memory_for(const MethodMeta &meta) {
  const size_t count = meta.num_memory_planned_buffers();
  auto *spans = static_cast<Span<uint8_t> *>(allocate((count + 1) * sizeof(Span<uint8_t>)));
  for (size_t i = 0; i < count; i++) {
    const auto size = meta.memory_planned_buffer_size(i);
    check(size.error(), "memory_planned_buffer_size");
    if (*size < 0) fail(static_cast<int>(Error::InvalidProgram), "the program plans %lld bytes", (long long)*size);
    new (&spans[i]) Span<uint8_t>(static_cast<uint8_t *>(allocate(*size)), *size);
  }
  planned_spans = spans;
  planned_count = count;
  static Lasting lasting;
  static Passing passing;
  static HierarchicalAllocator planned({spans, count});
  static MemoryManager manager(&lasting, &planned, &passing);
  return &manager;
}

void set_input(size_t index, int64_t *values, int32_t count, int dimensions) {
  // Made again for each call, because the runtime changes its sizes; it copies nothing else.
  static int32_t sizes[2][2], strides[2][2];
  static uint8_t order[2] = {0, 1};
  alignas(TensorImpl) static char room[2][sizeof(TensorImpl)];
  int32_t *size = sizes[index], *stride = strides[index];
  size[0] = dimensions == 2 ? 1 : count;
  size[1] = count;
  stride[0] = dimensions == 2 ? count : 1;
  stride[1] = 1;
  auto *tensor = new (room[index]) TensorImpl(ScalarType::Long, dimensions, size, values, order, stride);
  check(method->set_input(EValue(Tensor(tensor)), index), index ? "set_input(position)" : "set_input(tokens)");
}

}  // namespace

bool load(const char *path, int threads) {
  runtime_init();
  const bool set = set_threads(threads);
  auto loader = MmapDataLoader::from(path, MmapDataLoader::MlockConfig::NoMlock);
  check(loader.error(), "the program can't be read");
  auto program =
      Program::load(keep(static_cast<MmapDataLoader &&>(*loader)), Program::Verification::InternalConsistency);
  check(program.error(), "the runtime refuses the program");
  const Program *kept = keep(static_cast<Program &&>(*program));
  const auto meta = kept->method_meta("forward");
  check(meta.error(), "the program has no method 'forward'");
  auto loaded = kept->load_method("forward", memory_for(*meta));
  check(loaded.error(), "the runtime refuses the method 'forward'");
  method = keep(static_cast<Method &&>(*loaded));
  if (method->inputs_size() != 2 || method->outputs_size() < 1) {
    fail(kNoCode, "the method has %zu inputs and %zu outputs, not tokens and position in, logits out",
         method->inputs_size(), method->outputs_size());
  }
  return set;
}

Logits forward(const int32_t *ids, size_t count, int64_t position) {
  static int64_t *tokens;
  static size_t room;
  static int64_t start;
  if (count > room) {
    free(tokens);
    tokens = static_cast<int64_t *>(allocate(count * sizeof *tokens));
    room = count;
  }
  for (size_t i = 0; i < count; i++) tokens[i] = ids[i];
  start = position;
  set_input(0, tokens, static_cast<int32_t>(count), 2);
  set_input(1, &start, 1, 1);
  const Error error = method->execute();
  if (error != Error::Ok) {
    fail(static_cast<int>(error), "the program failed at position %lld with %zu tokens: error 0x%x",
         (long long)position, count, static_cast<int>(error));
  }
  const EValue &output = method->get_output(0);
  if (!output.isTensor() || output.toTensor().scalar_type() != ScalarType::Float) {
    fail(kNoCode, "the program's output is not a float32 tensor");
  }
  const Tensor logits = output.toTensor();
  const size_t found = logits.numel();
  if (vocabulary == 0) vocabulary = found;
  if (found == 0 || found != vocabulary) fail(kNoCode, "the program gave %zu logits, then %zu", vocabulary, found);
  return {logits.const_data_ptr<float>(), found};
}

bool save() {
  size_t total = 0;
  for (size_t i = 0; i < planned_count; i++) total += planned_spans[i].size();
  if (total > kMostSaved) return false;
  if (saved < 0) saved = memfd_create("gemcut-state", MFD_CLOEXEC);
  if (saved < 0 || lseek(saved, 0, SEEK_SET)) return false;
  for (size_t i = 0; i < planned_count; i++) {
    const char *from = reinterpret_cast<const char *>(planned_spans[i].data());
    for (size_t at = 0; at < planned_spans[i].size();) {
      const ssize_t done = write(saved, from + at, planned_spans[i].size() - at);
      if (done <= 0) return false;
      at += done;
    }
  }
  return true;
}

void restore() {
  if (lseek(saved, 0, SEEK_SET)) fail(kNoCode, "the saved state can't be read");
  for (size_t i = 0; i < planned_count; i++) {
    char *to = reinterpret_cast<char *>(planned_spans[i].data());
    for (size_t at = 0; at < planned_spans[i].size();) {
      const ssize_t done = read(saved, to + at, planned_spans[i].size() - at);
      if (done <= 0) fail(kNoCode, "the saved state can't be read");
      at += done;
    }
  }
}

void print_kernels() {
  runtime_init();
  const auto kernels = get_registered_kernels();
  for (size_t i = 0; i < kernels.size(); i++) {
    bool again = false;  // one operator has several kernels, by type
    for (size_t j = 0; j < i && !again; j++) again = !strcmp(kernels[j].name_, kernels[i].name_);
    if (again) continue;
    if (i) printf(", ");
    print_json(kernels[i].name_);
  }
}

void print_backends() {
  runtime_init();
  const char *between = "";
  for (size_t i = 0; i < get_num_registered_backends(); i++) {
    const auto name = get_backend_name(i);
    BackendInterface *backend = name.ok() ? get_backend_class(*name) : nullptr;
    if (!backend || !backend->is_available()) continue;
    printf("%s", between);
    print_json(*name);
    between = ", ";
  }
}

}  // namespace gemcut
