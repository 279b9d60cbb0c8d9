package android.widget;

import stubs.Stub;

public class EditText extends TextView {
    public EditText(android.content.Context context) { super(context); }
    public android.text.Editable getText() { throw Stub.only(); }
}
