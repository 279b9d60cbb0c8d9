package com.facebook.soloader.nativeloader;

/** Stand-in for SoLoader's. */
public interface NativeLoaderDelegate {
  int SKIP_MERGED_JNI_ONLOAD = 1;

  boolean loadLibrary(String name, int flags);
}
