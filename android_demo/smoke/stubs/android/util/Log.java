package android.util;

import stubs.Stub;

public final class Log {
    public static int e(String tag, String text) { throw Stub.only(); }
    public static int e(String tag, String text, Throwable error) { throw Stub.only(); }
    public static int w(String tag, String text) { throw Stub.only(); }
    public static int i(String tag, String text) { throw Stub.only(); }
    public static int d(String tag, String text) { throw Stub.only(); }
}
