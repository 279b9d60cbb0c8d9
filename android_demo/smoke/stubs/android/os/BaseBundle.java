package android.os;

import stubs.Stub;

public class BaseBundle {
    public String getString(String name) { throw Stub.only(); }
    public void putString(String name, String value) { throw Stub.only(); }
}
