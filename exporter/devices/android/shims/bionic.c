// Android's C library (bionic) on glibc: the functions that glibc lacks, and those whose types or numbers differ.
//
// All others are plain jumps to glibc's function of the same name, which shims.py writes. A function is called
// bionic_NAME here and published as NAME@LIBC, so that it never stands before glibc's own NAME.
//
// Sources of the layouts and numbers: bionic's headers in the NDK and AOSP (bionic/libc/include/bits/pthread_types.h,
// bits/sysconf.h, stdio.h, ftw.h, bits/posix_limits.h, private/bionic_fortify.h), all for LP64.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/futex.h>
#include <limits.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#define EXPORT(name) __asm__(".symver bionic_" #name "," #name "@LIBC")
// Functions that came with Android 7 carry its version node.
#define EXPORT_N(name) __asm__(".symver bionic_" #name "," #name "@LIBC_N")

// GEMCUT_TRACE in the environment: say what the library asks for.
static int traced(void) { return getenv("GEMCUT_TRACE") != NULL; }

// ---- stdio -------------------------------------------------------------------------------------------------------
// Before Android 6 stdin, stdout and stderr were the elements of __sF, FILEs of 152 bytes; libraries built for that
// still name it, and pass addresses inside it.
enum { FILE_BYTES = 152 };
char bionic___sF[3][FILE_BYTES]; EXPORT(__sF);
FILE *bionic_stdin, *bionic_stdout, *bionic_stderr; EXPORT(stdin); EXPORT(stdout); EXPORT(stderr);

__attribute__((constructor)) static void set_streams(void) {
  bionic_stdin = stdin;
  bionic_stdout = stdout;
  bionic_stderr = stderr;
}

static FILE *real(FILE *file) {
  const uintptr_t at = (uintptr_t)file, first = (uintptr_t)bionic___sF;
  if (at < first || at >= first + sizeof bionic___sF) return file;
  FILE *const streams[] = {stdin, stdout, stderr};
  return streams[(at - first) / FILE_BYTES];
}

int bionic_fprintf(FILE *file, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int written = vfprintf(real(file), format, arguments);
  va_end(arguments);
  return written;
} EXPORT(fprintf);
int bionic_vfprintf(FILE *file, const char *format, va_list a) { return vfprintf(real(file), format, a); } EXPORT(vfprintf);
int bionic_fputc(int c, FILE *file) { return fputc(c, real(file)); } EXPORT(fputc);
int bionic_fputs(const char *text, FILE *file) { return fputs(text, real(file)); } EXPORT(fputs);
size_t bionic_fwrite(const void *p, size_t s, size_t n, FILE *file) { return fwrite(p, s, n, real(file)); } EXPORT(fwrite);
size_t bionic_fread(void *p, size_t s, size_t n, FILE *file) { return fread(p, s, n, real(file)); } EXPORT(fread);
int bionic_fflush(FILE *file) { return fflush(real(file)); } EXPORT(fflush);
int bionic_fclose(FILE *file) { return fclose(real(file)); } EXPORT(fclose);
int bionic_ferror(FILE *file) { return ferror(real(file)); } EXPORT(ferror);
int bionic_getc(FILE *file) { return getc(real(file)); } EXPORT(getc);
int bionic_ungetc(int c, FILE *file) { return ungetc(c, real(file)); } EXPORT(ungetc);
wint_t bionic_getwc(FILE *file) { return getwc(real(file)); } EXPORT(getwc);
wint_t bionic_ungetwc(wint_t c, FILE *file) { return ungetwc(c, real(file)); } EXPORT(ungetwc);
wint_t bionic_fputwc(wchar_t c, FILE *file) { return fputwc(c, real(file)); } EXPORT(fputwc);
int bionic_fseek(FILE *file, long offset, int from) { return fseek(real(file), offset, from); } EXPORT(fseek);
int bionic_fseeko(FILE *file, off_t offset, int from) { return fseeko(real(file), offset, from); } EXPORT(fseeko);
off_t bionic_ftello(FILE *file) { return ftello(real(file)); } EXPORT(ftello);
int bionic_fileno(FILE *file) { return fileno(real(file)); } EXPORT(fileno);

