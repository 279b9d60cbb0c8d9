// launcher LIBJVM CLASSPATH FOLDER CLASS ARGUMENTS...: a Java program with the Android libraries in FOLDER.
//
// The java command opens libjvm.so with RTLD_GLOBAL, which would let libstdc++'s symbols stand before those of the
// Android library's own C++ runtime. This one keeps them apart.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <jni.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// On aarch64 bionic keeps the stack guard at tpidr_el0 + 0x28; see runner.cpp.
__attribute__((used, aligned(16))) __thread char gemcut_guard_slot[256] = {0};

typedef jint (*Create)(JavaVM **, void **, void *);

static char *joined(const char *name, const char *value) {
  char *text = NULL;
  if (asprintf(&text, "%s%s", name, value) < 0) abort();
  return text;
}

static int failed(JNIEnv *env, const char *what) {
  fprintf(stderr, "launcher: %s\n", what);
  if (env && (*env)->ExceptionCheck(env)) (*env)->ExceptionDescribe(env);
  return 3;
}

int main(int count, char **words) {
  gemcut_guard_slot[255] = 0;
  if (count < 5) return failed(NULL, "usage: launcher LIBJVM CLASSPATH FOLDER CLASS ARGUMENTS...");
  void *library = dlopen(words[1], RTLD_NOW | RTLD_LOCAL);
  if (!library) return failed(NULL, dlerror());
  const Create create = (Create)dlsym(library, "JNI_CreateJavaVM");
  if (!create) return failed(NULL, dlerror());
  JavaVMOption options[] = {{joined("-Djava.class.path=", words[2]), NULL},
                            {joined("-Dgemcut.libraries=", words[3]), NULL},
                            {"-Xmx512m", NULL},
                            {"-XX:-CreateCoredumpOnCrash", NULL}};
  JavaVMInitArgs arguments = {JNI_VERSION_1_8, sizeof options / sizeof *options, options, JNI_FALSE};
  JavaVM *vm;
  JNIEnv *env;
  if (create(&vm, (void **)&env, &arguments)) return failed(NULL, "the Java machine doesn't start");
  const jclass class = (*env)->FindClass(env, words[4]);
  const jclass string = (*env)->FindClass(env, "java/lang/String");
  const jmethodID method = class ? (*env)->GetStaticMethodID(env, class, "main", "([Ljava/lang/String;)V") : NULL;
  if (!method || !string) return failed(env, "there is no such class");
  const jobjectArray list = (*env)->NewObjectArray(env, count - 5, string, NULL);
  if (!list) return failed(env, "no memory");
  for (int i = 5; i < count; i++) {
    (*env)->SetObjectArrayElement(env, list, i - 5, (*env)->NewStringUTF(env, words[i]));
  }
  (*env)->CallStaticVoidMethod(env, class, method, list);
  if ((*env)->ExceptionCheck(env)) return failed(env, "main threw");
  fflush(NULL);
  _exit(0);
}
