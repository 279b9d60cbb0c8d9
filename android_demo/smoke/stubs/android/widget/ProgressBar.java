package android.widget;

import stubs.Stub;

public class ProgressBar extends android.view.View {
    public ProgressBar(android.content.Context context) { super(context); }
    public void setIndeterminate(boolean on) { throw Stub.only(); }
    public void setMax(int most) { throw Stub.only(); }
    public void setProgress(int now) { throw Stub.only(); }
}
