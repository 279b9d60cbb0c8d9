package android.view;

import stubs.Stub;

public abstract class ViewGroup extends View {
    public ViewGroup(android.content.Context context) { super(context); }
    public void addView(View child) { throw Stub.only(); }
    public void removeAllViews() { throw Stub.only(); }
}
