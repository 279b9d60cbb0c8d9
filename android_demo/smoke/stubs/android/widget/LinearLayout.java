package android.widget;

import stubs.Stub;

public class LinearLayout extends android.view.ViewGroup {
    public static final int VERTICAL = Stub.number();
    public LinearLayout(android.content.Context context) { super(context); }
    public int getOrientation() { throw Stub.only(); }
    public void setOrientation(int orientation) { throw Stub.only(); }
}
