// llama::custom_sdpa, update_cache and update_cache_with_indices for the libraries of ExecuTorch's wheel, which have
// them only in a library that needs torch.
//
// They do what ExecuTorch 1.5's own do (extension/llm/custom_ops, op_sdpa.cpp and op_update_cache.cpp) for the
// arguments that Gemcut's programs use, in float32, and refuse all others. What these kernels leave unproven, the app's
// own kernels, the android-lib devices prove: this file isn't linked there.
#include <executorch/extension/kernel_util/make_boxed_from_unboxed_functor.h>
#include <executorch/runtime/core/exec_aten/util/tensor_util.h>
#include <executorch/runtime/kernel/kernel_includes.h>
#include <executorch/runtime/kernel/thread_parallel_interface.h>

#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

namespace gemcut {
namespace {

using executorch::aten::ScalarType;
using executorch::aten::Tensor;
using executorch::runtime::Error;
using executorch::runtime::KernelRuntimeContext;
using executorch::runtime::tensor_is_default_dim_order;

constexpr int64_t kMostWidth = 1024;  // of a head: twice Gemma 4's widest
constexpr int64_t kBlock = 256;       // keys whose products are summed on their own: keeps long sums exact

// One NEON or SSE register; four sums at once, so that no addition waits for the one before.
typedef float Lanes __attribute__((vector_size(16)));
constexpr int64_t kLanes = sizeof(Lanes) / sizeof(float);
constexpr int64_t kSums = 4;

Lanes lanes(const float *from) {
  Lanes found;
  memcpy(&found, from, sizeof found);
  return found;
}

float dot(const float *a, const float *b, int64_t width) {
  Lanes sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums * kLanes <= width; i += kSums * kLanes) {
    for (int64_t j = 0; j < kSums; j++) sums[j] += lanes(a + i + j * kLanes) * lanes(b + i + j * kLanes);
  }
  const Lanes all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  float sum = (all[0] + all[1]) + (all[2] + all[3]);
  for (; i < width; i++) sum += a[i] * b[i];
  return sum;
}

// to += factor * from
void add_scaled(float *to, const float *from, float factor, int64_t width) {
  int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) {
    const Lanes sum = lanes(to + i) + factor * lanes(from + i);
    memcpy(to + i, &sum, sizeof sum);
  }
  for (; i < width; i++) to[i] += factor * from[i];
}

// One query's attention over the first ``count`` keys; the softmax is kept relative to the largest score so far.
// stride: floats from one key, or value, to the next. mask: added to the scores, or null.
void attend(
    const float *query, const float *keys, const float *values, const float *mask, int64_t count, int64_t stride,
    int64_t width, float scale, float *out) {
  alignas(64) float total[kMostWidth], part[kMostWidth], scores[kBlock];
  memset(total, 0, width * sizeof *total);
  float highest = -INFINITY, sum = 0;
  for (int64_t first = 0; first < count; first += kBlock) {
    const int64_t block = count - first < kBlock ? count - first : kBlock;
    float largest = highest;
    for (int64_t i = 0; i < block; i++) {
      scores[i] = dot(query, keys + (first + i) * stride, width) * scale + (mask ? mask[first + i] : 0.0f);
      if (!(scores[i] <= largest)) largest = scores[i];  // so that not-a-number spreads
    }
    if (largest == -INFINITY) continue;
    const float shrink = expf(highest - largest);
    float block_sum = 0;
    memset(part, 0, width * sizeof *part);
    for (int64_t i = 0; i < block; i++) {
      const float weight = expf(scores[i] - largest);
      block_sum += weight;
      add_scaled(part, values + (first + i) * stride, weight, width);
    }
    for (int64_t i = 0; i < width; i++) total[i] = total[i] * shrink + part[i];
    sum = sum * shrink + block_sum;
    highest = largest;
  }
  for (int64_t i = 0; i < width; i++) out[i] = total[i] / sum;
}

bool is_float4(const Tensor &tensor) {
  return tensor.dim() == 4 && tensor.size(0) == 1 && tensor.scalar_type() == ScalarType::Float &&
      tensor_is_default_dim_order(tensor);
}

bool fits(const Tensor &query, const Tensor &key, const Tensor &value) {
  return is_float4(query) && is_float4(key) && is_float4(value) && key.size(1) == value.size(1) &&
      key.size(2) == value.size(2) && query.size(3) == key.size(3) && query.size(3) == value.size(3) &&
      query.size(3) <= kMostWidth && key.size(2) > 0 && query.size(2) % key.size(2) == 0;
}

