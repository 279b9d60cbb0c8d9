package android.widget;

import stubs.Stub;

public class TextView extends android.view.View {
    public TextView(android.content.Context context) { super(context); }
    public final void setText(CharSequence text) { throw Stub.only(); }
    public final void setText(int id) { throw Stub.only(); }
    public final void append(CharSequence text) { throw Stub.only(); }
    public final CharSequence getHint() { throw Stub.only(); }
    public final void setHint(CharSequence text) { throw Stub.only(); }
    public CharSequence getText() { throw Stub.only(); }
    public void setAllCaps(boolean all) { throw Stub.only(); }
}
