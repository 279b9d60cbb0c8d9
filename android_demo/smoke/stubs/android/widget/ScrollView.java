package android.widget;

import stubs.Stub;

public class ScrollView extends FrameLayout {
    public ScrollView(android.content.Context context) { super(context); }
    public boolean fullScroll(int direction) { throw Stub.only(); }
}
