package android.net;

import stubs.Stub;

public abstract class Uri {
    public static Uri fromParts(String scheme, String part, String fragment) { throw Stub.only(); }
    public abstract String getLastPathSegment();
    public abstract String toString();
}