// ---- errors ------------------------------------------------------------------------------------------------------
int *bionic___errno(void) { return &errno; } EXPORT(__errno);
extern int __xpg_strerror_r(int, char *, size_t);
int bionic_strerror_r(int number, char *text, size_t room) { return __xpg_strerror_r(number, text, room); } EXPORT(strerror_r);
char *bionic___gnu_strerror_r(int number, char *text, size_t room) { return strerror_r(number, text, room); } EXPORT(__gnu_strerror_r);

__attribute__((noreturn)) void bionic___assert2(const char *file, int line, const char *function, const char *what) {
  fprintf(stderr, "%s:%d: %s: assertion \"%s\" failed\n", file, line, function, what);
  abort();
} EXPORT(__assert2);
void bionic_android_set_abort_message(const char *text) {
  fprintf(stderr, "abort message: %s\n", text ? text : "");
} EXPORT(android_set_abort_message);

// ---- fortified functions that glibc has under no name --------------------------------------------------------------
__attribute__((noreturn)) static void fortify(const char *function) {
  fprintf(stderr, "FORTIFY: %s: past the end of its buffer\n", function);
  abort();
}
size_t bionic___strlen_chk(const char *text, size_t room) {
  const size_t length = strlen(text);
  if (length >= room) fortify("strlen");
  return length;
} EXPORT(__strlen_chk);
char *bionic___strchr_chk(const char *text, int c, size_t room) { (void)room; return strchr(text, c); } EXPORT(__strchr_chk);
char *bionic___strrchr_chk(const char *text, int c, size_t room) { (void)room; return strrchr(text, c); } EXPORT(__strrchr_chk);
ssize_t bionic___write_chk(int fd, const void *data, size_t count, size_t room) {
  if (count > room) fortify("write");
  return write(fd, data, count);
} EXPORT_N(__write_chk);
void bionic___FD_SET_chk(int fd, unsigned long *set, size_t room) {
  (void)room;
  if ((unsigned)fd < 1024) set[fd / 64] |= 1UL << (fd % 64);
} EXPORT(__FD_SET_chk);
int bionic___FD_ISSET_chk(int fd, const unsigned long *set, size_t room) {
  (void)room;
  return (unsigned)fd < 1024 && (set[fd / 64] >> (fd % 64) & 1);
} EXPORT(__FD_ISSET_chk);

// ---- properties: there are none ----------------------------------------------------------------------------------
int bionic___system_property_get(const char *name, char *value) {
  if (traced()) fprintf(stderr, "shim: property %s\n", name);
  value[0] = 0;
  return 0;
} EXPORT(__system_property_get);

// ---- numbers that differ -----------------------------------------------------------------------------------------
long bionic_sysconf(int name) {
  static const struct { int bionic, glibc; } known[] = {
      {0x00, _SC_ARG_MAX},           {0x05, _SC_CHILD_MAX},        {0x06, _SC_CLK_TCK},
      {0x0b, _SC_OPEN_MAX},          {0x26, _SC_IOV_MAX},          {0x27, _SC_PAGESIZE},
      {0x28, _SC_PAGESIZE},          {0x47, _SC_GETGR_R_SIZE_MAX}, {0x48, _SC_GETPW_R_SIZE_MAX},
      {0x49, _SC_LOGIN_NAME_MAX},    {0x4b, _SC_THREAD_KEYS_MAX},  {0x4c, _SC_THREAD_STACK_MIN},
      {0x4d, _SC_THREAD_THREADS_MAX}, {0x60, _SC_NPROCESSORS_CONF}, {0x61, _SC_NPROCESSORS_ONLN},
      {0x62, _SC_PHYS_PAGES},        {0x63, _SC_AVPHYS_PAGES},     {0x95, _SC_LEVEL2_CACHE_SIZE},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    if (known[i].bionic != name) continue;
    const long found = sysconf(known[i].glibc);
    if (traced()) fprintf(stderr, "shim: sysconf(0x%x) = %ld\n", name, found);
    return found;
  }
  fprintf(stderr, "shim: sysconf(0x%x) is not translated\n", name);
  errno = EINVAL;
  return -1;
} EXPORT(sysconf);