// query [1, S, heads, width], key and value [1, slots, KV heads, width], all float32. Either causal, the queries'
// positions being start and later and slot i position i; or with a mask [S, slots] that is added to the scores.
Tensor &custom_sdpa_out(
    KernelRuntimeContext &ctx, const Tensor &query, const Tensor &key, const Tensor &value, const int64_t start,
    const std::optional<Tensor> &mask, const double dropout, const bool causal, const std::optional<double> scale,
    Tensor &out) {
  ET_KERNEL_CHECK_MSG(
      ctx, fits(query, key, value) && out.scalar_type() == ScalarType::Float, InvalidArgument, out,
      "custom_sdpa: this kernel takes only float32 queries and caches [1, positions, heads, width]");
  ET_KERNEL_CHECK_MSG(
      ctx, dropout == 0 && causal != mask.has_value() && scale.has_value(), InvalidArgument, out,
      "custom_sdpa: this kernel needs a scale, either a mask or causal attention, and no dropout");
  const int64_t rows = query.size(1), heads = query.size(2), width = query.size(3);
  const int64_t slots = key.size(1), stride = key.size(2) * width;
  ET_KERNEL_CHECK_MSG(
      ctx, !causal || (start >= 0 && start + rows <= slots), InvalidArgument, out,
      "custom_sdpa: positions %" PRId64 " to %" PRId64 " are not all in a cache of %" PRId64, start, start + rows,
      slots);
  ET_KERNEL_CHECK_MSG(
      ctx,
      causal || (mask->dim() == 2 && mask->size(0) == rows && mask->size(1) == slots &&
                 mask->scalar_type() == ScalarType::Float && tensor_is_default_dim_order(*mask)),
      InvalidArgument, out, "custom_sdpa: the mask is not float32 [queries, slots]");
  ET_KERNEL_CHECK(ctx, resize_tensor(out, query.sizes()) == Error::Ok, InvalidArgument, out);

  const float *queries = query.const_data_ptr<float>(), *keys = key.const_data_ptr<float>();
  const float *values = value.const_data_ptr<float>(), *masks = causal ? nullptr : mask->const_data_ptr<float>();
  float *outs = out.mutable_data_ptr<float>();
  const int64_t each = heads / key.size(2);  // query heads of one key head
  executorch::extension::parallel_for(0, rows * heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t row = i / heads, offset = i % heads / each * width;
      attend(
          queries + i * width, keys + offset, values + offset, masks ? masks + row * slots : nullptr,
          causal ? start + row + 1 : slots, stride, width, static_cast<float>(*scale), outs + i * width);
    }
  });
  return out;
}

bool fits(const Tensor &value, const Tensor &cache) {
  return value.dim() == 4 && cache.dim() == 4 && value.size(0) == 1 && cache.size(0) == 1 &&
      value.size(2) == cache.size(2) && value.size(3) == cache.size(3) && value.scalar_type() == cache.scalar_type() &&
      tensor_is_default_dim_order(value) && tensor_is_default_dim_order(cache);
}

void write_rows(const Tensor &value, Tensor &cache, int64_t row, int64_t slot, int64_t count) {
  const int64_t bytes = value.size(2) * value.size(3) * value.element_size();
  memcpy(
      static_cast<char *>(cache.mutable_data_ptr()) + slot * bytes,
      static_cast<const char *>(value.const_data_ptr()) + row * bytes, count * bytes);
}

// value [1, S, heads, width] into cache [1, slots, heads, width], from slot start on. The output is not written.
Tensor &update_cache_out(
    KernelRuntimeContext &ctx, const Tensor &value, Tensor &cache, const int64_t start, Tensor &out) {
  ET_KERNEL_CHECK_MSG(
      ctx, fits(value, cache) && start >= 0 && start + value.size(1) <= cache.size(1), InvalidArgument, out,
      "update_cache: %zd rows from slot %" PRId64 " on don't fit the cache", value.size(1), start);
  write_rows(value, cache, 0, start, value.size(1));
  return out;
}

// The same, row i into slot indices[0, i]; indices int64 [1, S].
Tensor &update_cache_with_indices_out(
    KernelRuntimeContext &ctx, const Tensor &value, Tensor &cache, const int64_t start, const Tensor &indices,
    Tensor &out) {
  (void)start;  // upstream's kernel doesn't read it either if there are indices
  ET_KERNEL_CHECK_MSG(
      ctx,
      fits(value, cache) && indices.dim() == 2 && indices.size(0) == 1 && indices.size(1) == value.size(1) &&
          indices.scalar_type() == ScalarType::Long && tensor_is_default_dim_order(indices),
      InvalidArgument, out, "update_cache_with_indices: the indices are not int64 [1, rows] of rows that fit the cache");
  const int64_t *slots = indices.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < value.size(1); i++) {
    ET_KERNEL_CHECK_MSG(
        ctx, slots[i] >= 0 && slots[i] < cache.size(1), InvalidArgument, out,
        "update_cache_with_indices: there is no slot %" PRId64, slots[i]);
    write_rows(value, cache, i, slots[i], 1);
  }
  return out;
}

}  // namespace

EXECUTORCH_LIBRARY(llama, "custom_sdpa.out", custom_sdpa_out);
EXECUTORCH_LIBRARY(llama, "update_cache.out", update_cache_out);
EXECUTORCH_LIBRARY(llama, "update_cache_with_indices.out", update_cache_with_indices_out);

}  // namespace gemcut
