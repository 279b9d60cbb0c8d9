package android.content.res;

import stubs.Stub;

public final class AssetManager {
    public String[] list(String path) throws java.io.IOException { throw Stub.only(); }
    public java.io.InputStream open(String name) throws java.io.IOException { throw Stub.only(); }
}
