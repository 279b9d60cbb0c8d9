package android.view;

import stubs.Stub;

public class View {
    public static final int VISIBLE = Stub.number();
    public static final int GONE = Stub.number();
    public static final int FOCUS_DOWN = Stub.number();
    public interface OnClickListener {
        void onClick(View view);
    }
    public View(android.content.Context context) {}
    public void setVisibility(int visibility) { throw Stub.only(); }
    public boolean isEnabled() { throw Stub.only(); }
    public void setEnabled(boolean enabled) { throw Stub.only(); }
    public void setOnClickListener(OnClickListener listener) { throw Stub.only(); }
    public boolean post(Runnable what) { throw Stub.only(); }
}
