package android.os;

import stubs.Stub;

public class Build {
    public static final String MANUFACTURER = Stub.text();
    public static final String MODEL = Stub.text();
    public static final String HARDWARE = Stub.text();
    public static final String[] SUPPORTED_ABIS = {Stub.text()};
    public static class VERSION {
        public static final String RELEASE = Stub.text();
        public static final int SDK_INT = Stub.number();
    }
}
