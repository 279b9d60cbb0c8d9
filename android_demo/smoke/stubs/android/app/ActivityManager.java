package android.app;

import stubs.Stub;

public class ActivityManager {
    public static class MemoryInfo {
        public long totalMem;
        public MemoryInfo() {}
    }
    public void getMemoryInfo(MemoryInfo info) { throw Stub.only(); }
}
