// liblog.so: the four entry points that ExecuTorch's libraries import, written to stderr as logcat would show them
// (signatures: Android NDK, android/log.h).
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int __android_log_write(int level, const char *tag, const char *text) {
  return fprintf(stderr, "logcat %d %s: %s\n", level, tag ? tag : "", text);
}

int __android_log_vprint(int level, const char *tag, const char *format, va_list arguments) {
  fprintf(stderr, "logcat %d %s: ", level, tag ? tag : "");
  const int written = vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  return written;
}

int __android_log_print(int level, const char *tag, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int written = __android_log_vprint(level, tag, format, arguments);
  va_end(arguments);
  return written;
}

__attribute__((noreturn)) void __android_log_assert(const char *condition, const char *tag, const char *format, ...) {
  fprintf(stderr, "logcat assert %s %s: ", tag ? tag : "", condition ? condition : "");
  if (format) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
  }
  fputc('\n', stderr);
  abort();
}
