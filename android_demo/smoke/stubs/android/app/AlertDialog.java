package android.app;

import stubs.Stub;

public class AlertDialog extends Dialog {
    public static class Builder {
        public Builder(android.content.Context context) {}
        public Builder setTitle(int id) { throw Stub.only(); }
        public Builder setMessage(int id) { throw Stub.only(); }
        public Builder setMessage(CharSequence text) { throw Stub.only(); }
        public Builder setNegativeButton(CharSequence text, android.content.DialogInterface.OnClickListener listener) { throw Stub.only(); }
        public Builder setPositiveButton(CharSequence text, android.content.DialogInterface.OnClickListener listener) { throw Stub.only(); }
        public Builder setNegativeButton(int id, android.content.DialogInterface.OnClickListener listener) { throw Stub.only(); }
        public Builder setPositiveButton(int id, android.content.DialogInterface.OnClickListener listener) { throw Stub.only(); }
        public Builder setOnDismissListener(android.content.DialogInterface.OnDismissListener listener) { throw Stub.only(); }
        public AlertDialog show() { throw Stub.only(); }
    }
}
