#include "report.h"

#include <executorch/runtime/platform/platform.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef __aarch64__
#include <sys/auxv.h>
#endif

namespace gemcut {
namespace {

// As ExecuTorch's Method::resolve_operator logs it (runtime/executor/method.cpp): "Missing operator: [3] aten::x.out".
constexpr char kMissing[] = "Missing operator: [";

char missing[2048];      // names, comma and space between them
char last_error[512];    // the last line of level E or F
const char *unfinished;  // a result that isn't whole

void append_missing(const char *name) {
  const size_t used = strlen(missing), length = strlen(name);
  if (used + length + 3 > sizeof missing || strstr(missing, name)) return;
  if (used) strcat(missing, ", ");
  strcat(missing, name);
}

void note(char level, const char *message) {
  if (const char *found = strstr(message, kMissing)) {
    const char *name = strchr(found, ']');
    if (name && name[1] == ' ') append_missing(name + 2);
  }
  if (level == 'E' || level == 'F') snprintf(last_error, sizeof last_error, "%s", message);
}

#ifdef __aarch64__
// In the order of the bits of AT_HWCAP and AT_HWCAP2 (Linux, arch/arm64/include/uapi/asm/hwcap.h), named as
// arch/arm64/kernel/cpuinfo.c names them.
const char *const kFeatures[] = {
    "fp",   "asimd", "evtstrm", "aes",  "pmull",    "sha1",   "sha2",    "crc32", "atomics", "fphp",  "asimdhp",
    "cpuid", "asimdrdm", "jscvt", "fcma", "lrcpc",  "dcpop",  "sha3",    "sm3",   "sm4",     "asimddp", "sha512",
    "sve",  "asimdfhm", "dit",  "uscat", "ilrcpc",  "flagm",  "ssbs",    "sb",    "paca",    "pacg"};
const char *const kFeatures2[] = {
    "dcpodp", "sve2", "sveaes", "svepmull", "svebitperm", "svesha3", "svesm4", "flagm2", "frint", "svei8mm",
    "svef32mm", "svef64mm", "svebf16", "i8mm", "bf16", "dgh", "rng", "bti", "mte", "ecv", "afp", "rpres", "mte3",
    "sme", "smei16i64", "smef64f64", "smei8i32", "smef16f32", "smeb16f32", "smef32f32", "smefa64"};

bool print_bits(unsigned long bits, const char *const *names, size_t count, bool first) {
  for (size_t i = 0; i < count; i++) {
    if (!(bits >> i & 1)) continue;
    printf("%s\"%s\"", first ? "" : ", ", names[i]);
    first = false;
  }
  return first;
}
#endif

}  // namespace

void remove_on_failure(const char *path) { unfinished = path; }

void print_json(const char *text) {
  putchar('"');
  for (; *text; text++) {
    const unsigned char c = *text;
    if (c == '"' || c == '\\') {
      printf("\\%c", c);
    } else if (c < 0x20 || c > 0x7e) {
      printf("\\u%04x", c);
    } else {
      putchar(c);
    }
  }
  putchar('"');
}

void fail(int code, const char *format, ...) {
  char text[1024], whole[sizeof text + sizeof missing + sizeof last_error + 64];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (missing[0]) {
    snprintf(whole, sizeof whole, "the runtime lacks the operator %s (%s)", missing, text);
  } else if (last_error[0]) {
    snprintf(whole, sizeof whole, "%s: %s", text, last_error);
  } else {
    snprintf(whole, sizeof whole, "%s", text);
  }
  printf("{\"error\": ");
  print_json(whole);
  printf(", \"code\": %d}\n", code);
  fflush(stdout);
  if (unfinished) unlink(unfinished);
  _exit(1);
}

void print_features() {
#ifdef __aarch64__
  const bool none = print_bits(getauxval(AT_HWCAP), kFeatures, sizeof kFeatures / sizeof *kFeatures, true);
  print_bits(getauxval(AT_HWCAP2), kFeatures2, sizeof kFeatures2 / sizeof *kFeatures2, none);
#else
  FILE *file = fopen("/proc/cpuinfo", "r");
  if (!file) return;
  static char line[16384];
  while (fgets(line, sizeof line, file)) {
    if (strncmp(line, "flags", 5)) continue;
    char *rest = strchr(line, ':'), *kept = nullptr;
    const char *between = "";
    for (char *word = rest ? strtok_r(rest + 1, " \n", &kept) : nullptr; word; word = strtok_r(nullptr, " \n", &kept)) {
      printf("%s", between);
      print_json(word);
      between = ", ";
    }
    break;
  }
  fclose(file);
#endif
}

double now() {
  timespec moment;
  clock_gettime(CLOCK_MONOTONIC, &moment);
  return moment.tv_sec + moment.tv_nsec * 1e-9;
}

void *allocate(size_t bytes) {
  void *found = nullptr;
  if (posix_memalign(&found, 64, bytes ? bytes : 1)) fail(kNoCode, "no memory for %zu bytes", bytes);
  memset(found, 0, bytes);
  return found;
}

}  // namespace gemcut

// ExecuTorch's own hook for its log (runtime/platform/platform.h): a missing operator is named nowhere else. Its lines
// at level I are of no use here.
extern "C" void et_pal_emit_log_message(
    et_timestamp_t, et_pal_log_level_t level, const char *file, const char *, size_t line, const char *message,
    size_t) {
  gemcut::note(static_cast<char>(level), message);
  if (level != kInfo && level != kDebug) {
    fprintf(stderr, "%c executorch:%s:%zu] %s\n", static_cast<char>(level), file, line, message);
  }
}

#ifdef GEMCUT_BIONIC
// An Android library keeps that hook to itself and logs to liblog, whose stand-in passes each line on to this.
extern "C" __attribute__((visibility("default"))) void gemcut_note(char level, const char *message) {
  gemcut::note(level, message);
}
#endif
