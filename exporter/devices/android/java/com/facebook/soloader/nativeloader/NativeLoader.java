package com.facebook.soloader.nativeloader;

/** Stand-in for SoLoader's: the libraries lie in one folder, which the launcher names. */
public final class NativeLoader {
  private static NativeLoaderDelegate delegate;

  private NativeLoader() {}

  public static synchronized boolean isInitialized() {
    return delegate != null;
  }

  public static synchronized void init(NativeLoaderDelegate chosen) {
    if (delegate != null) {
      throw new IllegalStateException("Cannot re-initialize NativeLoader.");
    }
    delegate = chosen;
  }

  public static boolean loadLibrary(String name) {
    return loadLibrary(name, 0);
  }

  public static synchronized boolean loadLibrary(String name, int flags) {
    if (delegate == null) {
      delegate = new SystemDelegate();
    }
    return delegate.loadLibrary(name, flags);
  }
}
