package com.facebook.soloader.nativeloader;

/** Stand-in for SoLoader's: Android's own loader finds the library in the APK. */
public class SystemDelegate implements NativeLoaderDelegate {
    @Override
    public boolean loadLibrary(String name, int flags) {
        System.loadLibrary(name);
        return true;
    }
}