long bionic_pathconf(const char *path, int name) {
  static const int known[] = {_PC_FILESIZEBITS, _PC_LINK_MAX, _PC_MAX_CANON, _PC_MAX_INPUT,
                              _PC_NAME_MAX,     _PC_PATH_MAX, _PC_PIPE_BUF};
  if (name < 0 || name >= (int)(sizeof known / sizeof *known)) {
    errno = EINVAL;
    return -1;
  }
  return pathconf(path, known[name]);
} EXPORT(pathconf);

static __thread int (*visit)(const char *, const struct stat *, int, struct FTW *);
static int visited(const char *path, const struct stat *stat, int type, struct FTW *where) {
  static const int bionic[] = {[FTW_F] = 0, [FTW_D] = 1, [FTW_DNR] = 2, [FTW_DP] = 3, [FTW_NS] = 4, [FTW_SL] = 5,
                               [FTW_SLN] = 6};
  return visit(path, stat, bionic[type], where);
}
int bionic_nftw(const char *path, int (*each)(const char *, const struct stat *, int, struct FTW *), int most,
                int flags) {
  visit = each;
  return nftw(path, visited, most,
              (flags & 1 ? FTW_PHYS : 0) | (flags & 2 ? FTW_MOUNT : 0) | (flags & 4 ? FTW_DEPTH : 0) |
                  (flags & 8 ? FTW_CHDIR : 0));
} EXPORT(nftw);

// ---- sigset_t: 8 bytes in bionic, 128 in glibc ---------------------------------------------------------------------
int bionic_sigfillset(uint64_t *set) {
  *set = ~(uint64_t)0;
  return 0;
} EXPORT(sigfillset);
int bionic_pthread_sigmask(int how, const uint64_t *set, uint64_t *old) {
  sigset_t wide, before;
  memset(&wide, 0, sizeof wide);
  memset(&before, 0, sizeof before);
  if (set) memcpy(&wide, set, sizeof *set);
  const int failed = pthread_sigmask(how, set ? &wide : NULL, old ? &before : NULL);
  if (old) memcpy(old, &before, sizeof *old);
  return failed;
} EXPORT(pthread_sigmask);

// ---- threads -----------------------------------------------------------------------------------------------------
// glibc's lock, unlock and set functions fit into bionic's types. Its initializers don't: on aarch64 they clear 48
// bytes of a mutex and 64 of an attribute object, where bionic has 40 and 56.
enum { MUTEX_BYTES = 40, ATTRIBUTE_BYTES = 56, CONDITION_BYTES = 48 };
int bionic_pthread_mutex_init(void *mutex, const pthread_mutexattr_t *attributes) {
  pthread_mutex_t made;
  const int failed = pthread_mutex_init(&made, attributes);
  if (!failed) memcpy(mutex, &made, MUTEX_BYTES);
  return failed;
} EXPORT(pthread_mutex_init);
int bionic_pthread_attr_init(void *attributes) {
  pthread_attr_t made;
  const int failed = pthread_attr_init(&made);
  if (!failed) memcpy(attributes, &made, ATTRIBUTE_BYTES);
  return failed;
} EXPORT(pthread_attr_init);

