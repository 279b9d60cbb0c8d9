package com.facebook.soloader;

import com.facebook.soloader.nativeloader.NativeLoader;

/** Stand-in: fbjni's older Java sources name its library "fb"; the library of today is libfbjni.so. */
public final class SoLoader {
  private SoLoader() {}

  public static boolean loadLibrary(String name) {
    return NativeLoader.loadLibrary(name.equals("fb") ? "fbjni" : name);
  }
}
