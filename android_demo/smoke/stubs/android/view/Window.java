package android.view;

import stubs.Stub;

public abstract class Window {
    public Window(android.content.Context context) {}
    public void addFlags(int flags) { throw Stub.only(); }
    public void clearFlags(int flags) { throw Stub.only(); }
}