// bionic's condition variable is aligned to 4 bytes; glibc's 64-bit atomics on it raise SIGBUS on aarch64. This is one
// of its own on the first word, as bionic's is (bionic/libc/bionic/pthread_cond.cpp): bit 1 says that its clock is the
// monotonic one, the rest counts wakes.
enum { MONOTONIC = 2, STEP = 4 };
static int wait_for(uint32_t *condition, pthread_mutex_t *mutex, const struct timespec *until) {
  const uint32_t seen = __atomic_load_n(condition, __ATOMIC_RELAXED);
  const int failed = pthread_mutex_unlock(mutex);
  if (failed) return failed;
  const int clock = seen & MONOTONIC ? 0 : FUTEX_CLOCK_REALTIME;
  int error = 0;
  if (syscall(SYS_futex, condition, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG | clock, seen, until, NULL,
              FUTEX_BITSET_MATCH_ANY) < 0) {
    error = errno;
  }
  pthread_mutex_lock(mutex);
  return error == ETIMEDOUT ? ETIMEDOUT : 0;
}
static int wake(uint32_t *condition, int most) {
  __atomic_fetch_add(condition, STEP, __ATOMIC_RELAXED);
  syscall(SYS_futex, condition, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, most, NULL, NULL, 0);
  return 0;
}
int bionic_pthread_cond_init(uint32_t *condition, const long *attributes) {
  memset(condition, 0, CONDITION_BYTES);
  if (attributes && (*attributes & MONOTONIC)) *condition = MONOTONIC;
  return 0;
} EXPORT(pthread_cond_init);
int bionic_pthread_cond_wait(uint32_t *c, pthread_mutex_t *m) { return wait_for(c, m, NULL); } EXPORT(pthread_cond_wait);
int bionic_pthread_cond_timedwait(uint32_t *c, pthread_mutex_t *m, const struct timespec *until) { return wait_for(c, m, until); } EXPORT(pthread_cond_timedwait);
int bionic_pthread_cond_signal(uint32_t *c) { return wake(c, 1); } EXPORT(pthread_cond_signal);
int bionic_pthread_cond_broadcast(uint32_t *c) { return wake(c, INT32_MAX); } EXPORT(pthread_cond_broadcast);
int bionic_pthread_cond_destroy(uint32_t *c) { *c = 0xdeadc04d; return 0; } EXPORT(pthread_cond_destroy);

// ---- another CPU's /proc/cpuinfo and /sys/devices ------------------------------------------------------------------
// Under user-mode emulation these are the host's. GEMCUT_ROOT is a folder that holds those of the emulated CPU; a file
// that it hasn't is none for the library either.
static const char *rooted(const char *path, char *room, size_t bytes) {
  const char *root = getenv("GEMCUT_ROOT");
  if (!root || !path || (strcmp(path, "/proc/cpuinfo") && strncmp(path, "/sys/devices/", 13))) return path;
  if ((size_t)snprintf(room, bytes, "%s%s", root, path) >= bytes) return path;
  if (traced()) fprintf(stderr, "shim: %s -> %s\n", path, room);
  return room;
}
int bionic_open(const char *path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const int mode = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(arguments, int) : 0;
  va_end(arguments);
  char room[PATH_MAX];
  return open(rooted(path, room, sizeof room), flags, mode);
} EXPORT(open);
int bionic___open_2(const char *path, int flags) {
  char room[PATH_MAX];
  return open(rooted(path, room, sizeof room), flags);
} EXPORT(__open_2);
FILE *bionic_fopen(const char *path, const char *mode) {
  char room[PATH_MAX];
  return fopen(rooted(path, room, sizeof room), mode);
} EXPORT(fopen);
int bionic_stat(const char *path, struct stat *found) {
  char room[PATH_MAX];
  return stat(rooted(path, room, sizeof room), found);
} EXPORT(stat);

#ifdef __x86_64__
// ---- long double: IEEE quad in bionic on x86-64, passed in vector registers; x87's 80 bits in glibc ---------------
// (Android ABIs: x86_64.) On aarch64 both have the quad.
typedef __float128 quad;
extern long double frexpl(long double, int *);
extern long double ldexpl(long double, int);
extern long long llroundl(long double);
quad bionic_strtold(const char *text, char **end) { return strtold(text, end); } EXPORT(strtold);
quad bionic_strtold_l(const char *text, char **end, locale_t in) { return strtold_l(text, end, in); } EXPORT(strtold_l);
quad bionic_wcstold(const wchar_t *text, wchar_t **end) { return wcstold(text, end); } EXPORT(wcstold);
long long bionic_llroundl(quad x) { return llroundl((long double)x); } EXPORT(llroundl);
quad bionic_frexpl(quad x, int *exponent) { return frexpl((long double)x, exponent); } EXPORT(frexpl);
quad bionic_ldexpl(quad x, int exponent) { return ldexpl((long double)x, exponent); } EXPORT(ldexpl);
#endif
