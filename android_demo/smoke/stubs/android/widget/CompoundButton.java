package android.widget;

import stubs.Stub;

public abstract class CompoundButton extends Button {
    public CompoundButton(android.content.Context context) { super(context); }
    public boolean isChecked() { throw Stub.only(); }
    public void setChecked(boolean checked) { throw Stub.only(); }
}
