package com.facebook.soloader.nativeloader;

/** Loads from the folder that the launcher names, by the name that Android's loader would look for. */
public class SystemDelegate implements NativeLoaderDelegate {
  @Override
  public boolean loadLibrary(String name, int flags) {
    System.load(System.getProperty("gemcut.libraries") + "/lib" + name + ".so");
    return true;
  }
}
