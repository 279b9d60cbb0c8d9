#include "memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "report.h"

namespace gemcut {
namespace {

constexpr int64_t kUnknown = -1;

// What is in memory of one file, by device and inode.
struct File {
  char device[16];
  unsigned long inode;
  int64_t bytes;
  bool code;  // a part of it may be executed
};

// Found files, for as long as the process runs.
struct {
  File *all;
  size_t count, room;
} files;

int64_t resident_before, own_before, mapped_before, most_own, most_mapped;

// One size of /proc/self/status.
int64_t status(const char *name) {
  FILE *file = fopen("/proc/self/status", "r");
  if (!file) return kUnknown;
  char line[256];
  long long kilobytes = -1;
  const size_t length = strlen(name);
  while (kilobytes < 0 && fgets(line, sizeof line, file)) {
    if (!strncmp(line, name, length) && line[length] == ':') sscanf(line + length + 1, "%lld", &kilobytes);
  }
  fclose(file);
  return kilobytes < 0 ? kUnknown : kilobytes * 1024;
}

int64_t own() {
  const int64_t anonymous = status("RssAnon"), shared = status("RssShmem");
  return anonymous < 0 ? kUnknown : anonymous + (shared < 0 ? 0 : shared);
}

File *file_of(const char *device, unsigned long inode) {
  for (size_t i = 0; i < files.count; i++) {
    if (files.all[i].inode == inode && !strcmp(files.all[i].device, device)) return &files.all[i];
  }
  if (files.count == files.room) {
    files.room = files.room ? 2 * files.room : 64;
    files.all = static_cast<File *>(realloc(files.all, files.room * sizeof(File)));
    if (!files.all) fail(kNoCode, "no memory for the list of mapped files");
  }
  File *found = &files.all[files.count++];
  snprintf(found->device, sizeof found->device, "%s", device);
  found->inode = inode;
  found->bytes = 0;
  found->code = false;
  return found;
}

// What lies in memory alone although it has the form of a file (memfd_create(2), shm_overview(7)).
bool in_memory(const char *path) {
  return !strncmp(path, "/memfd:", 7) || !strncmp(path, "/dev/", 5) || !strncmp(path, "/SYSV", 5);
}

// Bytes in memory of files that are mapped and of which no part is code.
int64_t mapped() {
  FILE *file = fopen("/proc/self/smaps", "r");
  if (!file) return kUnknown;
  for (size_t i = 0; i < files.count; i++) {
    files.all[i].bytes = 0;
    files.all[i].code = false;
  }
  char line[4352], rights[8], device[16], path[4096];
  File *current = nullptr;
  while (fgets(line, sizeof line, file)) {
    unsigned long inode = 0;
    long long kilobytes = 0;
    if (sscanf(line, "%*lx-%*lx %7s %*lx %15s %lu %4095[^\n]", rights, device, &inode, path) >= 3) {
      const char *named = strchr(line, '/');
      current = inode && named && !in_memory(named) ? file_of(device, inode) : nullptr;
      if (current && rights[2] == 'x') current->code = true;
    } else if (current && sscanf(line, "Rss: %lld kB", &kilobytes) == 1) {
      current->bytes += kilobytes * 1024;
    } else if (current && sscanf(line, "Anonymous: %lld kB", &kilobytes) == 1) {
      current->bytes -= kilobytes * 1024;  // pages of a private mapping that were written to
    }
  }
  fclose(file);
  int64_t total = 0;
  for (size_t i = 0; i < files.count; i++) total += files.all[i].code ? 0 : files.all[i].bytes;
  return total;
}

int64_t beyond(int64_t now, int64_t before) {
  if (now < 0 || before < 0) return kUnknown;
  return now > before ? now - before : 0;
}

void print_size(const char *name, int64_t bytes) {
  if (bytes < 0) {
    printf("\"%s\": null", name);
  } else {
    printf("\"%s\": %lld", name, static_cast<long long>(bytes));
  }
}

}  // namespace

void mark_memory() {
  own_before = most_own = own();
  mapped_before = most_mapped = mapped();
  const int mark = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
  const bool put_back = mark >= 0 && write(mark, "5", 1) == 1;
  if (mark >= 0) close(mark);
  resident_before = status(put_back ? "VmRSS" : "VmHWM");
}

void look_at_memory() {
  const int64_t now_own = own(), now_mapped = mapped();
  if (now_own > most_own) most_own = now_own;
  if (now_mapped > most_mapped) most_mapped = now_mapped;
}

MemoryUse memory_use() {
  const int64_t peak = status("VmHWM");
  look_at_memory();
  return {resident_before, beyond(peak, resident_before), beyond(most_own, own_before),
          beyond(most_mapped, mapped_before)};
}

void print_memory(const MemoryUse &use) {
  print_size("memory_before", use.before);
  printf(", ");
  print_size("peak_memory", use.peak);
  printf(", ");
  print_size("own_memory", use.own);
  printf(", ");
  print_size("mapped_memory", use.mapped);
}

}  // namespace gemcut
