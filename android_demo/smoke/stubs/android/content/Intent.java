package android.content;

import stubs.Stub;

public class Intent {
    public static final String ACTION_OPEN_DOCUMENT = Stub.text();
    public static final String ACTION_CREATE_DOCUMENT = Stub.text();
    public static final String ACTION_SENDTO = Stub.text();
    public static final String CATEGORY_OPENABLE = Stub.text();
    public static final String EXTRA_TITLE = Stub.text();
    public Intent(String action) {}
    public Intent(String action, android.net.Uri uri) {}
    public Intent(Context context, Class<?> target) {}
    public Intent addCategory(String category) { throw Stub.only(); }
    public Intent setType(String type) { throw Stub.only(); }
    public Intent putExtra(String name, String value) { throw Stub.only(); }
    public Intent putExtra(String name, int value) { throw Stub.only(); }
    public android.net.Uri getData() { throw Stub.only(); }
    public String getStringExtra(String name) { throw Stub.only(); }
}
